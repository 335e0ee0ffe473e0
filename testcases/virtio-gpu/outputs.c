// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * outputs: monitors are plugged in, changed and pulled while the guest runs. Each change must come as a hotplug
 * event with the new modes and EDID, and a dumb buffer of the new size must be shown.
 *
 * The host does what the case's `display` says, one step when asked; the arguments say the same again, and each
 * is compared with what arrives.
 */
#include "kms.h"
#include "options.h"
#include "virtio_gpu.h"

#include <getopt.h>

enum { MAX_STEPS = 32, WAIT_SECONDS = 20 };
enum defect { NONE, DEAF, WRONG_SIZE, DARK };

static const char *const defects[] = { "none", "deaf", "wrong-size", "dark", NULL };

static const char help[] =
	"outputs [option...]    follow monitors that come and go\n"
	"  --driver NAME     of the card (virtio_gpu)\n"
	"  --outputs N       how many connectors there must be (1)\n"
	"  --step N=WxH      the next step: output N has a monitor of that size; N=off: none\n"
	"  --defect DEFECT   break something to see its check fail: deaf (the host is not asked), wrong-size (a\n"
	"                    buffer a line too low for the mode), dark (the buffer is not shown)\n";

struct step {
	int output;
	uint32_t width, height; /* 0: none */
	char words[32];
};

struct options {
	const char *driver;
	int outputs;
	struct step steps[MAX_STEPS];
	int count;
	enum defect defect;
};

static struct step parse_step(const char *text)
{
	struct step step = { 0 };
	int length = 0;

	if (sscanf(text, "%d=%ux%u%n", &step.output, &step.width, &step.height, &length) != 3 || text[length]) {
		step.width = step.height = length = 0;
		if (sscanf(text, "%d=off%n", &step.output, &length) != 1 || !length || text[length])
			lab_usage("--step %s: N=WIDTHxHEIGHT or N=off is needed", text);
	}
	snprintf(step.words, sizeof(step.words), "%s", text);
	return step;
}

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "driver", required_argument, NULL, 'd' }, { "outputs", required_argument, NULL, 'o' },
		{ "step", required_argument, NULL, 's' },   { "defect", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, '?' + 1 },     { 0 },
	};
	struct options o = { .driver = "virtio_gpu", .outputs = 1 };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'd': o.driver = optarg; break;
		case 'o': o.outputs = lab_number("--outputs", optarg, 1, KMS_MAX_OUTPUTS); break;
		case 's':
			if (o.count == MAX_STEPS)
				lab_usage("more than %d steps", MAX_STEPS);
			o.steps[o.count++] = parse_step(optarg);
			break;
		case 'x': o.defect = lab_choice("--defect", optarg, defects); break;
		case '?': lab_usage("outputs --help lists the options");
		default: fputs(help, stdout); exit(LAB_PASS);
		}
	}
	for (int i = 0; i < o.count; i++)
		if (o.steps[i].output < 0 || o.steps[i].output >= o.outputs)
			lab_usage("--step %s: outputs are 0 to %d", o.steps[i].words, o.outputs - 1);
	return o;
}

/* The EDID of a connector, as the monitor gave it; bytes, 0 without a monitor. */
static size_t read_edid(const char *card, int output, uint8_t *edid, size_t room)
{
	char path[128];
	size_t got = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/class/drm/%s-Virtual-%d/edid", strrchr(card, '/') + 1, output + 1);
	file = fopen(path, "re");
	if (file) {
		got = fread(edid, 1, room, file);
		fclose(file);
	}
	return got;
}

/* The first detailed timing of an EDID is the monitor's own size. */
static void check_edid(const struct step *step, const char *card)
{
	uint8_t edid[2 * KMS_EDID_BYTES], sum = 0;
	size_t got = read_edid(card, step->output, edid, sizeof(edid));
	uint32_t width = 0, height = 0;
	char name[64];

	snprintf(name, sizeof(name), "edid-%s", step->words);
	if (!step->width) {
		lab_check(!got, name, "%zu bytes without a monitor", got);
		return;
	}
	for (size_t i = 0; i < KMS_EDID_BYTES && got >= KMS_EDID_BYTES; i++)
		sum += edid[i];
	if (got >= KMS_EDID_BYTES) {
		width = edid[56] | (edid[58] & 0xf0) << 4;
		height = edid[59] | (edid[61] & 0xf0) << 4;
	}
	lab_check(got >= KMS_EDID_BYTES && !sum && width == step->width && height == step->height, name,
		  "%zu bytes, checksum %s, %u x %u", got, sum ? "wrong" : "right", width, height);
}

/* Show a buffer of the monitor's size; it stays on its output until the next step there. */
static bool show(const struct options *o, int fd, const struct kms_output *output, const struct step *step,
		 struct kms_buffer *buffer)
{
	struct virtio_gpu_commands sent;
	struct kms_mode mode = { 0 };
	uint32_t shown;
	char name[64];
	uint64_t faults;
	int ret;

	snprintf(name, sizeof(name), "shown-%s", step->words);
	ret = kms_make_buffer(fd, step->width, step->height - (o->defect == WRONG_SIZE), buffer);
	if (ret)
		return lab_check(false, name, "a buffer of %u x %u: %s", step->width, step->height, strerror(-ret));
	faults = lab_faults();
	kms_paint(buffer, 0x00336699);
	faults = lab_faults() - faults;
	if (!virtio_gpu_record())
		lab_line("# note: this kernel has no tracepoints of virtio-gpu");
	ret = o->defect == DARK ? 0 : kms_show(fd, output, buffer);
	sent = virtio_gpu_recorded();
	shown = kms_shown(fd, output, &mode);
	return lab_check(!ret && shown == buffer->fb && mode.width == step->width && mode.height == step->height &&
			 sent.scanout + sent.scanout_blob && sent.flush && !sent.refused, name,
			 "%s, %u x %u, %llu scanouts set, %llu flushes, %llu refused; %llu faults for %llu pages",
			 ret ? strerror(-ret) : shown == buffer->fb ? "the buffer" : "another buffer", mode.width, mode.height,
			 (unsigned long long)(sent.scanout + sent.scanout_blob), (unsigned long long)sent.flush,
			 (unsigned long long)sent.refused, (unsigned long long)faults,
			 (unsigned long long)(buffer->bo.size / LAB_PAGE));
}

static bool arrives(const struct options *o, int fd, int events, struct kms_output *output, const struct step *step)
{
	char name[64];
	bool told;
	int ret;

	if (o->defect != DEAF)
		display_next();
	told = kms_await_hotplug(events, o->defect == DEAF ? 2 : WAIT_SECONDS);
	snprintf(name, sizeof(name), "hotplug-%s", step->words);
	if (!lab_check(told, name, "%s", told ? "an event" : "no event"))
		return false;
	ret = kms_probe(fd, output);
	snprintf(name, sizeof(name), "modes-%s", step->words);
	return lab_check(!ret && output->connected == !!step->width && output->preferred.width == step->width &&
			 output->preferred.height == step->height, name, "%s, %u modes, preferred %u x %u",
			 ret ? strerror(-ret) : output->connected ? "connected" : "not connected", output->modes,
			 output->preferred.width, output->preferred.height);
}

/* Each output still shows the buffer that it was given last. */
static void check_all(int fd, const struct kms_output *outputs, const struct kms_buffer *buffers, int count)
{
	int lit = 0, right = 0;

	for (int i = 0; i < count; i++) {
		struct kms_mode mode;

		lit += !!buffers[i].fb;
		right += buffers[i].fb && kms_shown(fd, &outputs[i], &mode) == buffers[i].fb &&
			 mode.width == buffers[i].width;
	}
	lab_check(lit && right == lit, "together", "%d of %d outputs show their buffer at once", right, lit);
	lab_metric("", "lit", right, "count");
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	struct kms_output outputs[KMS_MAX_OUTPUTS];
	struct kms_buffer buffers[KMS_MAX_OUTPUTS] = { 0 };
	char card[160];
	int fd = bo_open_driver(o.driver, card, sizeof(card)), events = kms_listen(), count, done = 0;

	if (!lab_check(fd >= 0, "driver", "%s", card) || !lab_check(events >= 0, "events", "%d", events))
		return lab_finish();
	lab_start();
	count = kms_outputs(fd, outputs);
	if (!lab_check(count == o.outputs, "outputs", "%d connectors, %d wanted", count, o.outputs))
		return lab_finish();
	for (; done < o.count; done++) {
		const struct step *step = &o.steps[done];
		struct kms_output *output = &outputs[step->output];
		struct kms_buffer *buffer = &buffers[step->output];

		if (!arrives(&o, fd, events, output, step))
			break;
		check_edid(step, card);
		if (buffer->fb)
			kms_free_buffer(buffer);
		*buffer = (struct kms_buffer){ 0 };
		if (step->width && !show(&o, fd, output, step, buffer))
			break;
	}
	lab_metric("", "steps", done, "count");
	check_all(fd, outputs, buffers, count);
	return lab_finish();
}
