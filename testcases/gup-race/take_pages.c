// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * take_pages: does the kernel take pages of a mapped BO by get_user_pages(), by any way there is?
 *
 * The pages of a BO belong to its driver, which frees them whether someone holds a reference or not. So
 * each way must be refused (EFAULT), whatever the size of the mapping's entries. Each is tried on ordinary
 * memory too, where it must work, so that a refusal is the mapping's.
 */
#include "faultlab.h"

#include "direct_io.h"
#include "mapped_bo.h"
#include "options.h"
#include "pins.h"

#include <getopt.h>

enum defect { NONE, ORDINARY, UNTOUCHED, NO_DISK };

static const char *const defects[] = { "none", "ordinary", "untouched", "no-disk", NULL };

enum { DISK = 1, BO }; /* seeds of contents */

struct options {
	const char *driver, *disk;
	uint64_t size, bytes;
	enum defect defect;
	bool shmem_huge;
};

static const char help[] =
	"take_pages --driver NAME [option...]    try each way of get_user_pages() on a mapped BO\n"
	"  --driver NAME      of the DRM driver: qxl, vgem\n"
	"  --size SIZE        of the BO (8M)\n"
	"  --bytes SIZE       to move, from the BO's start (1M)\n"
	"  --disk PATH        for direct I/O; its contents are lost (/dev/vda)\n"
	"  --shmem-huge       let shmem use huge pages (what vgem's BOs are made of)\n"
	"  --defect DEFECT    break something to see its check fail: ordinary (memory in the BO's place),\n"
	"                     untouched (nothing is mapped), no-disk\n";

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "driver", required_argument, NULL, 'd' }, { "size", required_argument, NULL, 's' },
		{ "bytes", required_argument, NULL, 'b' },  { "disk", required_argument, NULL, 'k' },
		{ "shmem-huge", no_argument, NULL, 'h' },   { "defect", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, '?' + 1 },     { 0 },
	};
	struct options o = { .disk = "/dev/vda", .size = 8 << 20, .bytes = 1 << 20 };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'd': o.driver = optarg; break;
		case 's': o.size = lab_size("--size", optarg); break;
		case 'b': o.bytes = lab_size("--bytes", optarg); break;
		case 'k': o.disk = optarg; break;
		case 'h': o.shmem_huge = true; break;
		case 'x': o.defect = lab_choice("--defect", optarg, defects); break;
		case '?': lab_usage("take_pages --help lists the options");
		default: fputs(help, stdout); exit(LAB_PASS);
		}
	}
	if (optind < argc || !o.driver)
		lab_usage("--driver NAME is needed; take_pages --help lists the options");
	if (o.bytes > o.size)
		lab_usage("--bytes: more than the BO has");
	return o;
}

/*
 * One way, between the disk, filled anew, and `memory`, filled anew: true if all bytes arrived. `sum` gets
 * the pins of the transfer alone.
 */
static bool move(enum io_way way, struct io_disk *disk, char *memory, size_t bytes, int64_t *got,
		 struct pins *sum)
{
	int64_t whole = io_whole(way, bytes);
	const char *there;
	struct pins pins;

	*got = io_fresh(way, disk, memory, bytes, BO, DISK);
	if (*got)
		return false;
	pins = pins_now();
	*got = io_take(way, disk, memory, bytes);
	pins_since(&pins, sum);
	there = *got == whole ? io_moved_to(way, disk, memory, bytes) : NULL;
	return there && io_holds(there, whole, io_writes_memory(way) ? DISK : BO);
}

/*
 * Every way works on ordinary memory: a check `control`. `lacking` gets those whose system call the kernel was
 * built without (process_vm_readv() is CONFIG_CROSS_MEMORY_ATTACH): nothing can be asked of them.
 */
static void check_control(struct io_disk *disk, size_t bytes, bool lacking[IO_WAYS])
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char failed[160] = "", text[32];
	struct pins pins = { 0 };
	int64_t got;
	int ways = IO_WAYS;

	for (int way = 0; way < IO_WAYS && memory != MAP_FAILED; way++) {
		bool whole = move(way, disk, memory, bytes, &got, &pins);

		lacking[way] = got == -ENOSYS;
		ways -= lacking[way];
		if (!whole && !lacking[way])
			snprintf(failed + strlen(failed), sizeof(failed) - strlen(failed), " %s (%s)", io_ways[way],
				 io_words(got, text, sizeof(text)));
	}
	lab_check(memory != MAP_FAILED && !*failed, "control", "%d ways on ordinary memory%s%s, %lld pins", ways,
		  *failed ? ", not:" : ", all work", failed, (long long)pins.acquired);
	munmap(memory, bytes);
}

/* A check for each way: refused, and not a byte moved. The CPU's own copy must work. */
static void check_ways(struct io_disk *disk, char *memory, size_t bytes, const bool lacking[IO_WAYS])
{
	unsigned int taken = 0;
	struct pins pins = { 0 };
	char text[32];
	int64_t got;

	for (int way = 0; way < IO_WAYS; way++) {
		bool whole, took;

		if (lacking[way]) {
			lab_skip(io_ways[way], "this kernel has no such system call");
			continue;
		}
		whole = move(way, disk, memory, bytes, &got, &pins);
		took = way != IO_BUFFERED && got > 0;
		io_words(got, text, sizeof(text));
		taken += took;
		if (way == IO_BUFFERED)
			lab_check(whole, io_ways[way], "%s", text);
		else
			lab_check(got == -EFAULT && io_holds(memory, bytes, BO), io_ways[way], "%s%s", text,
				  took ? ": pages of the BO were taken" : "");
	}
	check_pins(&pins);
	lab_metric("", "taken", taken, "count");
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	struct mapped_bo subject;
	struct page_walk before, after;
	struct io_disk disk;
	bool lacking[IO_WAYS] = { false };
	char *target;
	int failed;

	lab_start();
	if (o.shmem_huge)
		want_shmem_huge();
	failed = io_open(o.defect == NO_DISK ? NULL : o.disk, o.bytes, &disk);
	lab_check(!failed, "disk", "%s: %s", o.disk, failed ? strerror(-failed) : "O_DIRECT");
	if (failed || !mapped_bo_make(o.driver, o.size, 0, &subject))
		return lab_finish();
	target = subject.base;
	if (o.defect == ORDINARY)
		target = mmap(NULL, o.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check_control(&disk, o.bytes, lacking);
	if (o.defect != UNTOUCHED)
		mapped_bo_touch(&subject, LAB_PAGE, 0);
	before = mapped_bo_walk(&subject);
	check_mapping("mapping", &before);
	check_ways(&disk, target, o.bytes, lacking);
	after = mapped_bo_walk(&subject);
	lab_check(before.references == after.references, "references", "of the BO's first page: %llu, then %llu",
		  (unsigned long long)before.references, (unsigned long long)after.references);
	lab_metric("", "huge", before.pmd, "count");
	lab_metric("", "small", before.pte, "count");
	munmap(subject.base, subject.bo.size); /* what is wrong with the pages shows when they are freed */
	lab_check(!bo_free(&subject.bo), "freed", "the BO");
	return lab_finish();
}
