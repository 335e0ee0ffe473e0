// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bo_backup: do BOs come back from backup as they went?
 *
 * One scene each run, see --help. Every scene proves that pages were where it says they were: by what the
 * driver finds in its page vector (DRM_IOCTL_LAB_GPU_INFO), and by the kernel's own count of pages written to
 * and read from swap.
 */
#include "faultlab.h"

#include "content.h"
#include "memory.h"
#include "options.h"
#include "scenes.h"

#include <getopt.h>

struct options {
	const char *device;
	uint64_t swap;
	int scene;
};

static const struct {
	const char *name;
	void (*play)(int fd);
	bool swap; /* used from the beginning */
} scenes[] = {
	{ "contents", scene_contents, true },	{ "swapout", scene_swapout, true },
	{ "partial", scene_partial, true },	{ "interrupted", scene_interrupted, true },
	{ "killed", scene_killed, true },	{ "cut-short", scene_cut_short, true },
	{ "no-swap", scene_no_swap, false },	{ "injected", scene_injected, true },
	{ "many", scene_many, true },
};

enum { SCENES = sizeof(scenes) / sizeof(*scenes) };

static const char help[] =
	"bo_backup --scene SCENE [--swap DEVICE] [--swap-size SIZE]\n"
	"  --scene SCENE      contents      each caching, order and home; written to swap and read back\n"
	"                     swapout       the same for TTM's own swap, which kernels before 6.15 have too\n"
	"                     partial       memory runs out in the middle of a backup; needs a small swap\n"
	"                     interrupted   a storm of signals while BOs are restored\n"
	"                     killed        SIGKILL for who restores a BO\n"
	"                     cut-short     memory runs out while a BO is restored\n"
	"                     no-swap       no swap, swap that is full, swap that is taken away\n"
	"                     injected      the kernel's fault injection: partial backups, interrupted restores\n"
	"                     many          four processes with more BOs than there is memory\n"
	"  --swap DEVICE      /dev/zram0 (default) or a disk; its contents are lost\n"
	"  --swap-size SIZE   of zram (192M)\n";

static int scene_of(const char *name)
{
	for (int i = 0; i < SCENES; i++)
		if (!strcmp(name, scenes[i].name))
			return i;
	lab_usage("--scene %s: there is none; bo_backup --help lists them", name);
}

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "scene", required_argument, NULL, 's' },
		{ "swap", required_argument, NULL, 'd' },
		{ "swap-size", required_argument, NULL, 'z' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct options o = { .device = "/dev/zram0", .swap = 192 << 20, .scene = -1 };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 's': o.scene = scene_of(optarg); break;
		case 'd': o.device = optarg; break;
		case 'z': o.swap = lab_size("--swap-size", optarg); break;
		case 'h': fputs(help, stdout); exit(LAB_PASS);
		default: lab_usage("bo_backup --help lists the options");
		}
	}
	if (optind < argc || o.scene < 0)
		lab_usage("--scene SCENE is needed; bo_backup --help lists them");
	return o;
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	int fd;

	lab_start();
	fd = gpu_open();
	if (scenes[o.scene].swap && !check_swap_on(o.device, o.swap))
		return lab_finish();
	scenes[o.scene].play(fd);
	check_freed();
	return lab_finish();
}
