// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rebind: the driver is taken from its device while a program has a BO mapped and shown, and given back.
 * What becomes of the mapping, does the device come back, and is all memory given back?
 */
#include "kms.h"
#include "options.h"
#include "touch.h"
#include "virtio_gpu.h"

#include <getopt.h>
#include <setjmp.h>

#define BO_SIZE (4UL << 20)

enum { CYCLES = 4, WAIT_MS = 5000, SLACK = 256 << 10 };
enum defect { NONE, BOUND, GONE, LEAK, SCRIBBLED };

static const char *const defects[] = { "none", "bound", "gone", "leak", "scribbled", NULL };

static const char help[] =
	"rebind [option...]    unbind and bind the driver under a mapped BO\n"
	"  --driver NAME     of the card (virtio_gpu)\n"
	"  --defect DEFECT   break something to see its check fail: bound (it is not unbound), gone (it is not bound\n"
	"                    again), leak (the file and the mapping stay), scribbled (a page is changed meanwhile)\n";

struct options {
	const char *driver;
	enum defect defect;
};

static sigjmp_buf on_fault;

static void on_sigbus(int number)
{
	(void)number;
	siglongjmp(on_fault, 1);
}

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "driver", required_argument, NULL, 'd' }, { "defect", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, '?' + 1 },     { 0 },
	};
	struct options o = { .driver = "virtio_gpu" };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'd': o.driver = optarg; break;
		case 'x': o.defect = lab_choice("--defect", optarg, defects); break;
		case '?': lab_usage("rebind --help lists the options");
		default: fputs(help, stdout); exit(LAB_PASS);
		}
	}
	return o;
}

/* A line of /proc/meminfo, in bytes. */
static uint64_t meminfo(const char *name)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) && sscanf(line + strlen(name), ": %llu", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib << 10;
}

/* Wait until a card of the driver is there, or none is; its descriptor, or -1. */
static int await_card(const char *driver, bool there)
{
	struct timespec rest = { .tv_nsec = 10 * 1000 * 1000 };
	char found[160];
	int fd;

	for (int waited = 0;; waited += 10) {
		fd = bo_open_driver(driver, found, sizeof(found));
		if ((fd >= 0) == there || waited >= WAIT_MS)
			return fd;
		if (fd >= 0)
			close(fd);
		nanosleep(&rest, NULL);
	}
}

struct held {
	int fd;
	struct kms_buffer shown;
	struct bo bo;
	char *base;
	uint64_t pages;
};

/* A BO that is mapped and touched, and a buffer that is shown: the device works. */
static bool take(int fd, struct held *h, const char *check)
{
	struct kms_output outputs[KMS_MAX_OUTPUTS];
	uint64_t faults;
	int ret;

	*h = (struct held){ .fd = fd };
	if (fd < 0)
		return lab_check(false, check, "no card");
	ret = kms_outputs(fd, outputs) > 0 ? kms_probe(fd, &outputs[0]) : -ENODEV;
	if (!ret)
		ret = kms_make_buffer(fd, outputs[0].preferred.width, outputs[0].preferred.height, &h->shown);
	if (!ret)
		ret = kms_show(fd, &outputs[0], &h->shown);
	if (!ret && bo_make(BO_DUMB, fd, BO_SIZE, &h->bo))
		ret = -errno;
	h->base = ret ? MAP_FAILED : bo_map(&h->bo, NULL);
	if (h->base == MAP_FAILED)
		return lab_check(false, check, "%s", strerror(ret ? -ret : errno));
	h->pages = h->bo.size / LAB_PAGE;
	faults = lab_faults();
	for (uint64_t page = 0; page < h->pages; page++)
		*word(h->base, page) = token(page, 1);
	faults = lab_faults() - faults;
	return lab_check(faults >= h->pages, check, "shown, mapped, %llu faults for %llu pages",
			 (unsigned long long)faults, (unsigned long long)h->pages);
}

/* Without mappings nothing keeps the BOs but the file, which goes with this. */
static void give_back(struct held *h)
{
	munmap(h->base, h->bo.size);
	munmap(h->shown.base, h->shown.bo.size);
	close(h->fd);
}

struct seen {
	uint64_t kept, other, refused, faults;
};

/* Touch each page of the mapping: does it hold what was written, something else, or is it refused? */
static struct seen look(const struct held *h)
{
	struct sigaction bus = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER }, before;
	volatile struct seen seen = { 0 };
	volatile uint64_t page;
	uint64_t faults = lab_faults();

	sigaction(SIGBUS, &bus, &before);
	for (page = 0; page < h->pages; page++) {
		if (sigsetjmp(on_fault, 0))
			seen.refused++;
		else if (*word(h->base, page) == token(page, 1))
			seen.kept++;
		else
			seen.other++;
	}
	sigaction(SIGBUS, &before, NULL);
	seen.faults = lab_faults() - faults;
	return seen;
}

static void check_mapping(const struct held *h)
{
	struct seen seen = look(h);
	char *again;
	int error;

	lab_check(!seen.other && (seen.kept == h->pages || seen.refused == h->pages), "mapping",
		  "%llu pages as written, %llu SIGBUS, %llu other; %llu faults", (unsigned long long)seen.kept,
		  (unsigned long long)seen.refused, (unsigned long long)seen.other, (unsigned long long)seen.faults);
	lab_metric("", "sigbus", seen.refused, "count");
	lab_metric("", "faults", seen.faults, "count");
	again = bo_map(&h->bo, NULL);
	error = again == MAP_FAILED ? errno : 0;
	if (!error)
		munmap(again, h->bo.size);
	lab_check(error == ENODEV, "no-new-mapping", "mmap: %s", error ? strerror(error) : "it maps");
}

static bool unbind(const struct options *o, const char *device, const char *check)
{
	bool said = o->defect == BOUND || virtio_gpu_set(VIRTIO_GPU_BUS "unbind", device);
	int error = errno, fd = await_card(o->driver, false);
	char left[32];

	if (fd >= 0)
		close(fd);
	return lab_check(said && fd < 0 && !virtio_gpu_device(left, sizeof(left)), check, "%s",
			 !said ? strerror(error) : fd >= 0 ? "the card is still there" : "the card is gone");
}

/* The card again, opened; -1 if it does not come back. */
static int bind_again(const struct options *o, const char *device, const char *check)
{
	bool said = o->defect == GONE || virtio_gpu_set(VIRTIO_GPU_BUS "bind", device);
	int error = errno, fd = await_card(o->driver, true);

	lab_check(said && fd >= 0, check, "%s", !said ? strerror(error) : fd < 0 ? "no card" : "a card");
	return fd;
}

/* Memory of BOs is shmem's: what is more than at first was not given back, a while after all is closed. */
static void check_leak(uint64_t before)
{
	struct timespec rest = { .tv_nsec = 20 * 1000 * 1000 };
	int64_t more = 0;

	for (int i = 0; i < 100; i++) {
		more = (int64_t)meminfo("Shmem") - (int64_t)before;
		if (more <= SLACK)
			break;
		nanosleep(&rest, NULL);
	}
	lab_check(more <= SLACK, "memory", "%lld KiB of shmem more than before, after %d times", (long long)more >> 10,
		  CYCLES);
	lab_metric("", "leaked", more > 0 ? more : 0, "bytes");
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	uint64_t before = meminfo("Shmem");
	struct held held;
	char device[32], check[32];
	int fd = await_card(o.driver, true);

	if (!lab_check(fd >= 0 && virtio_gpu_device(device, sizeof(device)), "driver", "%s", o.driver))
		return lab_finish();
	lab_start();
	for (int cycle = 1; cycle <= CYCLES; cycle++) {
		snprintf(check, sizeof(check), "works-%d", cycle);
		if (!take(fd, &held, check))
			return lab_finish();
		snprintf(check, sizeof(check), "unbound-%d", cycle);
		if (!unbind(&o, device, check))
			return lab_finish();
		if (o.defect == SCRIBBLED)
			*word(held.base, 7) = 0;
		if (cycle == 1)
			check_mapping(&held);
		if (o.defect != LEAK)
			give_back(&held);
		snprintf(check, sizeof(check), "bound-%d", cycle);
		fd = bind_again(&o, device, check);
		if (fd < 0)
			return lab_finish();
	}
	if (take(fd, &held, "works-again"))
		give_back(&held);
	check_leak(before);
	return lab_finish();
}
