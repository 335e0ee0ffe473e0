// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parameters of the module, all of which can be changed at any time: prefault=N, huge=0|1|2, and
 * defect=NAME, which breaks something so that a test can show that it would notice.
 */
#include <linux/module.h>
#include <linux/string.h>

#include "lab_gpu_drv.h"

static unsigned int prefault;
module_param(prefault, uint, 0644);
MODULE_PARM_DESC(prefault, "Pages that a fault maps, by an own handler. 0 (default): TTM's own");

unsigned int lab_gpu_prefault(void)
{
	return READ_ONCE(prefault);
}

/* ---- huge ---------------------------------------------------------------------------------- */

static int huge;

enum lab_gpu_huge lab_gpu_huge(void)
{
	return READ_ONCE(huge);
}

static int huge_set(const char *text, const struct kernel_param *kp)
{
	int wanted, ret = kstrtoint(text, 0, &wanted);

	if (ret)
		return ret;
	if (wanted < LAB_GPU_HUGE_OFF || wanted > LAB_GPU_HUGE_UNSAFE)
		return -EINVAL;
	/*
	 * Before 6.12 nothing marks a huge entry as special; since then there is no call for one
	 * that is not.
	 */
	if (wanted == (LAB_GPU_HAS_SPECIAL_PMD ? LAB_GPU_HUGE_UNSAFE : LAB_GPU_HUGE_SPECIAL)) {
		pr_notice("lab_gpu: huge=%d is not for this kernel, huge=%d is\n", wanted,
			  3 - wanted);
		return -EOPNOTSUPP;
	}
	WRITE_ONCE(huge, wanted);
	return 0;
}

static const struct kernel_param_ops huge_ops = { .set = huge_set, .get = param_get_int };
module_param_cb(huge, &huge_ops, &huge, 0644);
__MODULE_PARM_TYPE(huge, "int"); /* module_param_cb() leaves it to us to tell modinfo */
MODULE_PARM_DESC(huge, "Map 2 MiB at once: 1: by special PMDs (6.12), 2: by unsafe ones");

/* ---- defects ------------------------------------------------------------------------------- */

static const char *const defect_names[] = {
	[LAB_GPU_DEFECT_NONE] = "none",
	[LAB_GPU_DEFECT_LEAK] = "leak",				/* pages are not freed */
	[LAB_GPU_DEFECT_CORRUPT_RESTORE] = "corrupt-restore",	/* one page comes back as zeroes */
	[LAB_GPU_DEFECT_NO_ZAP_ON_EVICT] = "no-zap-on-evict",	/* of a BO in system memory */
	[LAB_GPU_DEFECT_PREFAULT_IGNORED] = "prefault-ignored",	/* the own handler maps one page */
	[LAB_GPU_DEFECT_ORDER_IGNORED] = "order-ignored",	/* blocks as large as TTM likes */
	[LAB_GPU_DEFECT_FENCE_EARLY] = "fence-early",		/* they come signalled */
};

static int defect;

bool lab_gpu_has_defect(enum lab_gpu_defect which)
{
	return READ_ONCE(defect) == which;
}

static int defect_set(const char *text, const struct kernel_param *kp)
{
	int which = sysfs_match_string(defect_names, text);

	if (which < 0)
		return which;
	WRITE_ONCE(defect, which);
	return 0;
}

static int defect_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", defect_names[READ_ONCE(defect)]);
}

static const struct kernel_param_ops defect_ops = { .set = defect_set, .get = defect_get };
module_param_cb(defect, &defect_ops, NULL, 0644);
__MODULE_PARM_TYPE(defect, "charp");
MODULE_PARM_DESC(defect, "Break something, to test tests: leak, corrupt-restore, no-zap-on-evict, "
		 "prefault-ignored, order-ignored, fence-early");
