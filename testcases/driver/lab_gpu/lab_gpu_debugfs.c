// SPDX-License-Identifier: GPL-2.0-only
/* /sys/kernel/debug/lab_gpu/counters: a line `name value` each, since the module was loaded. */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "lab_gpu_drv.h"

atomic64_t lab_gpu_counters[LAB_GPU_N];

#define COUNTER_NAME(name) #name,
static const char *const names[LAB_GPU_N] = { LAB_GPU_COUNTERS(COUNTER_NAME) };

static struct dentry *folder;

static int lab_gpu_counters_show(struct seq_file *m, void *unused)
{
	for (int i = 0; i < LAB_GPU_N; i++)
		seq_printf(m, "%s %lld\n", names[i], atomic64_read(&lab_gpu_counters[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(lab_gpu_counters);

void lab_gpu_debugfs_init(void)
{
	folder = debugfs_create_dir("lab_gpu", NULL);
	debugfs_create_file("counters", 0444, folder, NULL, &lab_gpu_counters_fops);
}

void lab_gpu_debugfs_exit(void)
{
	debugfs_remove_recursive(folder);
}
