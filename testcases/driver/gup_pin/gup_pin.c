// SPDX-License-Identifier: GPL-2.0-only
/* gup_pin: the userptr of a driver that holds its pages through GUP. include/gup_pin.h says what it is for. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "gup_pin.h"

#define MOST_PAGES (1U << 18)

struct holder {
	struct mutex lock;
	struct page **pages;
	unsigned int held, flags;
};

static void let_go(struct holder *holder)
{
	unsigned int i;

	if (!(holder->flags & GUP_PIN_GET))
		unpin_user_pages(holder->pages, holder->held);
	for (i = 0; holder->flags & GUP_PIN_GET && i < holder->held; i++)
		put_page(holder->pages[i]);
	kvfree(holder->pages);
	holder->pages = NULL;
	holder->held = 0;
}

static int take_one(struct holder *holder, unsigned long address)
{
	unsigned int flags = holder->flags & GUP_PIN_WRITE ? FOLL_WRITE : 0;
	struct page **page = &holder->pages[holder->held];
	int got;

	if (holder->flags & GUP_PIN_GET)
		got = get_user_pages_fast(address, 1, flags, page);
	else
		got = pin_user_pages_fast(address, 1, flags, page);
	if (got != 1)
		return got < 0 ? got : -EFAULT;
	holder->held++;
	return 0;
}

static int hold(struct holder *holder, const struct gup_pin_hold __user *user)
{
	struct gup_pin_hold asked;
	int error = 0;

	if (copy_from_user(&asked, user, sizeof(asked)))
		return -EFAULT;
	if (holder->pages)
		return -EBUSY;
	if (!asked.pages || asked.pages > MOST_PAGES || !asked.stride ||
	    (asked.start | asked.stride) & ~PAGE_MASK || asked.flags & ~(GUP_PIN_GET | GUP_PIN_WRITE))
		return -EINVAL;
	holder->pages = kvcalloc(asked.pages, sizeof(*holder->pages), GFP_KERNEL);
	if (!holder->pages)
		return -ENOMEM;
	holder->flags = asked.flags;
	while (!error && holder->held < asked.pages)
		error = take_one(holder, asked.start + holder->held * asked.stride);
	if (error)
		let_go(holder);
	return error;
}

static long pin_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct holder *holder = file->private_data;
	long result;

	if (command != GUP_PIN_IOC_HOLD)
		return -ENOTTY;
	mutex_lock(&holder->lock);
	result = hold(holder, (const void __user *)argument);
	mutex_unlock(&holder->lock);
	return result;
}

static int pin_open(struct inode *inode, struct file *file)
{
	struct holder *holder = kzalloc(sizeof(*holder), GFP_KERNEL);

	if (!holder)
		return -ENOMEM;
	mutex_init(&holder->lock);
	file->private_data = holder;
	return 0;
}

static int pin_release(struct inode *inode, struct file *file)
{
	struct holder *holder = file->private_data;

	if (holder->pages)
		let_go(holder);
	kfree(holder);
	return 0;
}

static const struct file_operations pin_fops = {
	.owner = THIS_MODULE,
	.open = pin_open,
	.release = pin_release,
	.unlocked_ioctl = pin_ioctl,
};

static struct miscdevice pin_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "gup_pin",
	.fops = &pin_fops,
	.mode = 0600,
};
module_misc_device(pin_device);

MODULE_DESCRIPTION("Holds pages of user memory through GUP");
MODULE_LICENSE("GPL");
