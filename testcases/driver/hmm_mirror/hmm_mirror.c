// SPDX-License-Identifier: GPL-2.0-only
/*
 * hmm_mirror: the userptr of a driver that mirrors instead of pinning, without the GPU.
 *
 * What stands for the GPU's page table is an array of HMM entries. hmm_range_fault() fills it, an interval
 * notifier takes entries away, and both sides follow Documentation/mm/hmm.rst: the notifier's sequence number
 * is read before the walk and checked under the mirror's lock before its result is taken over.
 *
 * One API from 5.10 to 7.3, so nothing here depends on the version.
 */
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_mirror.h"

#define MOST_BYTES (1ULL << 30)
#define ALL_FLAGS (HMM_MIRROR_WRITE | HMM_MIRROR_PRESENT | HMM_MIRROR_DEAF | HMM_MIRROR_KEEP)
#define RETRIES 100 /* of a walk that the notifier made void; the callers here keep still */

static_assert((int)MMU_NOTIFY_UNMAP == HMM_MIRROR_UNMAP && (int)MMU_NOTIFY_CLEAR == HMM_MIRROR_CLEAR &&
	      (int)MMU_NOTIFY_PROTECTION_VMA == HMM_MIRROR_PROTECTION_VMA &&
	      (int)MMU_NOTIFY_PROTECTION_PAGE == HMM_MIRROR_PROTECTION_PAGE &&
	      (int)MMU_NOTIFY_SOFT_DIRTY == HMM_MIRROR_SOFT_DIRTY &&
	      (int)MMU_NOTIFY_RELEASE == HMM_MIRROR_RELEASE && (int)MMU_NOTIFY_MIGRATE == HMM_MIRROR_MIGRATE,
	      "the events of this kernel are in another order");

struct mirror {
	struct mmu_interval_notifier notifier;
	struct mutex calls; /* one ioctl at a time */
	struct mutex lock;  /* entries and counters, against the notifier */
	struct mm_struct *mm; /* referenced by the notifier while attached */
	unsigned long start, pages;
	unsigned int flags;
	unsigned long *entries; /* HMM_PFN_*; 0: none */
	unsigned long *walked;  /* what hmm_range_fault() found, before it is taken over */
	struct hmm_mirror_counters counters;
};

/*
 * Does mprotect() leave all of the range readable? The new protection is in the VMAs already when the notifier
 * is called, and they cannot change meanwhile: who sends this event holds the mmap lock. (5.10 and 6.1 export
 * mmu_notifier_range_update_to_read_only() for this; 6.12 and 7.3 do not pass the VMA on.)
 */
static bool stays_readable(const struct mmu_notifier_range *range)
{
	unsigned long at = range->start;

	while (at < range->end) {
		struct vm_area_struct *vma = find_vma(range->mm, at);

		if (!vma || vma->vm_start >= range->end)
			return true; /* nothing is mapped there */
		if (!(vma->vm_flags & VM_READ))
			return false;
		at = vma->vm_end;
	}
	return true;
}

static bool keeps(const struct mirror *mirror, const struct mmu_notifier_range *range)
{
	if (mirror->flags & HMM_MIRROR_DEAF)
		return true;
	return mirror->flags & HMM_MIRROR_KEEP && range->event == MMU_NOTIFY_PROTECTION_VMA &&
	       stays_readable(range);
}

static bool mirror_invalidate(struct mmu_interval_notifier *notifier, const struct mmu_notifier_range *range,
			      unsigned long sequence)
{
	struct mirror *mirror = container_of(notifier, struct mirror, notifier);
	unsigned long first = max(range->start, mirror->start);
	unsigned long end = min(range->end, mirror->start + mirror->pages * PAGE_SIZE);
	unsigned long page;
	bool keep;

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&mirror->lock);
	else if (!mutex_trylock(&mirror->lock))
		return false;
	mmu_interval_set_seq(notifier, sequence);
	mirror->counters.callbacks++;
	if ((unsigned int)range->event < HMM_MIRROR_EVENTS)
		mirror->counters.events[range->event]++;
	keep = keeps(mirror, range);
	for (page = (first - mirror->start) / PAGE_SIZE; page < (end - mirror->start) / PAGE_SIZE; page++) {
		if (!mirror->entries[page] || keep)
			continue;
		mirror->counters.invalidated++;
		mirror->entries[page] = 0;
		mirror->counters.present--;
	}
	mutex_unlock(&mirror->lock);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_ops = { .invalidate = mirror_invalidate };

/* Fill `walked` and return with the lock held, at a moment when it is true; or an error, without the lock. */
static int walk_and_lock(struct mirror *mirror, unsigned long need)
{
	struct hmm_range range = {
		.notifier = &mirror->notifier,
		.start = mirror->start,
		.end = mirror->start + mirror->pages * PAGE_SIZE,
		.hmm_pfns = mirror->walked,
		.default_flags = need,
	};
	int tries, error = -EBUSY;

	if (!mmget_not_zero(mirror->mm))
		return -EFAULT;
	for (tries = 0; tries < RETRIES && error == -EBUSY; tries++) {
		range.notifier_seq = mmu_interval_read_begin(&mirror->notifier);
		memset(mirror->walked, 0, mirror->pages * sizeof(*mirror->walked));
		mmap_read_lock(mirror->mm);
		error = hmm_range_fault(&range);
		mmap_read_unlock(mirror->mm);
		if (error)
			continue;
		mutex_lock(&mirror->lock);
		if (!mmu_interval_read_retry(&mirror->notifier, range.notifier_seq))
			break;
		mutex_unlock(&mirror->lock);
		error = -EBUSY;
	}
	mmput(mirror->mm);
	return error;
}

static unsigned long needed(const struct mirror *mirror)
{
	if (mirror->flags & HMM_MIRROR_PRESENT)
		return 0;
	return HMM_PFN_REQ_FAULT | (mirror->flags & HMM_MIRROR_WRITE ? HMM_PFN_REQ_WRITE : 0);
}

static long fault(struct mirror *mirror)
{
	unsigned long page, made = 0;
	int error = walk_and_lock(mirror, needed(mirror));

	if (error)
		return error;
	for (page = 0; page < mirror->pages; page++) {
		/* An entry that is there stays: whether it is still right is for COMPARE to say. */
		if (mirror->entries[page] || !(mirror->walked[page] & HMM_PFN_VALID))
			continue;
		mirror->entries[page] = mirror->walked[page];
		made++;
	}
	mirror->counters.faulted += made;
	mirror->counters.present += made;
	mutex_unlock(&mirror->lock);
	return made;
}

/* Would the mirror be wrong to go on with `entry`, now that the page tables say `now`? */
static bool is_stale(const struct mirror *mirror, unsigned long entry, unsigned long now)
{
	if (!(now & HMM_PFN_VALID) || hmm_pfn_to_page(now) != hmm_pfn_to_page(entry))
		return true;
	return mirror->flags & HMM_MIRROR_WRITE && !(now & HMM_PFN_WRITE);
}

static long compare(struct mirror *mirror, struct hmm_mirror_compare __user *user)
{
	struct hmm_mirror_compare found = { 0 };
	unsigned long page;
	int error = walk_and_lock(mirror, 0);

	if (error)
		return error;
	for (page = 0; page < mirror->pages; page++) {
		if (!mirror->entries[page])
			continue;
		if (is_stale(mirror, mirror->entries[page], mirror->walked[page]))
			found.stale++;
		else
			found.same++;
	}
	mutex_unlock(&mirror->lock);
	return copy_to_user(user, &found, sizeof(found)) ? -EFAULT : 0;
}

static void detach(struct mirror *mirror)
{
	if (mirror->mm)
		mmu_interval_notifier_remove(&mirror->notifier);
	mirror->mm = NULL;
	kvfree(mirror->entries);
	kvfree(mirror->walked);
	mirror->entries = mirror->walked = NULL;
}

static long attach(struct mirror *mirror, const struct hmm_mirror_attach __user *user)
{
	struct hmm_mirror_attach asked;
	int error;

	if (copy_from_user(&asked, user, sizeof(asked)))
		return -EFAULT;
	if (mirror->mm)
		return -EBUSY;
	if (!asked.length || asked.length > MOST_BYTES || (asked.start | asked.length) & ~PAGE_MASK ||
	    asked.flags & ~ALL_FLAGS || asked.pad)
		return -EINVAL;
	if (asked.flags & HMM_MIRROR_KEEP && asked.flags & HMM_MIRROR_WRITE)
		return -EINVAL;
	mirror->start = asked.start;
	mirror->pages = asked.length / PAGE_SIZE;
	mirror->flags = asked.flags;
	mirror->entries = kvcalloc(mirror->pages, sizeof(*mirror->entries), GFP_KERNEL);
	mirror->walked = kvcalloc(mirror->pages, sizeof(*mirror->walked), GFP_KERNEL);
	error = mirror->entries && mirror->walked ? 0 : -ENOMEM;
	if (!error)
		error = mmu_interval_notifier_insert(&mirror->notifier, current->mm, asked.start, asked.length,
						     &notifier_ops);
	if (!error)
		mirror->mm = current->mm;
	else
		detach(mirror);
	return error;
}

static long mirror_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct mirror *mirror = file->private_data;
	void __user *user = (void __user *)argument;
	long result = -ENOTTY;

	mutex_lock(&mirror->calls);
	if (command == HMM_MIRROR_IOC_ATTACH) {
		result = attach(mirror, user);
	} else if (!mirror->mm) {
		result = -ENXIO;
	} else if (command == HMM_MIRROR_IOC_FAULT) {
		result = fault(mirror);
	} else if (command == HMM_MIRROR_IOC_COMPARE) {
		result = compare(mirror, user);
	} else if (command == HMM_MIRROR_IOC_COUNTERS) {
		struct hmm_mirror_counters counters;

		/* Copied outside the lock: a fault of ours could wait for a notifier that waits for it. */
		mutex_lock(&mirror->lock);
		counters = mirror->counters;
		mutex_unlock(&mirror->lock);
		result = copy_to_user(user, &counters, sizeof(counters)) ? -EFAULT : 0;
	}
	mutex_unlock(&mirror->calls);
	return result;
}

static int mirror_open(struct inode *inode, struct file *file)
{
	struct mirror *mirror = kzalloc(sizeof(*mirror), GFP_KERNEL);

	if (!mirror)
		return -ENOMEM;
	mutex_init(&mirror->calls);
	mutex_init(&mirror->lock);
	file->private_data = mirror;
	return 0;
}

static int mirror_release(struct inode *inode, struct file *file)
{
	struct mirror *mirror = file->private_data;

	detach(mirror);
	kfree(mirror);
	return 0;
}

static const struct file_operations mirror_fops = {
	.owner = THIS_MODULE,
	.open = mirror_open,
	.release = mirror_release,
	.unlocked_ioctl = mirror_ioctl,
};

static struct miscdevice mirror_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_mirror",
	.fops = &mirror_fops,
	.mode = 0600,
};
module_misc_device(mirror_device);

MODULE_DESCRIPTION("A mirror of user memory that counts what happens to it");
MODULE_LICENSE("GPL");
