// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flip: a program paints a dumb buffer and flips to it, frame after frame. What does a frame cost in page faults,
 * and in time for painting and for flipping?
 *
 * A measured frame is painted by one word a page, so that the faults are what it costs. What the driver told its
 * device, and what guest exits were made (span.h), is seen in some more frames behind the measured ones.
 */
#include "kms.h"
#include "options.h"
#include "span.h"
#include "touch.h"
#include "virtio_gpu.h"

#include <getopt.h>

enum { MAX_FRAMES = 256, RECORDED = 8, COUNTED = 16 };
enum { LATE = 1000 * 1000 }; /* a millisecond: a flip that takes so long waits for more than its device */
enum buffers { KEPT, REMAPPED, FRESH };
enum defect { NONE, UNPAINTED, UNFLIPPED, DROPPED };

static const char *const kinds[] = { "kept", "remapped", "fresh", NULL };
static const char *const defects[] = { "none", "unpainted", "unflipped", "dropped", NULL };

static const char help[] =
	"flip [option...]    paint dumb buffers and flip to them\n"
	"  --driver NAME     of the card (virtio_gpu)\n"
	"  --buffers KIND    kept (two, mapped all the time), remapped (mapped anew for each frame), fresh (a new BO\n"
	"                    for each frame)\n"
	"  --frames N        measured, at most 256 (32)\n"
	"  --blob            buffers must be blob resources\n"
	"  --defect DEFECT   break something to see its check fail: unpainted (a frame's last page is left out),\n"
	"                    unflipped (every other frame is not shown), dropped (kept mappings are not kept)\n";

struct options {
	const char *driver;
	enum buffers buffers;
	uint32_t frames;
	bool blob;
	enum defect defect;
};

struct screen {
	struct options o;
	int fd;
	struct kms_output output;
	struct kms_buffer buffers[2];
	uint32_t frame; /* so far: the next one is painted into buffer frame % 2 */
	uint64_t checked, shown, right;
};

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "driver", required_argument, NULL, 'd' }, { "buffers", required_argument, NULL, 'b' },
		{ "frames", required_argument, NULL, 'f' }, { "blob", no_argument, NULL, 'B' },
		{ "defect", required_argument, NULL, 'x' }, { "help", no_argument, NULL, '?' + 1 },
		{ 0 },
	};
	struct options o = { .driver = "virtio_gpu", .frames = 32 };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'd': o.driver = optarg; break;
		case 'b': o.buffers = lab_choice("--buffers", optarg, kinds); break;
		case 'f': o.frames = lab_number("--frames", optarg, 1, MAX_FRAMES); break;
		case 'B': o.blob = true; break;
		case 'x': o.defect = lab_choice("--defect", optarg, defects); break;
		case '?': lab_usage("flip --help lists the options");
		default: fputs(help, stdout); exit(LAB_PASS);
		}
	}
	if (optind < argc)
		lab_usage("flip takes no arguments but options");
	return o;
}

static _Noreturn void end(const char *what, int error)
{
	lab_check(false, what, "%s", strerror(error));
	exit(lab_finish());
}

/* The buffer of the next frame as its kind wants it: this is part of what the frame costs. */
static struct kms_buffer *take_buffer(struct screen *s)
{
	struct kms_buffer *buffer = &s->buffers[s->frame % 2];
	uint32_t width = s->output.preferred.width, height = s->output.preferred.height;
	int ret;

	if (s->o.buffers == FRESH) {
		kms_free_buffer(buffer); /* two frames old: no longer shown */
		ret = kms_make_buffer(s->fd, width, height, buffer);
		if (ret)
			end("buffer", -ret);
	} else if (s->o.buffers == REMAPPED || s->o.defect == DROPPED) {
		munmap(buffer->base, buffer->bo.size);
		buffer->base = bo_map(&buffer->bo, NULL);
		if (buffer->base == MAP_FAILED)
			end("buffer", errno);
	}
	return buffer;
}

static uint32_t colour(uint32_t frame)
{
	return 0x00010000 * (frame % 200 + 1);
}

static void paint(const struct screen *s, const struct kms_buffer *buffer)
{
	struct kms_buffer part = *buffer;

	if (s->o.defect == UNPAINTED)
		part.bo.size -= LAB_PAGE;
	kms_paint(&part, colour(s->frame));
}

/* The last frame holds what was painted, seen through a mapping of its own, and is the one that is shown. */
static void check_frame(struct screen *s)
{
	const struct kms_buffer *buffer = &s->buffers[(s->frame - 1) % 2];
	char *view = bo_map(&buffer->bo, NULL);
	struct kms_mode mode;
	size_t good = 0;

	if (view == MAP_FAILED)
		end("view", errno);
	for (size_t at = 0; at < buffer->bo.size; at += LAB_PAGE)
		good += *(volatile uint32_t *)(view + at) == colour(s->frame - 1) + at / LAB_PAGE;
	munmap(view, buffer->bo.size);
	s->checked++;
	s->right += good == buffer->bo.size / LAB_PAGE;
	s->shown += kms_shown(s->fd, &s->output, &mode) == buffer->fb;
}

struct cost {
	uint64_t faults, paint, flip, wait;
};

static struct cost bare_frame(struct screen *s)
{
	uint64_t faults = lab_faults(), start = lab_now(), painted, flipped, done;
	bool flips = s->o.defect != UNFLIPPED || s->frame % 2;
	struct kms_buffer *buffer = take_buffer(s);
	struct cost cost;
	int ret = 0;

	paint(s, buffer);
	painted = lab_now();
	if (flips)
		ret = kms_flip(s->fd, &s->output, buffer);
	flipped = lab_now();
	if (flips && !ret)
		ret = kms_await_flip(s->fd, buffer);
	done = lab_now();
	cost = (struct cost){ lab_faults() - faults, painted - start, flipped - painted, done - flipped };
	if (ret)
		end("flip", -ret);
	s->frame++;
	return cost;
}

static struct cost one_frame(struct screen *s)
{
	struct cost cost = bare_frame(s);

	check_frame(s);
	return cost;
}

static void measure(struct screen *s)
{
	uint64_t *paints = lab_array(s->o.frames, sizeof(*paints)), *flips = lab_array(s->o.frames, sizeof(*flips));
	uint64_t *waits = lab_array(s->o.frames, sizeof(*waits));
	uint64_t least = UINT64_MAX, most = 0, late = 0, first, pages = s->buffers[0].bo.size / LAB_PAGE;
	bool all;

	lab_quiet();
	first = one_frame(s).faults;
	one_frame(s); /* the other buffer's first frame */
	for (uint32_t i = 0; i < s->o.frames; i++) {
		struct cost cost;

		lab_quiet(); /* what the device still has to say of the frame before is no cost of this one */
		cost = one_frame(s);
		paints[i] = cost.paint;
		flips[i] = cost.flip;
		waits[i] = cost.wait;
		late += cost.wait >= LATE;
		least = cost.faults < least ? cost.faults : least;
		most = cost.faults > most ? cost.faults : most;
	}
	all = s->o.buffers != KEPT;
	lab_check(least == most && (all ? most >= pages && most % pages == 0 : !most), "faults",
		  "%llu to %llu in each of %u frames of %llu pages, %llu in the first", (unsigned long long)least,
		  (unsigned long long)most, s->o.frames, (unsigned long long)pages, (unsigned long long)first);
	lab_metric("", "pages", pages, "count");
	lab_metric("", "faults_first", first, "count");
	lab_metric("", "faults", most, "count");
	lab_metric("", "late", late, "count");
	lab_distribution("paint_", paints, s->o.frames);
	lab_distribution("flip_", flips, s->o.frames);
	lab_distribution("wait_", waits, s->o.frames);
}

/*
 * What reaches the device for a flip: where to scan out from, a flush, and the order to copy the pixels. A dumb blob
 * needs no copy, and QEMU makes none, but a driver may order one all the same.
 */
static void check_commands(struct screen *s)
{
	struct virtio_gpu_commands sent;
	uint64_t scanouts;
	bool copied;

	if (!virtio_gpu_record()) {
		lab_skip("commands", "this kernel has no tracepoints of virtio-gpu");
		return;
	}
	for (int i = 0; i < RECORDED; i++)
		one_frame(s);
	sent = virtio_gpu_recorded();
	scanouts = s->o.blob ? sent.scanout_blob : sent.scanout;
	copied = sent.transfer == RECORDED || (s->o.blob && !sent.transfer);
	lab_check(scanouts == RECORDED && sent.flush == RECORDED && copied && !sent.refused,
		  "commands", "of %d flips: %llu scanouts, %llu flushes, %llu transfers, %llu refused", RECORDED,
		  (unsigned long long)scanouts, (unsigned long long)sent.flush, (unsigned long long)sent.transfer,
		  (unsigned long long)sent.refused);
	lab_metric("", "transfers", sent.transfer / RECORDED, "count");
}

/* Some frames of buffers that were all painted before, as one span. */
static void count_exits(struct screen *s)
{
	lab_spans_open();
	lab_span_begin("frames");
	for (int i = 0; i < COUNTED; i++)
		bare_frame(s);
	lab_span_end();
	check_frame(s);
}

int main(int argc, char **argv)
{
	struct screen s = { .o = parse(argc, argv) };
	struct kms_output outputs[KMS_MAX_OUTPUTS] = { 0 };
	char card[160];
	int ret;

	s.fd = bo_open_driver(s.o.driver, card, sizeof(card));
	if (!lab_check(s.fd >= 0, "driver", "%s", card))
		return lab_finish();
	ret = kms_outputs(s.fd, outputs) > 0 ? kms_probe(s.fd, &outputs[0]) : -ENODEV;
	s.output = outputs[0];
	if (!lab_check(!ret && s.output.connected, "output", "%u x %u", s.output.preferred.width,
		       s.output.preferred.height))
		return lab_finish();
	lab_start();
	for (int i = 0; i < 2; i++) {
		ret = kms_make_buffer(s.fd, s.output.preferred.width, s.output.preferred.height, &s.buffers[i]);
		if (ret)
			end("buffer", -ret);
	}
	ret = kms_show(s.fd, &s.output, &s.buffers[1]); /* the first frame goes into the other one */
	if (ret)
		end("mode", -ret);
	measure(&s);
	check_commands(&s);
	count_exits(&s);
	lab_check(s.shown == s.checked, "shown", "%llu of %llu frames", (unsigned long long)s.shown,
		  (unsigned long long)s.checked);
	lab_check(s.right == s.checked, "content", "%llu of %llu frames as painted", (unsigned long long)s.right,
		  (unsigned long long)s.checked);
	return lab_finish();
}
