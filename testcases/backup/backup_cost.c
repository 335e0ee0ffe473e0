// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * backup_cost: what does backing up BOs take from the rest of the system?
 *
 * --measure reserves    memory: how little is free meanwhile, what is left of blocks of 2 MiB, what is written
 * --measure latency     the processor: how long others wait for it
 */
#include "faultlab.h"

#include "content.h"
#include "memory.h"
#include "options.h"
#include "probe.h"

#include <getopt.h>

#define MIB (1UL << 20)

enum measure { RESERVES, LATENCY };

static const char *const measures[] = { "reserves", "latency", NULL };
static const char *const models[] = { "none", "voluntary", "full", "lazy", NULL };

struct options {
	enum measure measure;
	int model;
	uint64_t bos, size, leave;
};

static const char help[] =
	"backup_cost --measure reserves|latency [option...]\n"
	"  --bos N            how many BOs are backed up (24; latency: 1)\n"
	"  --size SIZE        of each (4M; latency: 32M)\n"
	"  --leave SIZE       reserves: memory that is free at the beginning (4M)\n"
	"  --model MODEL      latency: the preemption model that the kernel must be running with: none, voluntary,\n"
	"                     full or lazy\n";

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "measure", required_argument, NULL, 'm' }, { "bos", required_argument, NULL, 'b' },
		{ "size", required_argument, NULL, 's' },    { "leave", required_argument, NULL, 'l' },
		{ "model", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },	     { 0 },
	};
	struct options o = { .measure = -1, .model = -1, .leave = 4 * MIB / LAB_PAGE };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'm': o.measure = lab_choice("--measure", optarg, measures); break;
		case 'b': o.bos = lab_number("--bos", optarg, 1, 256); break;
		case 's': o.size = lab_size("--size", optarg); break;
		case 'l': o.leave = lab_size("--leave", optarg) / LAB_PAGE; break;
		case 'p': o.model = lab_choice("--model", optarg, models); break;
		case 'h': fputs(help, stdout); exit(LAB_PASS);
		default: lab_usage("backup_cost --help lists the options");
		}
	}
	if (optind < argc || (int)o.measure < 0)
		lab_usage("--measure reserves or latency is needed");
	if (!o.bos)
		o.bos = o.measure == RESERVES ? 24 : 1;
	if (!o.size)
		o.size = (o.measure == RESERVES ? 4 : 32) * MIB;
	return o;
}

/* ---- reserves --------------------------------------------------------------------------------------- */

enum { OTHERS = 2048 }; /* pages */

/* Memory that others take page by page during the backup, and keep: it comes to lie between what is given back. */
static char *others(void)
{
	char *area = mmap(NULL, OTHERS * LAB_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		gpu_fail("mmap: %s", strerror(errno));
	madvise(area, OTHERS * LAB_PAGE, MADV_NOHUGEPAGE);
	if (mlock2(area, OTHERS * LAB_PAGE, MLOCK_ONFAULT))
		gpu_fail("mlock2: %s", strerror(errno));
	return area;
}

/* The largest number of blocks of 2 MiB that BOs get now: one of 4 MiB counts as two. */
static uint64_t huge_blocks_given(int fd, uint64_t bytes)
{
	struct gpu_bo bo = gpu_create(fd, gpu_system(bytes));
	struct lab_gpu_info info;

	if (gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_RESTORE, 0) < 0)
		return 0;
	info = gpu_info(&bo);
	gpu_close(&bo);
	return info.blocks[HUGE_ORDER] + 2 * info.blocks[HUGE_ORDER + 1];
}

/* Back all up, one after the other, watched. Returns pages backed up; `refused` counts the BOs with none. */
static uint64_t back_up_all(const struct known *known, uint64_t count, uint32_t flags, uint64_t *refused)
{
	uint64_t moved = 0;

	for (uint64_t i = 0; i < count; i++) {
		int64_t pages = back_up(&known[i], flags);

		if (pages > 0)
			moved += pages;
		else
			++*refused;
	}
	return moved;
}

static void report_memory(const struct probe *probe, uint64_t before, const struct watermarks *marks)
{
	uint64_t least = probe->least < before ? probe->least : before;

	lab_line("# note: watermarks: min %llu, low %llu, high %llu pages; %llu were free before",
		 (unsigned long long)marks->min, (unsigned long long)marks->low, (unsigned long long)marks->high,
		 (unsigned long long)before);
	lab_check(probe->wakeups > 100, "watched", "%llu looks at the free memory", (unsigned long long)probe->wakeups);
	lab_metric("", "min_watermark", marks->min, "count");
	lab_metric("", "lowest_free", least, "count");
	lab_metric("", "dip", before - least, "count");
}

static void measure_reserves(const struct options *o, int fd)
{
	uint32_t flags = LAB_GPU_WRITEBACK | LAB_GPU_RECLAIM; /* as a shrinker does it */
	struct probe probe = { .period = 50 * 1000, .real_time = true, .others = others(), .room = OTHERS };
	struct known *known = lab_array(o->bos, sizeof(*known));
	struct ballast *ballast = ballast_new(fd);
	struct watermarks marks = read_watermarks();
	uint64_t moved, before, out, refused = 0, wrong = 0, blocks = 0, start;

	for (uint64_t i = 0; i < o->bos; i++) {
		known[i] = known_backup(fd, o->size, i + 1);
		for (unsigned int order = HUGE_ORDER; order <= LAB_GPU_MAX_ORDER; order++)
			blocks += (uint64_t)gpu_info(&known[i].bo).blocks[order] << (order - HUGE_ORDER);
	}
	lab_check(blocks >= o->bos * o->size / (2 * MIB) * 9 / 10, "blocks", "%llu blocks of 2 MiB in the BOs",
		  (unsigned long long)blocks);
	probe_begin(&probe); /* while there is memory for a thread */
	ballast_leave(ballast, o->leave);
	probe_clear(&probe);
	out = vmstat("pswpout");
	before = free_pages();
	start = lab_now();
	moved = back_up_all(known, o->bos, flags, &refused);
	start = lab_now() - start;
	probe_end(&probe);
	lab_check(moved >= o->bos * o->size / LAB_PAGE / 2, "backed-up", "%llu of %llu pages, %llu BOs refused",
		  (unsigned long long)moved, (unsigned long long)(o->bos * o->size / LAB_PAGE),
		  (unsigned long long)refused);
	report_memory(&probe, before, &marks);
	lab_metric("", "backed_up", moved, "count");
	lab_metric("", "written", vmstat("pswpout") - out, "count");
	lab_metric("", "backup_total", start, lab_unit());
	push_out(fd, moved); /* what is written to swap is free when somebody needs it */
	lab_metric("", "free_after", free_pages(), "count");
	lab_metric("", "huge_left", free_huge_blocks(), "count");
	lab_metric("", "huge_given", huge_blocks_given(fd, 32 * MIB), "count");
	ballast_drop(ballast);
	for (uint64_t i = 0; i < o->bos; i++) {
		wrong += known_wrong(&known[i]);
		known_free(&known[i]);
	}
	lab_check(!wrong, "content", "%llu pages are not as written", (unsigned long long)wrong);
}

/* ---- latency ---------------------------------------------------------------------------------------- */

/* Whether the kernel runs with the model: of "none voluntary (full) lazy" the one in parentheses. */
static bool runs_with(const char *model)
{
	FILE *file = fopen("/sys/kernel/debug/sched/preempt", "r");
	char line[128] = "", wanted[32];

	if (file && !fgets(line, sizeof(line), file))
		*line = '\0';
	if (file)
		fclose(file);
	line[strcspn(line, "\n")] = '\0';
	snprintf(wanted, sizeof(wanted), "(%s)", model);
	if (!*line)
		lab_skip("model", "the kernel has no PREEMPT_DYNAMIC: its model cannot be chosen at boot");
	else if (!strstr(line, wanted))
		lab_skip("model", "the kernel has not the model %s: %s", model, line);
	else
		return lab_check(true, "model", "%s", line);
	return false;
}

/* Back the BO up and restore it beside a task that wants the processor 10,000 times a second. */
static bool round_trip(const struct known *known, bool real_time, uint64_t took[2], uint64_t waited[2])
{
	struct probe probe = { .period = 100 * 1000, .real_time = real_time };
	struct timespec rest = { .tv_nsec = 20 * 1000 * 1000 };
	bool good = true;

	probe_begin(&probe);
	for (int back = 0; back < 2; back++) {
		uint64_t start;

		nanosleep(&rest, NULL);
		probe_clear(&probe);
		start = lab_now();
		good &= (back ? restore(known) : back_up(known, 0)) == (int64_t)known->pages;
		took[back] = lab_now() - start;
		nanosleep(&rest, NULL); /* for who has waited to the end */
		waited[back] = probe.longest;
	}
	probe_end(&probe);
	return good;
}

/* One at a time: a task that the scheduler must run at once has the others run behind it as well. */
static void measure_latency(const struct options *o, int fd)
{
	struct known known = known_backup(fd, o->size, 1);
	uint64_t took[2], first[2], fair[2];
	bool good = round_trip(&known, true, took, first);

	good &= round_trip(&known, false, took, fair);
	lab_check(good, "moved", "%llu pages backed up and restored, twice", (unsigned long long)known.pages);
	lab_metric("backup_", "total", took[0], lab_unit());
	lab_metric("backup_", "first", first[0], lab_unit());
	lab_metric("backup_", "fair", fair[0], lab_unit());
	lab_metric("restore_", "total", took[1], lab_unit());
	lab_metric("restore_", "first", first[1], lab_unit());
	lab_metric("restore_", "fair", fair[1], lab_unit());
	check_content(&known);
	known_free(&known);
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	int fd;

	lab_start();
	fd = gpu_open();
	fclose(gpu_counters()); /* mounts debugfs, where the preemption model is */
	if (o.measure == LATENCY && o.model >= 0 && !runs_with(models[o.model]))
		return lab_finish();
	if (!check_swap_on("/dev/zram0", 256 * MIB))
		return lab_finish();
	if (o.measure == RESERVES)
		measure_reserves(&o, fd);
	else
		measure_latency(&o, fd);
	check_freed();
	return lab_finish();
}
