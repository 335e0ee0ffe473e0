/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Setting modes with raw ioctls (include/uapi/drm/drm_mode.h), without libdrm: outputs, framebuffers of dumb
 * BOs, page flips, hotplug events. An output is a connector; the first has the number 0.
 */
#ifndef FAULTLAB_KMS_H
#define FAULTLAB_KMS_H

#include "bo.h"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

enum { KMS_MAX_OUTPUTS = 16, KMS_MAX_MODES = 128, KMS_EDID_BYTES = 128 };
enum { KMS_CONNECTED = 1 };
enum { KMS_FLIP_EVENT = 1 };         /* DRM_MODE_PAGE_FLIP_EVENT, and the type of the event that it asks for */
enum { KMS_EVENT_FLIP_COMPLETE = 2 };
enum { KMS_MODE_PREFERRED = 1 << 3 };

struct kms_mode {
	uint32_t clock;
	uint16_t width, hsync_start, hsync_end, htotal, hskew;
	uint16_t height, vsync_start, vsync_end, vtotal, vscan;
	uint32_t refresh, flags, type;
	char name[32];
};

struct kms_resources {
	uint64_t fbs, crtcs, connectors, encoders;
	uint32_t fb_count, crtc_count, connector_count, encoder_count;
	uint32_t min_width, max_width, min_height, max_height;
};

struct kms_connector {
	uint64_t encoders, modes, properties, values;
	uint32_t mode_count, property_count, encoder_count;
	uint32_t encoder, id, type, number, connection;
	uint32_t mm_width, mm_height, subpixel, pad;
};

struct kms_crtc {
	uint64_t connectors;
	uint32_t connector_count, id, fb, x, y, gamma_size, mode_valid;
	struct kms_mode mode;
};

struct kms_fb {
	uint32_t id, width, height, pitch, bpp, depth, handle;
};

struct kms_flip {
	uint32_t crtc, fb, flags, reserved;
	uint64_t user_data;
};

struct kms_flip_event {
	uint32_t type, length;
	uint64_t user_data;
	uint32_t seconds, microseconds, sequence, crtc;
};

#define KMS_IOCTL_RESOURCES _IOWR('d', 0xa0, struct kms_resources)
#define KMS_IOCTL_GET_CRTC _IOWR('d', 0xa1, struct kms_crtc)
#define KMS_IOCTL_SET_CRTC _IOWR('d', 0xa2, struct kms_crtc)
#define KMS_IOCTL_CONNECTOR _IOWR('d', 0xa7, struct kms_connector)
#define KMS_IOCTL_ADD_FB _IOWR('d', 0xae, struct kms_fb)
#define KMS_IOCTL_REMOVE_FB _IOWR('d', 0xaf, uint32_t)
#define KMS_IOCTL_FLIP _IOWR('d', 0xb0, struct kms_flip)

/* What is known of an output. Its CRTC is the one of its number: an encoder for each, as virtio-gpu has them. */
struct kms_output {
	uint32_t connector, crtc;
	bool connected;
	uint32_t modes;
	struct kms_mode preferred; /* the first mode that is; the first of all if none is */
};

/* A dumb BO as a framebuffer, mapped. */
struct kms_buffer {
	struct bo bo;
	uint32_t fb, width, height, pitch;
	char *base;
};

/* The outputs' connectors and CRTCs, at most KMS_MAX_OUTPUTS; their number, or -1. */
static inline int kms_outputs(int fd, struct kms_output *outputs)
{
	uint32_t crtcs[KMS_MAX_OUTPUTS], connectors[KMS_MAX_OUTPUTS];
	struct kms_resources all = {
		.crtcs = (uintptr_t)crtcs, .connectors = (uintptr_t)connectors,
		.crtc_count = KMS_MAX_OUTPUTS, .connector_count = KMS_MAX_OUTPUTS,
	};

	if (ioctl(fd, KMS_IOCTL_RESOURCES, &all))
		return -1;
	if (all.crtc_count > KMS_MAX_OUTPUTS || all.connector_count > all.crtc_count) {
		errno = EOVERFLOW;
		return -1;
	}
	for (uint32_t i = 0; i < all.connector_count; i++)
		outputs[i] = (struct kms_output){ .connector = connectors[i], .crtc = crtcs[i] };
	return all.connector_count;
}

/* Ask the driver anew whether a monitor is there, and for its modes; 0 or -errno. */
static inline int kms_probe(int fd, struct kms_output *output)
{
	static struct kms_mode modes[KMS_MAX_MODES];
	struct kms_connector seen = { .id = output->connector };

	/* Without room for modes they are read from the monitor; with room those are told. */
	if (ioctl(fd, KMS_IOCTL_CONNECTOR, &seen))
		return -errno;
	seen = (struct kms_connector){
		.id = output->connector, .modes = (uintptr_t)modes,
		.mode_count = seen.mode_count < KMS_MAX_MODES ? seen.mode_count : KMS_MAX_MODES,
	};
	if (seen.mode_count && ioctl(fd, KMS_IOCTL_CONNECTOR, &seen))
		return -errno;
	if (!seen.mode_count && ioctl(fd, KMS_IOCTL_CONNECTOR, &seen))
		return -errno;
	output->connected = seen.connection == KMS_CONNECTED;
	output->modes = seen.mode_count;
	output->preferred = (struct kms_mode){ 0 };
	for (uint32_t i = 0; i < seen.mode_count && i < KMS_MAX_MODES; i++)
		if (!i || ((modes[i].type & KMS_MODE_PREFERRED) && !(output->preferred.type & KMS_MODE_PREFERRED)))
			output->preferred = modes[i];
	return 0;
}

/* A framebuffer of 32 bits a pixel, mapped anywhere; 0 or -errno. */
static inline int kms_make_buffer(int fd, uint32_t width, uint32_t height, struct kms_buffer *made)
{
	struct drm_mode_create_dumb dumb = { .width = width, .height = height, .bpp = 32 };
	struct drm_mode_map_dumb map = { 0 };
	struct kms_fb fb = { .width = width, .height = height, .bpp = 32, .depth = 24 };

	if (ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &dumb))
		return -errno;
	map.handle = fb.handle = dumb.handle;
	fb.pitch = dumb.pitch;
	if (ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &map) || ioctl(fd, KMS_IOCTL_ADD_FB, &fb))
		return -errno;
	*made = (struct kms_buffer){
		.bo = { .fd = fd, .size = dumb.size, .offset = map.offset, .handle = dumb.handle },
		.fb = fb.id, .width = width, .height = height, .pitch = dumb.pitch,
	};
	made->base = bo_map(&made->bo, NULL);
	return made->base == MAP_FAILED ? -errno : 0;
}

/* Give back mapping, framebuffer and handle. A framebuffer that is shown is taken from its output. */
static inline void kms_free_buffer(const struct kms_buffer *buffer)
{
	uint32_t fb = buffer->fb;

	munmap(buffer->base, buffer->bo.size);
	ioctl(buffer->bo.fd, KMS_IOCTL_REMOVE_FB, &fb);
	bo_free(&buffer->bo);
}

/* The first word of each page, so that each page is there: what a compositor's drawing costs in faults. */
static inline void kms_paint(const struct kms_buffer *buffer, uint32_t colour)
{
	for (size_t at = 0; at < buffer->bo.size; at += LAB_PAGE)
		*(volatile uint32_t *)(buffer->base + at) = colour + at / LAB_PAGE;
}

/* Show the buffer on an output, in a mode of its size; 0 or -errno. */
static inline int kms_show(int fd, const struct kms_output *output, const struct kms_buffer *buffer)
{
	struct kms_crtc set = {
		.connectors = (uintptr_t)&output->connector, .connector_count = 1,
		.id = output->crtc, .fb = buffer->fb, .mode_valid = 1, .mode = output->preferred,
	};

	return ioctl(fd, KMS_IOCTL_SET_CRTC, &set) ? -errno : 0;
}

/* The framebuffer that an output shows, and in which mode; 0: none. */
static inline uint32_t kms_shown(int fd, const struct kms_output *output, struct kms_mode *mode)
{
	struct kms_crtc get = { .id = output->crtc };

	if (ioctl(fd, KMS_IOCTL_GET_CRTC, &get))
		return 0;
	*mode = get.mode;
	return get.mode_valid ? get.fb : 0;
}

/* Flip to the buffer, and ask to be told when that is done: 0 or -errno. */
static inline int kms_flip(int fd, const struct kms_output *output, const struct kms_buffer *buffer)
{
	struct kms_flip flip = {
		.crtc = output->crtc, .fb = buffer->fb, .flags = KMS_FLIP_EVENT, .user_data = buffer->fb,
	};

	return ioctl(fd, KMS_IOCTL_FLIP, &flip) ? -errno : 0;
}

/* Wait until the driver says that the flip is done: 0, -ETIME after 20 seconds, -EPROTO if it is another. */
static inline int kms_await_flip(int fd, const struct kms_buffer *buffer)
{
	struct kms_flip_event event = { 0 };
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	if (poll(&wait, 1, 20 * 1000) != 1 || read(fd, &event, sizeof(event)) != sizeof(event))
		return -ETIME;
	return event.type == KMS_EVENT_FLIP_COMPLETE && event.user_data == buffer->fb ? 0 : -EPROTO;
}

/* ---- monitors --------------------------------------------------------------------------------------- */

/* A socket on which the kernel tells of changes; or -errno. */
static inline int kms_listen(void)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	return fd >= 0 && !bind(fd, (void *)&to, sizeof(to)) ? fd : -errno;
}

/* Wait until a card says HOTPLUG=1, at most that many seconds; false: it did not. */
static inline bool kms_await_hotplug(int events, int seconds)
{
	struct timespec now;
	time_t end;
	char text[4096];

	clock_gettime(CLOCK_MONOTONIC, &now);
	for (end = now.tv_sec + seconds; now.tv_sec < end; clock_gettime(CLOCK_MONOTONIC, &now)) {
		struct pollfd wait = { .fd = events, .events = POLLIN };
		ssize_t got;

		if (poll(&wait, 1, 100) != 1)
			continue;
		got = recv(events, text, sizeof(text) - 1, 0);
		if (got <= 0)
			continue;
		text[got] = '\0';
		for (char *word = text; word < text + got; word += strlen(word) + 1)
			if (!strcmp(word, "HOTPLUG=1"))
				return true;
	}
	return false;
}

/* Ask the host for the next step of the case's `display`: it comes as a hotplug event, and no other way. */
static inline void display_next(void)
{
	static const char ask[] = "# display next\n";

	if (write(STDOUT_FILENO, ask, sizeof(ask) - 1) != sizeof(ask) - 1)
		lab_line("# note: the host was not asked: %s", strerror(errno));
}

#endif
