/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What virtio-gpu says to its device: the features that both agreed on, and each command, from the driver's
 * tracepoints. So a workload knows what was done, and need not believe that it was.
 */
#ifndef FAULTLAB_VIRTIO_GPU_H
#define FAULTLAB_VIRTIO_GPU_H

#include "faultlab.h"

#include <fcntl.h>
#include <glob.h>

#define VIRTIO_GPU_TRACE "/sys/kernel/tracing/"
#define VIRTIO_GPU_BUS "/sys/bus/virtio/drivers/virtio_gpu/"

/* include/uapi/linux/virtio_gpu.h */
enum { VIRTIO_GPU_F_EDID = 1, VIRTIO_GPU_F_RESOURCE_BLOB = 3 };
enum {
	VIRTIO_GPU_CMD_RESOURCE_CREATE_2D = 0x101,
	VIRTIO_GPU_CMD_SET_SCANOUT = 0x103,
	VIRTIO_GPU_CMD_RESOURCE_FLUSH = 0x104,
	VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D = 0x105,
	VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB = 0x10c,
	VIRTIO_GPU_CMD_SET_SCANOUT_BLOB = 0x10d,
	VIRTIO_GPU_RESP_ERR = 0x1200, /* and above: the device refused a command */
};

struct virtio_gpu_commands {
	uint64_t create_2d, create_blob, scanout, scanout_blob, flush, transfer, refused;
};

/* The name of the device on the virtio bus, such as virtio0; false if virtio-gpu drives none. */
static inline bool virtio_gpu_device(char *name, size_t room)
{
	glob_t found;
	bool yes = !glob(VIRTIO_GPU_BUS "virtio*", 0, NULL, &found) && found.gl_pathc;

	if (yes)
		snprintf(name, room, "%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	return yes;
}

/* Have driver and device agreed on a feature? */
static inline bool virtio_gpu_feature(unsigned int bit)
{
	char name[32], path[128], bits[80] = "";
	FILE *file;

	if (!virtio_gpu_device(name, sizeof(name)))
		return false;
	snprintf(path, sizeof(path), "/sys/bus/virtio/devices/%s/features", name);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(bits, sizeof(bits), file))
		bits[0] = '\0';
	fclose(file);
	return strlen(bits) > bit && bits[bit] == '1';
}

static inline bool virtio_gpu_set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* From here on commands are recorded; false if the kernel has no tracepoints of the driver. */
static inline bool virtio_gpu_record(void)
{
	return virtio_gpu_set(VIRTIO_GPU_TRACE "trace", "\n") &&
	       virtio_gpu_set(VIRTIO_GPU_TRACE "events/virtio_gpu/enable", "1") &&
	       virtio_gpu_set(VIRTIO_GPU_TRACE "tracing_on", "1");
}

/* The commands since virtio_gpu_record(), which ends with this. */
static inline struct virtio_gpu_commands virtio_gpu_recorded(void)
{
	struct virtio_gpu_commands seen = { 0 };
	char line[512];
	FILE *file;

	virtio_gpu_set(VIRTIO_GPU_TRACE "events/virtio_gpu/enable", "0");
	file = fopen(VIRTIO_GPU_TRACE "trace", "re");
	while (file && fgets(line, sizeof(line), file)) {
		bool command = strstr(line, "virtio_gpu_cmd_queue:");
		const char *at = strstr(line, "type=");
		unsigned long type = at ? strtoul(at + strlen("type="), NULL, 0) : 0;

		if (!command) {
			seen.refused += strstr(line, "virtio_gpu_cmd_response:") && type >= VIRTIO_GPU_RESP_ERR;
			continue;
		}
		seen.create_2d += type == VIRTIO_GPU_CMD_RESOURCE_CREATE_2D;
		seen.create_blob += type == VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB;
		seen.scanout += type == VIRTIO_GPU_CMD_SET_SCANOUT;
		seen.scanout_blob += type == VIRTIO_GPU_CMD_SET_SCANOUT_BLOB;
		seen.flush += type == VIRTIO_GPU_CMD_RESOURCE_FLUSH;
		seen.transfer += type == VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D;
	}
	if (file)
		fclose(file);
	return seen;
}

#endif
