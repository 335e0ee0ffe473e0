// SPDX-License-Identifier: GPL-2.0-or-later
/* stutter_replay: play a frame trace (docs/frame-trace.md) and say which frames came too late. */
#include "faultlab.h"

#include "options.h"
#include "player.h"

#include <getopt.h>

static const char *const defects[] = {
	"none", "skip-touch", "corrupt", "lose-frame", "remap", "no-evict", "evict-astray", NULL
};
static const char *const kinds[] = { "dumb", "memfd", NULL };
static const enum bo_kind kind_values[] = { BO_DUMB, BO_MEMFD };

static const char help[] =
	"stutter_replay --driver NAME --trace FILE [option...]      play a frame trace\n"
	"  --driver NAME     of the DRM driver: qxl, bochs-drm, lab_gpu\n"
	"  --trace FILE      docs/frame-trace.md has the format\n"
	"  --bo KIND         dumb (default): what the trace says; memfd: plain shmem pages, no driver\n"
	"  --hz N[,N...]     frames a second, each played once (the trace's own rate)\n"
	"  --defect DEFECT   break something to see its check fail: skip-touch, corrupt, lose-frame, remap,\n"
	"                    no-evict, evict-astray (through tt_shrink only)\n";

/* ---- options -------------------------------------------------------------------------------------- */

static void parse_rates(struct options *o, const char *text)
{
	char copy[64], *rest = copy, *word;

	snprintf(copy, sizeof(copy), "%s", text);
	for (o->rates = 0; (word = strsep(&rest, ",")); o->rates++) {
		if (o->rates == MAX_RATES)
			lab_usage("--hz %s: at most %d rates", text, MAX_RATES);
		o->rate[o->rates] = lab_number("--hz", word, 1, TRACE_RATE);
	}
}

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "driver", required_argument, NULL, 'd' }, { "trace", required_argument, NULL, 't' },
		{ "bo", required_argument, NULL, 'b' },     { "hz", required_argument, NULL, 'z' },
		{ "defect", required_argument, NULL, 'x' }, { "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct options o = { .kind = BO_DUMB };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'd': o.driver = optarg; break;
		case 't': o.trace = optarg; break;
		case 'b': o.kind = kind_values[lab_choice("--bo", optarg, kinds)]; break;
		case 'z': parse_rates(&o, optarg); break;
		case 'x': o.defect = lab_choice("--defect", optarg, defects); break;
		case 'h':
			fputs(help, stdout);
			exit(LAB_PASS);
		default: lab_usage("stutter_replay --help lists the options");
		}
	}
	if (optind < argc)
		lab_usage("%s: not an option; stutter_replay --help lists them", argv[optind]);
	if (!o.trace)
		lab_usage("--trace FILE is needed");
	if (o.kind != BO_MEMFD && !o.driver)
		lab_usage("--driver NAME is needed");
	return o;
}

/* ---- report --------------------------------------------------------------------------------------- */

static void report_samples(const struct replay *r, uint32_t rate)
{
	char name[32];
	FILE *samples;

	snprintf(name, sizeof(name), "frames-%u.txt", rate);
	samples = lab_samples(name);
	if (!samples)
		return;
	fprintf(samples, "frame %s stall faults missed\n", lab_unit());
	for (uint32_t f = 0; f < r->frames; f++)
		fprintf(samples, "%u %llu %llu %llu %d\n", f, (unsigned long long)r->result[f].time,
			(unsigned long long)r->result[f].stall, (unsigned long long)r->result[f].faults,
			r->result[f].missed);
	if (fclose(samples))
		lab_line("# note: %s: %s; its samples are lost", name, strerror(errno));
}

static void report_metrics(const struct replay *r, uint32_t rate)
{
	uint64_t *times = lab_array(r->frames, sizeof(*times)), faults = 0, most = 0, missed = 0, stall = 0;
	char prefix[32];

	for (uint32_t f = 0; f < r->frames; f++) {
		const struct result *one = &r->result[f];

		times[f] = one->time;
		faults += one->faults;
		missed += one->missed;
		most = one->faults > most ? one->faults : most;
		stall = one->stall > stall ? one->stall : stall;
	}
	snprintf(prefix, sizeof(prefix), "hz%u_", rate);
	lab_metric(prefix, "missed", missed, "count");
	lab_metric(prefix, "stall_max", stall, lab_unit());
	lab_metric(prefix, "faults", faults, "count");
	lab_metric(prefix, "faults_max", most, "count");
	snprintf(prefix, sizeof(prefix), "hz%u_frame_", rate);
	lab_distribution(prefix, times, r->frames);
	free(times);
}

/* Check `faults`: frame by frame what the model says. */
static void check_faults(const struct replay *r, uint32_t rate)
{
	char name[32];
	bool reads = false;

	snprintf(name, sizeof(name), "hz%u-faults", rate);
	for (uint32_t i = 0; i < r->trace->ops; i++)
		reads |= r->trace->op[i].verb == TOUCH && !r->trace->op[i].write;
	if (!r->rule.window) {
		lab_skip(name, "faults map no fixed number of pages here, so none can be told beforehand");
		return;
	}
	if (reads && r->o->kind == BO_MEMFD) {
		lab_skip(name, "reads of shmem pages map what is around them");
		return;
	}
	for (uint32_t f = 0; f < r->frames; f++) {
		if (r->result[f].faults == r->expected[f])
			continue;
		lab_check(false, name, "frame %u: %llu, %llu expected with %u pages a fault", f,
			  (unsigned long long)r->result[f].faults, (unsigned long long)r->expected[f], r->rule.window);
		return;
	}
	lab_check(true, name, "as expected in each frame with %u pages a fault", r->rule.window);
}

static bool report_rate(const struct replay *r, uint32_t rate, uint64_t touches, bool played)
{
	char name[32];

	snprintf(name, sizeof(name), "hz%u-frames", rate);
	if (!played)
		return lab_check(false, name, "frame %u: %s BO %u: %s", r->frames, r->failed, r->failed_bo,
				 strerror(r->failed_errno));
	lab_check(r->frames == r->trace->frames, name, "%u of %u played", r->frames, r->trace->frames);
	snprintf(name, sizeof(name), "hz%u-touches", rate);
	lab_check(touches == r->trace->touches, name, "%llu of %llu", (unsigned long long)touches,
		  (unsigned long long)r->trace->touches);
	check_faults(r, rate);
	report_metrics(r, rate);
	report_samples(r, rate);
	return true;
}

/* ---- main ----------------------------------------------------------------------------------------- */

static bool writes(const struct frame_trace *trace)
{
	for (uint32_t i = 0; i < trace->ops; i++)
		if (trace->op[i].verb == TOUCH && trace->op[i].write)
			return true;
	return false;
}

/* Address space for the mappings of one BO, so that all versions of the kernel place them alike. */
static char *reserve(uint64_t size)
{
	char *room = mmap(NULL, size + PMD_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		lab_usage("no address space for %llu bytes: %s", (unsigned long long)size, strerror(errno));
	return (char *)(((uintptr_t)room + PMD_SIZE - 1) & ~(PMD_SIZE - 1));
}

static struct replay *replay_of(const struct options *o, const struct frame_trace *trace)
{
	struct replay *r = lab_array(1, sizeof(*r));
	const char *marker = getenv("FAULTLAB_MARKER");

	r->o = o;
	r->trace = trace;
	r->marker = marker ? open(marker, O_WRONLY | O_CLOEXEC) : -1;
	r->result = lab_array(trace->frames, sizeof(*r->result));
	r->expected = lab_array(trace->frames, sizeof(*r->expected));
	for (uint32_t bo = 1; bo <= TRACE_BO; bo++) {
		if (!trace->largest[bo])
			continue;
		r->buffer[bo].written = lab_array(trace->largest[bo], sizeof(uint64_t));
		r->buffer[bo].place = reserve(trace->largest[bo] * LAB_PAGE);
	}
	return r;
}

/* A device that can do what the trace asks; false if the workload ends here. */
static bool open_device(struct replay *r)
{
	char found[160] = "none is needed", why[160];

	r->fd = -1;
	if (r->o->kind != BO_MEMFD && (r->fd = bo_open_driver(r->o->driver, found, sizeof(found))) < 0) {
		lab_skip("driver", "no card is driven by %.40s; %s", r->o->driver, found);
		return false;
	}
	for (uint32_t i = 0; i < r->trace->ops; i++) {
		if (r->trace->op[i].vram && r->o->kind == BO_DUMB && strcmp(r->o->driver, "qxl") &&
		    strcmp(r->o->driver, LAB_GPU_DRIVER)) {
			lab_skip("driver", "%.40s: the replay knows no BO in VRAM of this driver", r->o->driver);
			return false;
		}
	}
	if (evict_cannot(r->trace, r->o->kind, r->o->driver, why, sizeof(why))) {
		lab_skip("evict", "%s", why);
		return false;
	}
	lab_check(true, "driver", "%s", found);
	return true;
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	struct frame_trace *trace = trace_read(o.trace);
	struct replay *r = replay_of(&o, trace);

	if (!o.rates)
		o.rate[o.rates++] = trace->rate;
	lab_start();
	mark(r, "faultlab pause");
	if (!open_device(r))
		return lab_finish();
	r->rule = find_rule(r);
	model_faults(trace, r->rule, r->expected);
	lab_metric("", "window", r->rule.window, "count");
	lab_metric("", "tracks_writes", r->rule.tracks_writes, "count");
	lab_quiet();
	for (size_t i = 0; i < o.rates; i++) {
		uint64_t before = r->touches;
		bool played = play(r, o.rate[i]);

		if (!report_rate(r, o.rate[i], r->touches - before, played))
			break;
	}
	lab_check(!r->read_wrong && !r->wrong && (r->read_back || !writes(trace)), "content",
		  "%llu pages read back, %llu not as written; %llu reads wrong", (unsigned long long)r->read_back,
		  (unsigned long long)r->wrong, (unsigned long long)r->read_wrong);
	if (r->evicted)
		lab_check(!r->evict_wrong, "evict", "%llu evicted, %llu not the BO that was meant",
			  (unsigned long long)r->evicted, (unsigned long long)r->evict_wrong);
	return lab_finish();
}
