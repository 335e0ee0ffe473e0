// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blob: resources of virtio-gpu whose pages the host's QEMU sees where they are (blob=true, udmabuf), made,
 * mapped, touched and shown. That they are such is read from the driver's commands, not inferred.
 */
#include "kms.h"
#include "options.h"
#include "touch.h"
#include "virtio_gpu.h"

#include <getopt.h>

/* include/uapi/drm/virtgpu_drm.h */
enum { VIRTGPU_PARAM_RESOURCE_BLOB = 3, VIRTGPU_BLOB_MEM_GUEST = 1 };
enum { VIRTGPU_BLOB_MAPPABLE = 1, VIRTGPU_BLOB_SHAREABLE = 2 };

struct virtgpu_getparam {
	uint64_t param, value;
};

struct virtgpu_map {
	uint64_t offset; /* returned */
	uint32_t handle, pad;
};

struct virtgpu_create_blob {
	uint32_t memory, flags;
	uint32_t handle, resource; /* returned */
	uint64_t size;
	uint32_t pad, command_size;
	uint64_t command, blob;
};

#define VIRTGPU_IOCTL_MAP _IOWR('d', 0x41, struct virtgpu_map)
#define VIRTGPU_IOCTL_GETPARAM _IOWR('d', 0x43, struct virtgpu_getparam)
#define VIRTGPU_IOCTL_CREATE_BLOB _IOWR('d', 0x4a, struct virtgpu_create_blob)

enum defect { NONE, HOST_MEMORY, UNTOUCHED, DARK };

static const char *const defects[] = { "none", "host-memory", "untouched", "dark", NULL };

static const char help[] =
	"blob [option...]    make, touch and show a blob resource of the guest's memory\n"
	"  --driver NAME     of the card (virtio_gpu)\n"
	"  --defect DEFECT   break something to see its check fail: host-memory (a blob of memory that the device does\n"
	"                    not have), untouched (the last page is left out), dark (it is not shown)\n";

static enum defect parse(int argc, char **argv, const char **driver)
{
	static const struct option table[] = {
		{ "driver", required_argument, NULL, 'd' }, { "defect", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, '?' + 1 },     { 0 },
	};
	enum defect defect = NONE;
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'd': *driver = optarg; break;
		case 'x': defect = lab_choice("--defect", optarg, defects); break;
		case '?': lab_usage("blob --help lists the options");
		default: fputs(help, stdout); exit(LAB_PASS);
		}
	}
	return defect;
}

/* Driver and device have agreed on blobs, and the driver tells it to programs. */
static bool have_blobs(int fd)
{
	uint32_t value = 0;
	struct virtgpu_getparam get = { VIRTGPU_PARAM_RESOURCE_BLOB, (uintptr_t)&value };
	bool agreed = virtio_gpu_feature(VIRTIO_GPU_F_RESOURCE_BLOB);
	int ret = ioctl(fd, VIRTGPU_IOCTL_GETPARAM, &get);

	lab_check(agreed, "feature", "VIRTIO_GPU_F_RESOURCE_BLOB %s", agreed ? "agreed on" : "not offered");
	lab_check(!ret && value, "parameter", "VIRTGPU_PARAM_RESOURCE_BLOB: %u", value);
	return agreed && value;
}

/* A blob as large as the output, as a framebuffer; mapped. */
static int make_blob(int fd, const struct kms_output *output, enum defect defect, struct kms_buffer *made)
{
	struct kms_fb fb = {
		.width = output->preferred.width, .height = output->preferred.height, .bpp = 32, .depth = 24,
		.pitch = 4 * output->preferred.width,
	};
	struct virtgpu_create_blob create = {
		.memory = VIRTGPU_BLOB_MEM_GUEST + (defect == HOST_MEMORY),
		.flags = VIRTGPU_BLOB_MAPPABLE | VIRTGPU_BLOB_SHAREABLE,
		.size = ((uint64_t)fb.pitch * fb.height + LAB_PAGE - 1) / LAB_PAGE * LAB_PAGE,
	};
	struct virtgpu_map map = { 0 };

	if (ioctl(fd, VIRTGPU_IOCTL_CREATE_BLOB, &create))
		return -errno;
	map.handle = fb.handle = create.handle;
	if (ioctl(fd, VIRTGPU_IOCTL_MAP, &map) || ioctl(fd, KMS_IOCTL_ADD_FB, &fb))
		return -errno;
	*made = (struct kms_buffer){
		.bo = { .fd = fd, .size = create.size, .offset = map.offset, .handle = create.handle },
		.fb = fb.id, .width = fb.width, .height = fb.height, .pitch = fb.pitch,
	};
	made->base = bo_map(&made->bo, NULL);
	return made->base == MAP_FAILED ? -errno : 0;
}

/* Touch each page through one mapping, and read it through another. */
static void touch(const struct kms_buffer *blob, enum defect defect)
{
	uint64_t pages = blob->bo.size / LAB_PAGE, right = 0, faults;
	uint64_t *latency = lab_array(pages, sizeof(*latency)), before, now;
	volatile uint64_t *view;

	lab_quiet();
	faults = lab_faults();
	before = lab_now();
	for (uint64_t page = 0; page < pages - (defect == UNTOUCHED); page++) {
		*word(blob->base, page) = token(page, 1);
		now = lab_now();
		latency[page] = now - before;
		before = now;
	}
	faults = lab_faults() - faults;
	view = (volatile uint64_t *)bo_map(&blob->bo, NULL);
	for (uint64_t page = 0; (char *)view != MAP_FAILED && page < pages; page++)
		right += view[page * LAB_PAGE / sizeof(*view)] == token(page, 1);
	lab_check(right == pages, "content", "%llu of %llu pages as written", (unsigned long long)right,
		  (unsigned long long)pages);
	lab_check(faults >= pages && faults % pages == 0, "faults", "%llu for %llu pages", (unsigned long long)faults,
		  (unsigned long long)pages);
	lab_metric("", "pages", pages, "count");
	lab_metric("", "faults", faults, "count");
	lab_distribution("touch_", latency, pages);
}

/* Shown where it lies: a scanout of a blob, and no transfer of pixels. */
static void show(int fd, const struct kms_output *output, const struct kms_buffer *blob, enum defect defect)
{
	struct virtio_gpu_commands sent;
	struct kms_mode mode = { 0 };
	uint32_t shown;
	int ret;

	virtio_gpu_record();
	ret = defect == DARK ? 0 : kms_show(fd, output, blob);
	sent = virtio_gpu_recorded();
	shown = kms_shown(fd, output, &mode);
	lab_check(!ret && shown == blob->fb && sent.scanout_blob && !sent.transfer && !sent.refused, "shown",
		  "%s, %llu scanouts of a blob, %llu transfers, %llu refused", ret ? strerror(-ret) :
		  shown == blob->fb ? "the blob" : "another buffer", (unsigned long long)sent.scanout_blob,
		  (unsigned long long)sent.transfer, (unsigned long long)sent.refused);
	lab_metric("", "transfers", sent.transfer, "count");
}

/* Dumb buffers are blobs as well, where there are any: programs need not know. */
static void check_dumb(int fd, const struct kms_output *output)
{
	struct virtio_gpu_commands sent;
	struct kms_buffer dumb;
	int ret;

	virtio_gpu_record();
	ret = kms_make_buffer(fd, output->preferred.width, output->preferred.height, &dumb);
	sent = virtio_gpu_recorded();
	lab_check(!ret && sent.create_blob == 1 && !sent.create_2d && !sent.refused, "dumb",
		  "%s: %llu blobs, %llu 2D resources", ret ? strerror(-ret) : "a dumb buffer",
		  (unsigned long long)sent.create_blob, (unsigned long long)sent.create_2d);
}

int main(int argc, char **argv)
{
	const char *driver = "virtio_gpu";
	enum defect defect = parse(argc, argv, &driver);
	struct kms_output outputs[KMS_MAX_OUTPUTS];
	struct virtio_gpu_commands sent;
	struct kms_buffer blob;
	char card[160];
	int fd = bo_open_driver(driver, card, sizeof(card)), ret;

	if (!lab_check(fd >= 0, "driver", "%s", card) || !have_blobs(fd))
		return lab_finish();
	ret = kms_outputs(fd, outputs) > 0 ? kms_probe(fd, &outputs[0]) : -ENODEV;
	if (!lab_check(!ret, "output", "%u x %u", outputs[0].preferred.width, outputs[0].preferred.height))
		return lab_finish();
	lab_start();
	if (!virtio_gpu_record())
		lab_line("# note: this kernel has no tracepoints of virtio-gpu");
	ret = make_blob(fd, &outputs[0], defect, &blob);
	sent = virtio_gpu_recorded();
	if (!lab_check(!ret && sent.create_blob == 1 && !sent.refused, "created", "%s, %llu commands, %llu refused",
		       ret ? strerror(-ret) : "a blob of guest memory", (unsigned long long)sent.create_blob,
		       (unsigned long long)sent.refused))
		return lab_finish();
	touch(&blob, defect);
	show(fd, &outputs[0], &blob, defect);
	check_dumb(fd, &outputs[0]);
	return lab_finish();
}
