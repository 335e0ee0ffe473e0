/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ways in which user space makes the kernel take pages of a mapping by get_user_pages(): direct I/O
 * by plain system calls, AIO and io_uring, and process_vm_readv() and vmsplice(), which need no disk.
 *
 *	struct io_disk disk;
 *	io_open("/dev/vda", 1 << 20, &disk);             O_DIRECT, and 1 MiB for the ways to work with
 *	io_fill_disk(&disk, 7);                          contents that io_holds() knows
 *	got = io_take(IO_AIO_READ, &disk, address, size) bytes, or -EFAULT, ...
 *
 * A request that is left in flight is a struct io_request: io_submit_aio() or io_submit_uring(), then
 * io_wait() with a limit. All results are bytes or a negative errno.
 */
#ifndef FAULTLAB_DIRECT_IO_H
#define FAULTLAB_DIRECT_IO_H

#include "faultlab.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum io_way {
	IO_READ,       /* read() of an O_DIRECT file into the memory */
	IO_WRITE,      /* write() of the memory into an O_DIRECT file */
	IO_AIO_READ,   /* the same by io_submit() */
	IO_AIO_WRITE,
	IO_URING_READ, /* the same by io_uring */
	IO_URING_WRITE,
	IO_URING_FIXED, /* as a registered buffer: pinned for long (FOLL_LONGTERM), then read into */
	IO_VM_READ,    /* process_vm_readv() of the memory */
	IO_VM_WRITE,   /* process_vm_writev() into the memory */
	IO_VMSPLICE,   /* vmsplice() of the memory into a pipe, and the pipe read */
	IO_BUFFERED,   /* write() to a file without O_DIRECT: copied by the CPU, takes no page; a control */
	IO_WAYS,
};

/* Names of checks. */
static const char *const io_ways[] = {
	"read", "write", "aio-read", "aio-write", "io_uring-read", "io_uring-write", "io_uring-fixed",
	"process_vm_readv", "process_vm_writev", "vmsplice", "buffered", NULL,
};

/* A disk that is read and written from its start, and ordinary memory to compare with. */
struct io_disk {
	int fd;       /* O_DIRECT; -1: none, and the ways that need one are -ENXIO */
	char *bounce; /* `room` bytes of ordinary memory */
	size_t room;
};

enum { IO_PIPE_ROOM = 16 * 4096 }; /* a pipe holds 16 pages unless told otherwise */

static inline int64_t io_result(int64_t returned)
{
	return returned < 0 ? -errno : returned;
}

/* Open a disk (NULL: none) and get memory for transfers of at most `room` bytes, a multiple of 4096. */
static inline int io_open(const char *path, size_t room, struct io_disk *disk)
{
	*disk = (struct io_disk){ .fd = -1, .room = room };
	disk->bounce = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (disk->bounce == MAP_FAILED)
		return -errno;
	if (!path)
		return 0;
	disk->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	return disk->fd < 0 ? -errno : 0;
}

/* ---- contents ------------------------------------------------------------------------------------- */

/* Each word differs from its neighbours and from the same word of another `seed`. */
static inline uint64_t io_word(uint64_t seed, size_t word)
{
	return (seed << 32 | word) * 0x9e3779b97f4a7c15;
}

static inline void io_fill(void *memory, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
		((volatile uint64_t *)memory)[i] = io_word(seed, i);
}

/* Bytes that are not what io_fill() of that seed left there, in whole words. */
static inline size_t io_foreign(const void *memory, size_t bytes, uint64_t seed)
{
	size_t foreign = 0;

	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
		foreign += ((const volatile uint64_t *)memory)[i] != io_word(seed, i);
	return foreign * sizeof(uint64_t);
}

static inline bool io_holds(const void *memory, size_t bytes, uint64_t seed)
{
	return !io_foreign(memory, bytes, seed);
}

/* Fill the first `room` bytes of the disk, out of ordinary memory: 0 or a negative errno. */
static inline int io_fill_disk(struct io_disk *disk, uint64_t seed)
{
	int64_t wrote;

	io_fill(disk->bounce, disk->room, seed);
	wrote = io_result(pwrite(disk->fd, disk->bounce, disk->room, 0));
	return wrote < 0 ? wrote : wrote < (int64_t)disk->room ? -EIO : 0;
}

/* Read the disk's first `bytes` into ordinary memory: NULL if that fails. */
static inline const char *io_read_disk(struct io_disk *disk, size_t bytes)
{
	memset(disk->bounce, 0, bytes);
	return pread(disk->fd, disk->bounce, bytes, 0) == (ssize_t)bytes ? disk->bounce : NULL;
}

/* ---- requests that may be left in flight ---------------------------------------------------------- */

struct io_request {
	aio_context_t aio; /* AIO */
	int ring;          /* io_uring's descriptor; 0: AIO is used */
	char *rings;       /* its shared memory: both rings lie in one mapping (IORING_FEAT_SINGLE_MMAP) */
	struct io_uring_sqe *entry;
	struct io_uring_params params;
};

/* Submit one AIO request from the disk's start: 0, or a negative errno if the kernel refused it at once. */
static inline int io_submit_aio(struct io_disk *disk, bool write, void *address, size_t bytes,
				struct io_request *request)
{
	struct iocb block = {
		.aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = disk->fd, .aio_buf = (uintptr_t)address, .aio_nbytes = bytes,
	};
	struct iocb *blocks[] = { &block };

	*request = (struct io_request){ 0 };
	if (syscall(SYS_io_setup, 1, &request->aio))
		return -errno;
	return syscall(SYS_io_submit, request->aio, 1, blocks) == 1 ? 0 : -errno;
}

/* An io_uring of one entry: 0 or a negative errno. */
static inline int io_make_ring(struct io_request *request)
{
	struct io_uring_params *params = &request->params;
	size_t sq, cq;

	*request = (struct io_request){ 0 };
	request->ring = syscall(SYS_io_uring_setup, 1, params);
	if (request->ring < 0)
		return -errno;
	if (!(params->features & IORING_FEAT_SINGLE_MMAP))
		return -ENOSYS;
	sq = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
	cq = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	request->rings = mmap(NULL, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			      request->ring, IORING_OFF_SQ_RING);
	request->entry = mmap(NULL, sizeof(*request->entry), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			      request->ring, IORING_OFF_SQES);
	return request->rings == MAP_FAILED || request->entry == MAP_FAILED ? -errno : 0;
}

/* Put the request's only entry on the ring: 0 or a negative errno. */
static inline int io_enter_ring(struct io_request *request, int operation, int fd, void *address, size_t bytes)
{
	uint32_t *array = (uint32_t *)(request->rings + request->params.sq_off.array);
	uint32_t *tail = (uint32_t *)(request->rings + request->params.sq_off.tail);

	*request->entry = (struct io_uring_sqe){
		.opcode = operation, .fd = fd, .addr = (uintptr_t)address, .len = bytes,
	};
	array[0] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return syscall(SYS_io_uring_enter, request->ring, 1, 0, 0, NULL, 0) == 1 ? 0 : -errno;
}

/* As io_submit_aio(), by io_uring. */
static inline int io_submit_uring(struct io_disk *disk, bool write, void *address, size_t bytes,
				  struct io_request *request)
{
	int failed = io_make_ring(request);

	if (failed)
		return failed;
	return io_enter_ring(request, write ? IORING_OP_WRITE : IORING_OP_READ, disk->fd, address, bytes);
}

static inline int64_t io_wait_aio(struct io_request *request, int milliseconds)
{
	struct timespec limit = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
	struct io_event event;
	int got = syscall(SYS_io_getevents, request->aio, 1, 1, &event, &limit);

	return got == 1 ? event.res : got == 0 ? -EINPROGRESS : -errno;
}

static inline int64_t io_wait_ring(struct io_request *request, int milliseconds)
{
	struct io_uring_cqe *ended = (struct io_uring_cqe *)(request->rings + request->params.cq_off.cqes);
	uint32_t *head = (uint32_t *)(request->rings + request->params.cq_off.head);
	uint32_t *tail = (uint32_t *)(request->rings + request->params.cq_off.tail);
	struct pollfd poller = { .fd = request->ring, .events = POLLIN };
	uint32_t at = *head & *(uint32_t *)(request->rings + request->params.cq_off.ring_mask);
	int64_t result;

	if (__atomic_load_n(tail, __ATOMIC_ACQUIRE) == *head && poll(&poller, 1, milliseconds) < 0)
		return -errno;
	if (__atomic_load_n(tail, __ATOMIC_ACQUIRE) == *head)
		return -EINPROGRESS;
	result = ended[at].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

/* What came of a request: bytes, a negative errno, or -EINPROGRESS if it has not ended by then (0: now). */
static inline int64_t io_wait(struct io_request *request, int milliseconds)
{
	return request->ring ? io_wait_ring(request, milliseconds) : io_wait_aio(request, milliseconds);
}

/* Give back what a request that has ended, or was refused, holds. */
static inline void io_release(struct io_request *request)
{
	if (request->ring > 0)
		close(request->ring);
	else if (request->aio)
		syscall(SYS_io_destroy, request->aio);
}

/* ---- the ways, to their end ----------------------------------------------------------------------- */

enum { IO_LIMIT_MS = 60000 };

static inline int64_t io_take_request(bool ring, bool write, struct io_disk *disk, void *address, size_t bytes)
{
	struct io_request request;
	int64_t got = (ring ? io_submit_uring : io_submit_aio)(disk, write, address, bytes, &request);

	if (!got)
		got = io_wait(&request, IO_LIMIT_MS);
	if (got != -EINPROGRESS)
		io_release(&request);
	return got;
}

/* Registering takes the pages; what it says is the result if it fails. */
static inline int64_t io_take_fixed(struct io_disk *disk, void *address, size_t bytes)
{
	struct iovec range = { address, bytes };
	struct io_request request;
	int64_t got = io_make_ring(&request);

	if (!got)
		got = io_result(syscall(SYS_io_uring_register, request.ring, IORING_REGISTER_BUFFERS, &range, 1));
	if (!got)
		got = io_enter_ring(&request, IORING_OP_READ_FIXED, disk->fd, address, bytes);
	if (!got)
		got = io_wait(&request, IO_LIMIT_MS);
	if (got != -EINPROGRESS)
		io_release(&request);
	return got;
}

static inline int64_t io_take_vm(bool write, struct io_disk *disk, void *address, size_t bytes)
{
	struct iovec ours = { disk->bounce, bytes }, theirs = { address, bytes };

	return io_result(write ? process_vm_writev(getpid(), &ours, 1, &theirs, 1, 0) :
				 process_vm_readv(getpid(), &ours, 1, &theirs, 1, 0));
}

/* At most IO_PIPE_ROOM bytes, from the pipe into `bounce`. */
static inline int64_t io_take_vmsplice(struct io_disk *disk, void *address, size_t bytes)
{
	struct iovec range = { address, bytes < IO_PIPE_ROOM ? bytes : IO_PIPE_ROOM };
	int64_t took, got = 0;
	int ends[2];

	if (pipe(ends))
		return -errno;
	took = io_result(vmsplice(ends[1], &range, 1, SPLICE_F_NONBLOCK));
	while (got < took) {
		ssize_t more = read(ends[0], disk->bounce + got, took - got);

		if (more <= 0) {
			took = more ? -errno : -EPIPE;
			break;
		}
		got += more;
	}
	close(ends[0]);
	close(ends[1]);
	return took;
}

static inline int64_t io_take_buffered(struct io_disk *disk, void *address, size_t bytes)
{
	int file = memfd_create("buffered", MFD_CLOEXEC);
	int64_t got;

	if (file < 0)
		return -errno;
	got = io_result(pwrite(file, address, bytes, 0));
	if (got > 0)
		got = io_result(pread(file, disk->bounce, got, 0));
	close(file);
	return got;
}

/* Whether a way writes into the memory (and not out of it). */
static inline bool io_writes_memory(enum io_way way)
{
	return way == IO_READ || way == IO_AIO_READ || way == IO_URING_READ || way == IO_URING_FIXED ||
	       way == IO_VM_WRITE;
}

/* Whether what a way took out of the memory ends on the disk (else in `bounce`). */
static inline bool io_writes_disk(enum io_way way)
{
	return way == IO_WRITE || way == IO_AIO_WRITE || way == IO_URING_WRITE;
}

static inline bool io_needs_disk(enum io_way way)
{
	return io_writes_disk(way) || (io_writes_memory(way) && way != IO_VM_WRITE);
}

/*
 * Move `bytes`, at most the disk's room, between `address` and the disk's start or `bounce`, and wait for
 * the end: bytes moved, or a negative errno. -EFAULT is what a mapping says that GUP must not touch.
 */
static inline int64_t io_take(enum io_way way, struct io_disk *disk, void *address, size_t bytes)
{
	if (bytes > disk->room)
		return -EINVAL;
	if (io_needs_disk(way) && disk->fd < 0)
		return -ENXIO;
	switch (way) {
	case IO_READ: return io_result(pread(disk->fd, address, bytes, 0));
	case IO_WRITE: return io_result(pwrite(disk->fd, address, bytes, 0));
	case IO_AIO_READ: return io_take_request(false, false, disk, address, bytes);
	case IO_AIO_WRITE: return io_take_request(false, true, disk, address, bytes);
	case IO_URING_READ: return io_take_request(true, false, disk, address, bytes);
	case IO_URING_WRITE: return io_take_request(true, true, disk, address, bytes);
	case IO_URING_FIXED: return io_take_fixed(disk, address, bytes);
	case IO_VM_READ: return io_take_vm(false, disk, address, bytes);
	case IO_VM_WRITE: return io_take_vm(true, disk, address, bytes);
	case IO_VMSPLICE: return io_take_vmsplice(disk, address, bytes);
	case IO_BUFFERED: return io_take_buffered(disk, address, bytes);
	case IO_WAYS: break;
	}
	return -EINVAL;
}

/* Before a way is tried: `memory`, and what it is to take its bytes from or put them to, filled anew. */
static inline int io_fresh(enum io_way way, struct io_disk *disk, void *memory, size_t bytes, uint64_t in_memory,
			   uint64_t on_disk)
{
	int failed = io_needs_disk(way) ? io_fill_disk(disk, on_disk) : 0; /* by way of `bounce` */

	io_fill(memory, bytes, in_memory);
	io_fill(disk->bounce, bytes, way == IO_VM_WRITE ? on_disk : ~on_disk);
	return failed;
}

/* What io_take() returns if it moved all that it can. */
static inline int64_t io_whole(enum io_way way, size_t bytes)
{
	return way == IO_VMSPLICE && bytes > IO_PIPE_ROOM ? IO_PIPE_ROOM : (int64_t)bytes;
}

/* Where the bytes are that a way has moved; NULL if they cannot be read back from the disk. */
static inline char *io_moved_to(enum io_way way, struct io_disk *disk, void *memory, size_t bytes)
{
	if (io_writes_memory(way))
		return memory;
	if (io_writes_disk(way) && !io_read_disk(disk, bytes))
		return NULL;
	return disk->bounce;
}

/* "EFAULT" for -EFAULT, "4096 bytes" for 4096. */
static inline const char *io_words(int64_t got, char *text, size_t room)
{
	if (got < 0)
		snprintf(text, room, "%s", strerrorname_np(-got) ?: "error");
	else
		snprintf(text, room, "%lld bytes", (long long)got);
	return text;
}

#endif
