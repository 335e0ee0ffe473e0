// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the page tables of the caller really hold. walk_page_range() is exported by no version, and
 * the PTE helpers that lock (__pte_offset_map_lock(), from 6.5) are not either. So tables are read
 * as fast GUP does: with interrupts off, which keeps tables that others unlink from being freed.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched.h>

#include "lab_gpu_drv.h"

static void lab_gpu_walk_ptes(pmd_t pmd, unsigned long address, unsigned long end,
			      struct lab_gpu_walk *out)
{
	pte_t *table = pte_offset_kernel(&pmd, address); /* no high memory on the lab's guests */

	out->tables++;
	for (; address < end; address += PAGE_SIZE, table++) {
		pte_t pte = ptep_get_lockless(table);

		if (!pte_present(pte)) {
			out->none++;
			continue;
		}
		out->pte++;
		out->pte_special += !!pte_special(pte);
		out->writable += !!pte_write(pte);
	}
}

static void lab_gpu_walk_pmd(pud_t *pudp, pud_t pud, unsigned long address, unsigned long end,
			     struct lab_gpu_walk *out)
{
	pmd_t pmd = READ_ONCE(*pmd_offset_lockless(pudp, pud, address));

	if (!pmd_present(pmd)) {
		out->none += (end - address) >> PAGE_SHIFT;
	} else if (pmd_leaf(pmd)) {
		out->pmd++;
		out->pmd_special += !!pmd_special(pmd);
		out->writable += !!pmd_write(pmd);
	} else {
		lab_gpu_walk_ptes(pmd, address, end, out);
	}
}

/* Count what maps `address`, at most to `end`; returns where the next step begins. */
static unsigned long lab_gpu_walk_step(struct mm_struct *mm, unsigned long address,
				       unsigned long end, struct lab_gpu_walk *out)
{
	pgd_t *pgdp = pgd_offset(mm, address), pgd = READ_ONCE(*pgdp);
	unsigned long next = pgd_addr_end(address, end);
	p4d_t *p4dp, p4d;
	pud_t *pudp, pud;

	if (!pgd_present(pgd))
		goto none;
	p4dp = p4d_offset_lockless(pgdp, pgd, address);
	p4d = READ_ONCE(*p4dp);
	next = p4d_addr_end(address, end);
	if (!p4d_present(p4d))
		goto none;
	pudp = pud_offset_lockless(p4dp, p4d, address);
	pud = READ_ONCE(*pudp);
	next = pud_addr_end(address, end);
	if (!pud_present(pud))
		goto none;
	if (pud_leaf(pud)) {
		out->pud++;
		out->pud_special += !!pud_special(pud);
		out->writable += !!pud_write(pud);
		return next;
	}
	next = pmd_addr_end(address, end);
	lab_gpu_walk_pmd(pudp, pud, address, next, out);
	return next;
none:
	out->none += (next - address) >> PAGE_SHIFT;
	return next;
}

static u32 lab_gpu_walk_vma(struct mm_struct *mm, unsigned long address)
{
	static const struct {
		unsigned long vm;
		u32 flag;
	} flags[] = {
		{ VM_PFNMAP, LAB_GPU_VMA_PFNMAP },   { VM_MIXEDMAP, LAB_GPU_VMA_MIXEDMAP },
		{ VM_IO, LAB_GPU_VMA_IO },	     { VM_SHARED, LAB_GPU_VMA_SHARED },
		{ VM_HUGETLB, LAB_GPU_VMA_HUGETLB },
	};
	struct vm_area_struct *vma = find_vma(mm, address);
	u32 found = LAB_GPU_VMA_PRESENT;

	if (!vma || vma->vm_start > address)
		return 0;
	for (int i = 0; i < ARRAY_SIZE(flags); i++)
		if (vma->vm_flags & flags[i].vm)
			found |= flags[i].flag;
	return found;
}

int lab_gpu_walk_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct lab_gpu_walk *args = data;
	struct lab_gpu_walk out = { .start = args->start, .length = args->length };
	unsigned long address = args->start, end = address + args->length;
	struct mm_struct *mm = current->mm;

	if (args->pad || !args->length || !PAGE_ALIGNED(args->start | args->length) ||
	    end < address || end > TASK_SIZE)
		return -EINVAL;
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	out.vma = lab_gpu_walk_vma(mm, address);
	while (address < end && !fatal_signal_pending(current)) {
		local_irq_disable();
		address = lab_gpu_walk_step(mm, address, end, &out);
		local_irq_enable();
		cond_resched();
	}
	mmap_read_unlock(mm);
	*args = out;
	lab_gpu_count(walks, 1);
	return address < end ? -EINTR : 0;
}
