// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bo_touch: what does it cost to touch the pages of a mapped BO?
 *
 * Makes one BO, maps it at an exact address, touches pages in a pattern and takes the time of each
 * touch. Everything else (memory for the results, the BO's own pages, output) is kept out of the span.
 * README.md beside this file tells what the options are for.
 */
#include "faultlab.h"

#include "bo.h"
#include "options.h"
#include "span.h"
#include "touch.h"
#include "window.h"

#include <getopt.h>

enum populate { POPULATE_NO, POPULATE_YES, POPULATE_APART };
enum defect { NONE, SKIP_PAGE, CORRUPT, LATE, EARLY, ASTRAY, HOLE };

static const char *const populates[] = { "no", "yes", "apart", NULL };
static const char *const defects[] = { "none", "skip-page", "corrupt", "late", "early", "astray", "hole", NULL };
static const char *const kinds[] = { "dumb", "qxl-vram", "memfd", NULL };
static const char *const advices[] = {
	"none", "normal", "random", "sequential", "willneed", "hugepage", NULL
};
static const int advice_values[] = {
	-1, MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_HUGEPAGE
};

struct options {
	const char *driver;
	enum bo_kind kind;
	uint64_t size, stride, seed, pass, offset_pages, map_align;
	enum pattern pattern;
	enum populate populate;
	enum defect defect;
	int advice;
	bool then_rest, read;
};

static const char help[] =
	"bo_touch --driver NAME [option...]      touch the pages of a BO and report what each touch took\n"
	"  --driver NAME          of the DRM driver: qxl, bochs-drm, virtio_gpu\n"
	"  --bo KIND              dumb (default), qxl-vram, memfd (no driver: plain shmem pages)\n"
	"  --size SIZE            of the BO: 4K, 8M (default), 1G\n"
	"  --pattern PATTERN      sequential (default), reverse, random, stride, pmd (one touch per 2 MiB)\n"
	"  --stride PAGES         of the pattern stride (17)\n"
	"  --seed N               of the pattern random (1)\n"
	"  --pass 1|2             2: measure a second pass over the same pages\n"
	"  --then-rest            after stride or pmd: measure touching all other pages as a second span\n"
	"  --map-align SIZE       map at a multiple of it, a power of two (2M)\n"
	"  --offset-pages N       ... and N pages behind (0)\n"
	"  --populate WHICH       yes (default): page 0 is touched before the span; apart: through another\n"
	"                         mapping, so that the measured one is still empty; no: in the span\n"
	"  --madvise ADVICE       normal, random, sequential, willneed, hugepage, for the mapping\n"
	"  --write, --read        how a page is touched (write)\n"
	"  --defect DEFECT        break something to see its check fail: skip-page, corrupt, late (all pages\n"
	"                         touched before), early (one page before), astray, hole (memfd: no memory\n"
	"                         behind page 0)\n";

enum option_key {
	O_DRIVER = 1, O_BO, O_SIZE, O_PATTERN, O_STRIDE, O_SEED, O_PASS, O_REST, O_ALIGN, O_OFFSET,
	O_POPULATE, O_MADVISE, O_WRITE, O_READ, O_DEFECT, O_HELP,
};

static const struct option option_table[] = {
	{ "driver", required_argument, NULL, O_DRIVER },
	{ "bo", required_argument, NULL, O_BO },
	{ "size", required_argument, NULL, O_SIZE },
	{ "pattern", required_argument, NULL, O_PATTERN },
	{ "stride", required_argument, NULL, O_STRIDE },
	{ "seed", required_argument, NULL, O_SEED },
	{ "pass", required_argument, NULL, O_PASS },
	{ "then-rest", no_argument, NULL, O_REST },
	{ "map-align", required_argument, NULL, O_ALIGN },
	{ "offset-pages", required_argument, NULL, O_OFFSET },
	{ "populate", required_argument, NULL, O_POPULATE },
	{ "madvise", required_argument, NULL, O_MADVISE },
	{ "write", no_argument, NULL, O_WRITE },
	{ "read", no_argument, NULL, O_READ },
	{ "defect", required_argument, NULL, O_DEFECT },
	{ "help", no_argument, NULL, O_HELP },
	{ 0 },
};

static void set_option(struct options *o, int key, const char *text)
{
	switch ((enum option_key)key) {
	case O_DRIVER: o->driver = text; break;
	case O_BO: o->kind = lab_choice("--bo", text, kinds); break;
	case O_SIZE: o->size = lab_size("--size", text); break;
	case O_PATTERN: o->pattern = lab_choice("--pattern", text, patterns); break;
	case O_STRIDE: o->stride = lab_number("--stride", text, 1, UINT32_MAX); break;
	case O_SEED: o->seed = lab_number("--seed", text, 0, UINT64_MAX); break;
	case O_PASS: o->pass = lab_number("--pass", text, 1, 2); break;
	case O_REST: o->then_rest = true; break;
	case O_ALIGN: o->map_align = lab_size("--map-align", text); break;
	case O_OFFSET: o->offset_pages = lab_number("--offset-pages", text, 0, 1 << 18); break;
	case O_POPULATE: o->populate = lab_choice("--populate", text, populates); break;
	case O_MADVISE: o->advice = lab_choice("--madvise", text, advices); break;
	case O_WRITE: o->read = false; break;
	case O_READ: o->read = true; break;
	case O_DEFECT: o->defect = lab_choice("--defect", text, defects); break;
	case O_HELP:
		fputs(help, stdout);
		exit(LAB_PASS);
	}
}

static struct options parse(int argc, char **argv)
{
	struct options o = {
		.size = 8 << 20, .stride = 17, .seed = 1, .pass = 1, .map_align = PMD_SIZE, .populate = POPULATE_YES,
	};
	int key;

	while ((key = getopt_long(argc, argv, "", option_table, NULL)) != -1) {
		if (key == '?')
			lab_usage("bo_touch --help lists the options");
		set_option(&o, key, optarg);
	}
	if (optind < argc)
		lab_usage("%s: not an option; bo_touch --help lists them", argv[optind]);
	if (o.kind != BO_MEMFD && !o.driver)
		lab_usage("--driver NAME is needed");
	if (o.map_align & (o.map_align - 1))
		lab_usage("--map-align: a power of two is needed");
	if (o.then_rest && o.pattern != STRIDE && o.pattern != PMD)
		lab_usage("--then-rest needs a pattern that leaves pages out: stride or pmd");
	if (o.then_rest && o.pass == 2)
		lab_usage("--then-rest measures a first pass: --pass 2 does not go with it");
	if (o.read && o.populate == POPULATE_NO)
		lab_usage("--read needs something to read: --populate no does not go with it");
	return o;
}

/* A BO of exactly the size asked for; false if the workload ends here. */
static bool make(const struct options *o, struct bo *bo)
{
	char found[160] = "none is needed";
	int fd = o->kind == BO_MEMFD ? -1 : bo_open_driver(o->driver, found, sizeof(found));

	if (o->kind != BO_MEMFD && fd < 0) {
		lab_skip("driver", "no card is driven by %.40s; %s", o->driver, found);
		return false;
	}
	if (o->kind == BO_QXL_VRAM && strcmp(o->driver, "qxl")) {
		lab_skip("bo", "qxl-vram is a kind of BO that only qxl has");
		return false;
	}
	lab_check(true, "driver", "%s", found);
	if (bo_make(o->kind, fd, o->size, bo))
		return lab_check(false, "bo", "%s of %llu bytes: %s", kinds[o->kind], (unsigned long long)o->size,
				 strerror(errno));
	return lab_check(bo->size == o->size, "bo", "%s of %llu bytes", kinds[o->kind],
			 (unsigned long long)bo->size);
}

/* A mapping where and with the advice asked for, of which nothing is touched yet. */
static char *map_quietly(const struct options *o, const struct bo *bo, uint64_t pages)
{
	char *base = bo_map_at(bo, o->map_align, pages);

	if (base != MAP_FAILED && o->advice)
		madvise(base, bo->size, advice_values[o->advice]);
	return base;
}

/* The mapping under test; NULL if there is none. */
static char *map(const struct options *o, const struct bo *bo)
{
	char *base = map_quietly(o, bo, o->offset_pages + (o->defect == ASTRAY));
	uintptr_t wanted = (uintptr_t)base - o->offset_pages * LAB_PAGE;

	if (base == MAP_FAILED) {
		lab_check(false, "mapped", "mmap: %s", strerror(errno));
		return NULL;
	}
	/* The address itself is not told: where it is random, no two reports would be the same. */
	lab_check(wanted % o->map_align == 0, "mapped",
		  "%llu pages behind a multiple of %llu wanted, %llu bytes off", (unsigned long long)o->offset_pages,
		  (unsigned long long)o->map_align, (unsigned long long)(wanted % o->map_align));
	if (o->advice && madvise(base, bo->size, advice_values[o->advice]))
		lab_skip("madvise", "%s: %s", advices[o->advice], strerror(errno));
	else if (o->advice)
		lab_check(true, "madvise", "%s", advices[o->advice]);
	return base;
}

/* Bring the BO into the state that the span is to find. `view` is a second mapping of it. */
static void prepare(const struct options *o, int fd, struct span *span, char *base, char *view)
{
	for (size_t i = 0; o->read && i < o->size / LAB_PAGE; i++)
		*word(view, i) = token(i, o->pass);
	if (o->populate == POPULATE_APART)
		*word(view, 0) = token(0, o->pass);
	if (o->populate == POPULATE_YES)
		*word(base, 0) = token(0, o->pass);
	if (o->pass == 2 || o->defect == LATE)
		touch_pages(span, base, o->read, 1);
	if (o->defect == EARLY)
		*word(base, o->size / LAB_PAGE / 2) = token(o->size / LAB_PAGE / 2, o->pass);
	if (o->defect == SKIP_PAGE)
		span->done--;
	if (o->defect == HOLE && ftruncate(fd, LAB_PAGE))
		lab_line("# note: --defect hole: %s", strerror(errno));
}

static void measure(const struct options *o, int fd, struct span *touched, struct span *rest, char *base,
		    char *view)
{
	prepare(o, fd, touched, base, view);
	lab_quiet();
	lab_span_begin("touch");
	touch_pages(touched, base, o->read, o->pass);
	lab_span_end();
	if (o->then_rest)
		touch_pages(rest, base, o->read, o->pass);
	if (o->defect == CORRUPT) {
		touched->value[0] ^= 1;
		*word(view, touched->page[0]) ^= 1;
	}
}

/* What one fault maps in a fresh mapping of the same kind; no pages if there is no such mapping. */
static struct window window_of(const struct options *o, const struct bo *bo)
{
	char *fresh = map_quietly(o, bo, o->offset_pages);

	if (fresh != MAP_FAILED)
		return probe_window(fresh, o->size / LAB_PAGE, o->read);
	lab_check(false, "window", "third mapping: %s", strerror(errno));
	return (struct window){ 0 };
}

/* The pages that were mapped before the first span. */
static uint8_t *present_before(const struct options *o, const struct span *touched, const struct window *window)
{
	size_t pages = o->size / LAB_PAGE;
	uint8_t *present = lab_array(pages, 1);

	if (o->populate == POPULATE_YES)
		map_window(present, pages, 0, window->pages);
	if (o->pass == 2)
		expected_faults(touched, present, pages, window->pages);
	return present;
}

/* Check `NAMEfaults`: as many as the span must take, where that can be said. Brings `present` up to date. */
static void check_faults(const struct span *span, const char *name, uint8_t *present, size_t pages,
			 const struct window *window)
{
	size_t expected = expected_faults(span, present, pages, window->pages) * window->faults;
	char check[32];

	snprintf(check, sizeof(check), "%sfaults", name);
	if (window->forward || !expected)
		lab_check(span->faults == expected, check, "%llu in the span, %zu expected at %zu pages a fault",
			  (unsigned long long)span->faults, expected, window->pages);
	else
		lab_check(span->faults > 0, check, "%llu in the span, 1 or more expected at %zu pages around a fault",
			  (unsigned long long)span->faults, window->pages);
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	struct span touched, rest;
	struct bo bo = { .fd = -1 };
	struct window window;
	uint8_t *present;
	char *base, *view;

	plan_touches(o.pattern, o.stride, o.seed, o.size / LAB_PAGE, &touched, &rest);
	lab_start();
	lab_spans_open();
	if (!make(&o, &bo) || !(base = map(&o, &bo)))
		return lab_finish();
	view = bo_map(&bo, NULL);
	if (view == MAP_FAILED) {
		lab_check(false, "view", "second mapping: %s", strerror(errno));
		return lab_finish();
	}
	measure(&o, bo.fd, &touched, &rest, base, view);

	window = window_of(&o, &bo);
	present = present_before(&o, &touched, &window);
	check_touches(&touched, "", view, o.read, o.pass);
	check_faults(&touched, "", present, bo.size / LAB_PAGE, &window);
	lab_metric("", "window", window.pages, "count");
	lab_metric("", "faults", touched.faults, "count");
	lab_metric("", "touches", touched.done, "count");
	report_touches(&touched, "touch_", "touches.txt");
	if (o.then_rest) {
		check_touches(&rest, "rest-", view, o.read, o.pass);
		check_faults(&rest, "rest-", present, bo.size / LAB_PAGE, &window);
		lab_metric("rest_", "faults", rest.faults, "count");
		lab_metric("rest_", "touches", rest.done, "count");
		report_touches(&rest, "rest_", "rest.txt");
	}
	return lab_finish();
}
