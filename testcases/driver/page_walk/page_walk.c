// SPDX-License-Identifier: GPL-2.0-only
/*
 * Count the entries in the page tables of the calling process: /dev/page_walk, see page_walk.h.
 *
 * /proc/PID/smaps and pagemap say nothing of VM_PFNMAP mappings, and walk_page_range() is for no module,
 * so the levels are walked by hand. The mmap lock is held, so no table of the caller goes away.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "page_walk.h"

static void page_walk_mapped(struct page_walk *walk, u64 pfn, bool writable)
{
	walk->writable += writable;
	if (walk->pfn != ~0ULL)
		return;
	walk->pfn = pfn;
	walk->references = pfn_valid(pfn) ? page_ref_count(pfn_to_page(pfn)) : 0;
}

static void page_walk_ptes(struct page_walk *walk, pmd_t *table, unsigned long at, unsigned long end)
{
	/* The table is only of use while its PMD says so; on x86-64 it is always mapped. */
	pte_t *entry = pte_offset_kernel(table, at);

	walk->tables++;
	if (walk->table == ~0ULL)
		walk->table = pmd_pfn(*table);
	for (; at < end; at += PAGE_SIZE, entry++) {
		pte_t pte = READ_ONCE(*entry);

		if (!pte_present(pte)) {
			walk->none++;
			continue;
		}
		walk->pte++;
		walk->special_pte += !!pte_special(pte);
		page_walk_mapped(walk, pte_pfn(pte), pte_write(pte));
	}
}

static void page_walk_pmds(struct page_walk *walk, pud_t *table, unsigned long at, unsigned long end)
{
	pmd_t *entry = pmd_offset(table, at);
	unsigned long next;

	for (; at < end; at = next, entry++) {
		pmd_t pmd = READ_ONCE(*entry);

		next = pmd_addr_end(at, end);
		if (!pmd_present(pmd)) {
			walk->none += (next - at) >> PAGE_SHIFT;
		} else if (pmd_leaf(pmd)) {
			walk->pmd++;
#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
			walk->special_pmd += !!pmd_special(pmd);
#endif
			page_walk_mapped(walk, pmd_pfn(pmd) + ((at & ~PMD_MASK) >> PAGE_SHIFT), pmd_write(pmd));
		} else {
			page_walk_ptes(walk, &pmd, at, next);
		}
	}
}

static void page_walk_puds(struct page_walk *walk, p4d_t *table, unsigned long at, unsigned long end)
{
	pud_t *entry = pud_offset(table, at);
	unsigned long next;

	for (; at < end; at = next, entry++) {
		pud_t pud = READ_ONCE(*entry);

		next = pud_addr_end(at, end);
		if (!pud_present(pud)) {
			walk->none += (next - at) >> PAGE_SHIFT;
		} else if (pud_leaf(pud)) {
			walk->pud++;
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
			walk->special_pud += !!pud_special(pud);
#endif
			page_walk_mapped(walk, pud_pfn(pud) + ((at & ~PUD_MASK) >> PAGE_SHIFT), pud_write(pud));
		} else {
			page_walk_pmds(walk, &pud, at, next);
		}
	}
}

static void page_walk_p4ds(struct page_walk *walk, pgd_t *table, unsigned long at, unsigned long end)
{
	p4d_t *entry = p4d_offset(table, at);
	unsigned long next;

	for (; at < end; at = next, entry++) {
		next = p4d_addr_end(at, end);
		if (p4d_none(*entry))
			walk->none += (next - at) >> PAGE_SHIFT;
		else
			page_walk_puds(walk, entry, at, next);
	}
}

static void page_walk_range(struct page_walk *walk, struct mm_struct *mm)
{
	unsigned long at = walk->start, end = at + walk->length, next;
	pgd_t *entry = pgd_offset(mm, at);

	for (; at < end; at = next, entry++) {
		next = pgd_addr_end(at, end);
		if (pgd_none(*entry))
			walk->none += (next - at) >> PAGE_SHIFT;
		else
			page_walk_p4ds(walk, entry, at, next);
	}
}

static long page_walk_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	void __user *user = (void __user *)argument;
	struct page_walk asked, walk = { .pfn = ~0ULL, .table = ~0ULL };

	if (command != PAGE_WALK)
		return -ENOTTY;
	if (copy_from_user(&asked, user, sizeof(asked)))
		return -EFAULT;
	walk.start = asked.start;
	walk.length = asked.length;
	if (!walk.length || (walk.start | walk.length) & ~PAGE_MASK || walk.start >= TASK_SIZE ||
	    walk.length > TASK_SIZE - walk.start)
		return -EINVAL;
	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	page_walk_range(&walk, current->mm);
	mmap_read_unlock(current->mm);
	return copy_to_user(user, &walk, sizeof(walk)) ? -EFAULT : 0;
}

static const struct file_operations page_walk_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = page_walk_ioctl,
};

static struct miscdevice page_walk_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "page_walk",
	.fops = &page_walk_fops,
};

module_misc_device(page_walk_device);
MODULE_DESCRIPTION("Entries in the page tables of the calling process");
MODULE_LICENSE("GPL");
