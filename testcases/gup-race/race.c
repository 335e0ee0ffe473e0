// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * race: a BO is freed while direct I/O on its mapping is in flight, and its memory is given to others.
 *
 * The recipe of the thread (see README.md): map a BO at a multiple of 2 MiB, start I/O on it, free it before
 * the I/O ends, let someone else have the pages (the victim). The device writes or reads guest memory when it
 * gets to the request, which a throttled disk puts off for seconds. On a kernel that is right the I/O is
 * refused, and the rest shows that nothing happens to the victim.
 */
#include "faultlab.h"

#include "direct_io.h"
#include "mapped_bo.h"
#include "options.h"
#include "pins.h"
#include "victim.h"

#include <getopt.h>

enum way { AIO_READ, AIO_WRITE, URING_READ, URING_WRITE, VMSPLICE };
enum defect { NONE, ORDINARY, NO_FREE, NO_FILL, LATE };

static const char *const ways[] = {
	"aio-read", "aio-write", "io_uring-read", "io_uring-write", "vmsplice", NULL
};
static const char *const defects[] = { "none", "ordinary", "no-free", "no-fill", "late", NULL };

enum { BO = 1, CONTROL, DISK }; /* seeds of contents; VICTIM is the victim's */
enum {
	BO_SIZE = 8 << 20,
	IO_BYTES = 64 << 10,
	IO_PAGES = IO_BYTES / 4096,
	DRAIN_BYTES = 128 << 10,
};

struct options {
	const char *driver, *disk;
	uint64_t hold, leave;
	enum way way;
	enum kind victim;
	enum defect defect;
};

/* I/O on its way, of whichever kind. */
struct flight {
	struct io_request request;
	int pipe[2];     /* vmsplice */
	int64_t started; /* 0, or bytes in the pipe; a negative errno: refused */
};

static const char help[] =
	"race --driver NAME [option...]    free a BO while I/O on its mapping is in flight\n"
	"  --driver NAME      of the DRM driver: qxl\n"
	"  --way WAY          aio-read (default), aio-write, io_uring-read, io_uring-write, vmsplice\n"
	"  --disk PATH        a throttled disk; its contents are lost (/dev/vda)\n"
	"  --hold SIZE        of the request before: until that is paid for, the disk holds the next (1000K)\n"
	"  --victim KIND      who gets the memory: pages (default) of data, or page tables, which a program then\n"
	"                     uses: tables\n"
	"  --leave SIZE       of the free memory, when the victim gets the rest (6M)\n"
	"  --defect DEFECT    break something to see its check fail: ordinary (memory in the BO's place),\n"
	"                     no-free, no-fill, late (the BO is freed when the I/O has ended)\n";

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "driver", required_argument, NULL, 'd' }, { "way", required_argument, NULL, 'w' },
		{ "disk", required_argument, NULL, 'k' },   { "hold", required_argument, NULL, 'h' },
		{ "leave", required_argument, NULL, 'l' },  { "defect", required_argument, NULL, 'x' },
		{ "victim", required_argument, NULL, 'v' }, { "help", no_argument, NULL, '?' + 1 },
		{ 0 },
	};
	struct options o = { .disk = "/dev/vda", .hold = 1000 << 10, .leave = 6 << 20 };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'd': o.driver = optarg; break;
		case 'w': o.way = lab_choice("--way", optarg, ways); break;
		case 'k': o.disk = optarg; break;
		case 'h': o.hold = lab_size("--hold", optarg); break;
		case 'l': o.leave = lab_size("--leave", optarg); break;
		case 'v': o.victim = lab_choice("--victim", optarg, victim_kinds); break;
		case 'x': o.defect = lab_choice("--defect", optarg, defects); break;
		case '?': lab_usage("race --help lists the options");
		default: fputs(help, stdout); exit(LAB_PASS);
		}
	}
	if (optind < argc || !o.driver)
		lab_usage("--driver NAME is needed; race --help lists the options");
	return o;
}

static bool writes(enum way way)
{
	return way == AIO_WRITE || way == URING_WRITE;
}

/* ---- I/O ------------------------------------------------------------------------------------------ */

static int64_t splice_off(struct flight *flight, void *memory)
{
	struct iovec range = { memory, IO_BYTES };

	if (pipe(flight->pipe))
		return -errno;
	return io_result(vmsplice(flight->pipe[1], &range, 1, SPLICE_F_NONBLOCK));
}

static void start(enum way way, struct io_disk *disk, void *memory, size_t bytes, struct flight *flight)
{
	switch (way) {
	case VMSPLICE:
		flight->started = splice_off(flight, memory);
		return;
	case AIO_READ:
	case AIO_WRITE:
		flight->started = io_submit_aio(disk, writes(way), memory, bytes, &flight->request);
		break;
	case URING_READ:
	case URING_WRITE:
		flight->started = io_submit_uring(disk, writes(way), memory, bytes, &flight->request);
		break;
	}
	if (!flight->started) { /* a refusal may also come as the request's result, at once */
		int64_t early = io_wait(&flight->request, 0);

		flight->started = early == -EINPROGRESS ? 0 : early;
	}
}

/* Not ended yet: what was taken is still held. */
static bool in_flight(enum way way, struct flight *flight)
{
	int64_t early;

	if (flight->started < 0)
		return false;
	if (flight->started) /* into a pipe, which nobody has read yet; any other way it has ended */
		return way == VMSPLICE;
	early = io_wait(&flight->request, 0);
	if (early != -EINPROGRESS)
		flight->started = early;
	return early == -EINPROGRESS;
}

/* The end of it: bytes, or a negative errno. What a pipe held is in `bounce` then. */
static int64_t finish(enum way way, struct io_disk *disk, struct flight *flight)
{
	if (flight->started)
		return way == VMSPLICE && flight->started > 0 ?
			       io_result(read(flight->pipe[0], disk->bounce, flight->started)) :
			       flight->started;
	return io_wait(&flight->request, IO_LIMIT_MS);
}

/* ---- control -------------------------------------------------------------------------------------- */

/*
 * Write contents for the I/O to read: each word is one that no page table may hold, present but with bits
 * that are reserved. It is also what the next request, the control's, has to wait for.
 */
static void fill_disk(struct io_disk *disk)
{
	uint64_t *word = (uint64_t *)disk->bounce;

	io_fill(word, DRAIN_BYTES, DISK);
	for (size_t i = 0; i < DRAIN_BYTES / sizeof(*word); i++)
		word[i] |= 1;
	if (pwrite(disk->fd, word, DRAIN_BYTES, 0) != DRAIN_BYTES)
		lab_check(false, "disk-filled", "%d bytes: %s", DRAIN_BYTES, strerror(errno));
}

/*
 * The same I/O on ordinary memory is still in flight after another BO was freed, and then works: the way of
 * holding it works here. What it costs the disk is what the next request has to wait for.
 */
static void check_control(const struct options *o, struct io_disk *disk, const struct mapped_bo *other)
{
	size_t bytes = o->way == VMSPLICE ? IO_BYTES : o->hold;
	char *memory = ordinary(bytes), text[32];
	struct flight flight;
	int64_t got;
	bool held;

	io_fill(memory, bytes, CONTROL);
	if (o->way != VMSPLICE)
		fill_disk(disk);
	start(o->way, disk, memory, bytes, &flight);
	munmap(other->base, other->bo.size);
	bo_free(&other->bo);
	held = in_flight(o->way, &flight);
	got = finish(o->way, disk, &flight);
	lab_check(held && got == (int64_t)bytes, "control", "ordinary memory: %s when another BO was freed, then %s",
		  held ? "in flight" : "ended or refused", io_words(got, text, sizeof(text)));
}

/* ---- the race ------------------------------------------------------------------------------------- */

/* Frames of the pages that I/O is done on, one by one. */
static void frames_of(const struct mapped_bo *subject, uint64_t *frames)
{
	for (size_t i = 0; i < IO_PAGES; i++)
		frames[i] = page_walk(subject->walker, subject->base + i * LAB_PAGE, LAB_PAGE).pfn;
}

/* Bytes of the victim among what the I/O took out of the memory. */
static size_t leaked(const char *taken)
{
	size_t own = 0;

	for (size_t at = 0; taken && at < IO_BYTES; at += LAB_PAGE)
		own += LAB_PAGE - io_foreign(taken + at, LAB_PAGE, VICTIM);
	return own;
}

static void check_victim(const struct options *o, struct io_disk *disk, const struct victim *victim, int64_t got)
{
	const char *taken = writes(o->way) ? io_read_disk(disk, IO_BYTES) : disk->bounce;
	struct damage damage = damage_of(victim);
	size_t out = 0;

	if (got > 0 && (writes(o->way) || o->way == VMSPLICE))
		out = leaked(taken);
	lab_check(!damage.foreign && !out, "victim", "%zu bytes overwritten (%zu by page poisoning), %zu bytes leaked",
		  damage.foreign, damage.poison, out);
	lab_metric("", "overwritten", damage.foreign, "bytes");
	lab_metric("", "poisoned", damage.poison, "bytes");
	lab_metric("", "leaked", out, "bytes");
}

/* Free the BO and let the victim have its memory, all while the I/O is in flight (`accepted`: if there is any). */
static void recycle(const struct options *o, const struct mapped_bo *subject, const struct victim *victim,
		    struct flight *flight, bool accepted)
{
	bool when_freed, when_filled;

	if (o->defect != NO_FREE) {
		munmap(subject->base, subject->bo.size);
		bo_free(&subject->bo);
	}
	when_freed = in_flight(o->way, flight);
	if (o->defect != NO_FILL)
		fill_victim(victim);
	when_filled = when_freed && in_flight(o->way, flight);
	if (accepted)
		lab_check(when_filled, "in-flight", "%s when the BO was freed, %s when the memory was filled",
			  when_freed ? "in flight" : "ended", when_filled ? "in flight" : "ended");
	else
		lab_skip("in-flight", "the I/O was refused");
}

/* Start the I/O, take the memory away, and look at it when the I/O has ended. */
static void race(const struct options *o, struct io_disk *disk, const struct mapped_bo *subject)
{
	char *target = o->defect == ORDINARY ? ordinary(IO_BYTES) : subject->base, text[32];
	uint64_t frames[IO_PAGES], references = mapped_bo_walk(subject).references;
	struct victim victim = plan_victim(o->victim, o->defect == NO_FREE ? 0 : BO_SIZE, o->leave);
	struct flight flight;
	int64_t got;
	size_t found;

	frames_of(subject, frames);
	start(o->way, disk, target, IO_BYTES, &flight);
	lab_check(flight.started == -EFAULT, "refused", "%s; references of the first page: %llu, then %llu",
		  flight.started < 0 ? io_words(flight.started, text, sizeof(text)) : "accepted: pages were taken",
		  (unsigned long long)references, (unsigned long long)mapped_bo_walk(subject).references);
	if (o->defect == LATE)
		flight.started = finish(o->way, disk, &flight);
	recycle(o, subject, &victim, &flight, flight.started >= 0);
	/* Before the I/O has ended, for then the victim's page tables may not be fit for a walk. */
	found = recycled(subject->walker, &victim, frames, IO_PAGES);
	got = finish(o->way, disk, &flight);
	lab_check(found > 0, "recycled", "%zu of the %d pages of the I/O are the victim's", found, IO_PAGES);
	lab_metric("", "recycled", found, "count");
	check_victim(o, disk, &victim, got);
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	struct mapped_bo subject, other;
	struct page_walk walk;
	struct io_disk disk;
	struct pins before, pins = { 0 };
	int failed;

	lab_start();
	failed = io_open(o.way == VMSPLICE ? NULL : o.disk, o.hold > DRAIN_BYTES ? o.hold : DRAIN_BYTES, &disk);
	lab_check(!failed, "disk", "%s: %s", o.disk, failed ? strerror(-failed) : "O_DIRECT");
	if (failed || !mapped_bo_make(o.driver, BO_SIZE, 0, &subject))
		return lab_finish();
	if (bo_make(BO_DUMB, subject.bo.fd, BO_SIZE, &other.bo) ||
	    (other.base = bo_map_at(&other.bo, HUGE_SIZE, 0)) == MAP_FAILED)
		return lab_check(false, "bo", "a second one: %s", strerror(errno)), lab_finish();
	mapped_bo_touch(&other, LAB_PAGE, 0);
	mapped_bo_touch(&subject, LAB_PAGE, 0);
	io_fill(subject.base, IO_BYTES, BO);
	walk = mapped_bo_walk(&subject);
	check_mapping("mapping", &walk);
	lab_metric("", "huge", walk.pmd, "count");
	before = pins_now();
	check_control(&o, &disk, &other);
	race(&o, &disk, &subject);
	pins_since(&before, &pins);
	check_pins(&pins);
	return lab_finish();
}
