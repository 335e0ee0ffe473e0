// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * map_dma_buf: what kind of mapping is a dma-buf's, and does the kernel take pages of it for direct I/O?
 *
 * The kind is told by the VMA's flags and by the entries themselves, through the module page_walk. Whatever it
 * is, what happens has to agree with it: where a mapping says that its pages are not the kernel's to take
 * (VM_PFNMAP, VM_IO, special entries) each way of get_user_pages() is refused; elsewhere each moves all bytes.
 * That it should be VM_PFNMAP, as the thread has it, is a check of its own.
 */
#include "faultlab.h"

#include "direct_io.h"
#include "exporters.h"
#include "mapped_bo.h"
#include "options.h"
#include "vma.h"

#include <getopt.h>

enum defect { NONE, ORDINARY, UNTOUCHED, SPOIL };

static const char *const defects[] = { "none", "ordinary", "untouched", "spoil", NULL };

enum { DISK = 1, BUFFER }; /* seeds of contents */

struct options {
	enum exporter exporter;
	uint64_t size, bytes;
	bool shmem_huge;
	enum defect defect;
};

struct subject {
	char *base;
	uint64_t size, bytes;
	struct vma_flags flags;
	struct page_walk walk;
};

static const char help[] =
	"map_dma_buf --exporter NAME [option...]   map a dma-buf and try direct I/O on it\n"
	"  --exporter NAME    vgem, virtio-gpu, qxl, qxl-vram, bochs, test-gpu, test-gpu-vram, udmabuf, heap\n"
	"  --size SIZE        of the dma-buf (4M)\n"
	"  --bytes SIZE       to move, from its start (1M)\n"
	"  --shmem-huge       let shmem use huge pages\n"
	"  --defect DEFECT    break something to see a check fail: ordinary (memory in the dma-buf's place),\n"
	"                     untouched (nothing is mapped), spoil (a byte of what was moved)\n";

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "exporter", required_argument, NULL, 'e' }, { "size", required_argument, NULL, 's' },
		{ "bytes", required_argument, NULL, 'b' },    { "shmem-huge", no_argument, NULL, 'h' },
		{ "defect", required_argument, NULL, 'x' },   { "help", no_argument, NULL, 'H' }, { 0 },
	};
	struct options o = { .exporter = -1, .size = 4 << 20, .bytes = 1 << 20 };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'e': o.exporter = lab_choice("--exporter", optarg, exporters); break;
		case 's': o.size = lab_size("--size", optarg); break;
		case 'b': o.bytes = lab_size("--bytes", optarg); break;
		case 'h': o.shmem_huge = true; break;
		case 'x': o.defect = lab_choice("--defect", optarg, defects); break;
		case 'H': fputs(help, stdout); exit(LAB_PASS);
		default: lab_usage("map_dma_buf --help lists the options");
		}
	}
	if (optind < argc || (int)o.exporter < 0)
		lab_usage("--exporter NAME is needed; map_dma_buf --help lists the options");
	if (o.bytes > o.size)
		lab_usage("--bytes: more than the dma-buf has");
	return o;
}

/* The dma-buf, mapped at a multiple of 2 MiB; MAP_FAILED ends the workload, and why is reported. */
static char *map(const struct options *o, struct exported *exported)
{
	struct bo bo = { .size = o->size };
	char *base = MAP_FAILED;

	bo.fd = export_make(o->exporter, o->size, exported);
	if (bo.fd == -ENODEV || bo.fd == -ENOENT || bo.fd == -ENOSYS || bo.fd == -EOPNOTSUPP) {
		lab_skip("export", "%s: %s", exporters[o->exporter], bo.fd == -ENODEV || bo.fd == -ENOENT ?
			 "there is none here" : "its driver exports no dma-buf");
		return MAP_FAILED;
	}
	if (!lab_check(bo.fd >= 0, "export", "%s: %s", exporters[o->exporter],
		       bo.fd < 0 ? strerror(-bo.fd) : "a dma-buf"))
		return MAP_FAILED;
	base = bo_map_at(&bo, HUGE_SIZE, 0);
	if (base == MAP_FAILED && (errno == ENOSYS || errno == ENODEV)) { /* the safest of all answers */
		lab_skip("mapping", "mmap is refused: %s", strerrorname_np(errno));
		return MAP_FAILED;
	}
	lab_check(base != MAP_FAILED, "mapped", "%s",
		  base == MAP_FAILED ? strerror(errno) : "at a multiple of 2 MiB");
	if (base != MAP_FAILED && o->defect == ORDINARY)
		base = mmap(base, o->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return base;
}

/* What is written through the dma-buf is there for the exporter: the mapping is of the buffer's memory. */
static void check_memory(const struct exported *exported, const struct subject *subject)
{
	char *own = exported->own.fd < 0 ? MAP_FAILED : bo_map(&exported->own, NULL);

	io_fill(subject->base, subject->size, BUFFER);
	if (own == MAP_FAILED) {
		lab_skip("memory", "the exporter has no other way to it");
		return;
	}
	lab_check(io_holds(own, subject->size, BUFFER), "memory", "seen through the exporter's own mapping");
	munmap(own, subject->size);
}

/* May pages be taken? Known only if VMA and entries agree. */
static bool is_takable(const struct subject *subject)
{
	const struct page_walk *walk = &subject->walk;

	return !subject->flags.io && !subject->flags.pfnmap && !walk->special_pte && !walk->special_pmd;
}

/* Every page has an entry, all of one size; under VM_PFNMAP each is special, in a normal mapping none. */
static void check_kind(const struct subject *subject)
{
	const struct page_walk *walk = &subject->walk;
	uint64_t entries = walk->pte + walk->pmd, special = walk->special_pte + walk->special_pmd;
	bool agrees = subject->flags.pfnmap ? special == entries : subject->flags.mixedmap || !special;
	char text[64];

	vma_words(&subject->flags, text, sizeof(text));
	lab_check(subject->flags.known && !walk->none && entries && (!walk->pte || !walk->pmd) && agrees, "mapping",
		  "%s, %llu %s entries of %s%s", text, (unsigned long long)entries,
		  special == entries ? "special" : special ? "mixed" : "plain", walk->pmd ? "2 MiB" : "4 KiB",
		  walk->none ? ", and pages without one" : "");
	lab_check(subject->flags.pfnmap, "pfnmap", "%s", text);
}

/* One way, between the disk, filled anew, and the dma-buf, filled anew: true if all bytes arrived. */
static bool move(enum io_way way, struct io_disk *disk, const struct subject *subject, bool spoil, int64_t *got)
{
	int64_t whole = io_whole(way, subject->bytes);
	char *there;

	*got = io_fresh(way, disk, subject->base, subject->bytes, BUFFER, DISK);
	if (*got)
		return false;
	*got = io_take(way, disk, subject->base, subject->bytes);
	there = *got == whole ? io_moved_to(way, disk, subject->base, subject->bytes) : NULL;
	if (!there)
		return false;
	there[whole / 2] ^= spoil;
	return io_holds(there, whole, io_writes_memory(way) ? DISK : BUFFER);
}

/*
 * io_uring has a rule of its own on top for fixed buffers, of which pages of files may be pinned for long: 5.10
 * refuses all but those of shmem and hugetlbfs.
 */
static bool own_rule(enum io_way way, int64_t got)
{
	return way == IO_URING_FIXED && got == -EOPNOTSUPP;
}

static void check_way(enum io_way way, struct io_disk *disk, const struct subject *subject, bool spoil)
{
	const char *wrong = is_takable(subject) ? ", should work" : ", should be EFAULT";
	bool takable = is_takable(subject), by_cpu = way == IO_BUFFERED, good;
	int64_t got;
	bool whole = move(way, disk, subject, spoil, &got);
	char text[32];

	if (takable || by_cpu)
		good = whole || own_rule(way, got);
	else
		good = (got == -EFAULT || own_rule(way, got)) && io_holds(subject->base, subject->bytes, BUFFER);
	if (got > 0 && !whole)
		wrong = ", but not those";
	lab_check(good, io_ways[way], "%s%s", io_words(got, text, sizeof(text)), good ? "" : wrong);
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	struct subject subject = { .size = o.size, .bytes = o.bytes };
	struct exported exported;
	struct io_disk disk;
	uint64_t faults;
	int failed = io_open("/dev/vda", o.bytes, &disk), walker = page_walk_open();

	if (failed)
		lab_check(false, "disk", "/dev/vda: %s", strerror(-failed));
	if (failed || walker < 0)
		return lab_finish();
	lab_start();
	if (o.shmem_huge)
		want_shmem_huge();
	subject.base = map(&o, &exported);
	if (subject.base == MAP_FAILED)
		return lab_finish();
	faults = lab_faults();
	for (size_t at = 0; at < o.size && o.defect != UNTOUCHED; at += LAB_PAGE)
		*(volatile char *)(subject.base + at) = 0;
	faults = lab_faults() - faults;
	subject.flags = vma_flags_at(subject.base);
	subject.walk = page_walk(walker, subject.base, o.size);
	lab_metric("", "faults", faults, "count");
	lab_metric("", "small", subject.walk.pte, "count");
	lab_metric("", "huge", subject.walk.pmd, "count");
	lab_metric("", "special", subject.walk.special_pte + subject.walk.special_pmd, "count");
	check_kind(&subject);
	check_memory(&exported, &subject);
	for (int way = 0; way < IO_WAYS; way++)
		check_way(way, &disk, &subject, o.defect == SPOIL);
	return lab_finish();
}
