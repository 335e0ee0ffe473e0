/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading frame traces (docs/frame-trace.md). The same rules as lab/workload/frame_trace.py: strict, bounded, and
 * what is accepted can be played. A trace comes from anywhere; a wrong one ends the workload with its line.
 */
#ifndef FAULTLAB_FRAME_TRACE_H
#define FAULTLAB_FRAME_TRACE_H

#include "faultlab.h"
#include "options.h"

#include <fcntl.h>

enum {
	TRACE_BYTES = 8 << 20,
	TRACE_LINES = 500000,
	TRACE_LINE = 200,
	TRACE_BO = 4096,           /* the largest number of a BO */
	TRACE_PAGES = 1 << 18,     /* of one BO */
	TRACE_ALL_PAGES = 1 << 20, /* of all BOs, each number at its largest */
	TRACE_TOUCHES = 1 << 24,
	TRACE_FRAMES = 100000,
	TRACE_RATE = 1000,
};

enum verb { CREATE, MAP, TOUCH, UNMAP, EVICT, FREE };

struct op {
	enum verb verb;
	bool write, vram;
	uint32_t bo;
	uint32_t pages;                /* of create and map */
	uint32_t first, count, stride; /* of touch */
};

/* Steps [first, first + count) of the trace, to be done within `percent` of the frame's period. */
struct frame {
	uint32_t first, count, percent;
};

struct frame_trace {
	uint32_t rate; /* frames a second */
	struct op *op;
	uint32_t ops, setup; /* the first `setup` steps come before frame 0 */
	struct frame *frame;
	uint32_t frames;
	uint32_t largest[TRACE_BO + 1]; /* pages of each number's largest BO, 0 if there is none */
	uint64_t touches;
};

/* What holds at the line that is being read. */
struct trace_reader {
	struct frame_trace *trace;
	const char *path;
	uint32_t line;
	uint32_t pages[TRACE_BO + 1], mapped[TRACE_BO + 1];
	uint64_t all_pages;
	bool headed, ended;
};

#define trace_wrong(r, format, ...) lab_usage("%s:%u: " format, (r)->path, (r)->line, __VA_ARGS__)

/* The number at *at, which moves behind it; `what` names it if it is none, or not within its bounds. */
static inline uint32_t trace_number(const struct trace_reader *r, const char **at, const char *what, uint32_t low,
				    uint32_t high)
{
	uint64_t value = 0;
	const char *p = *at;

	while (*p >= '0' && *p <= '9' && p - *at < 9)
		value = value * 10 + (*p++ - '0');
	if (p == *at || (**at == '0' && p - *at > 1) || (*p >= '0' && *p <= '9'))
		trace_wrong(r, "%s: a number is needed", what);
	if (value < low || value > high)
		trace_wrong(r, "%s: %u is not within %u to %u", what, (unsigned int)value, low, high);
	*at = p;
	return value;
}

/* Whether `word` stands at *at, which then moves behind it. */
static inline bool trace_word(const char **at, const char *word)
{
	size_t length = strlen(word);

	if (strncmp(*at, word, length))
		return false;
	*at += length;
	return true;
}

static inline void trace_create(struct trace_reader *r, const char **at, struct op *op)
{
	struct frame_trace *trace = r->trace;

	if (!trace_word(at, " "))
		trace_wrong(r, "%s", "create: pages are needed");
	op->pages = trace_number(r, at, "pages", 1, TRACE_PAGES);
	op->vram = trace_word(at, " vram");
	if (!op->vram)
		trace_word(at, " system");
	if (r->pages[op->bo])
		trace_wrong(r, "there is a BO %u already", op->bo);
	r->pages[op->bo] = op->pages;
	if (op->pages > trace->largest[op->bo]) {
		r->all_pages += op->pages - trace->largest[op->bo];
		trace->largest[op->bo] = op->pages;
	}
	if (r->all_pages > TRACE_ALL_PAGES)
		trace_wrong(r, "more than %u pages of all BOs", TRACE_ALL_PAGES);
}

static inline void trace_map(struct trace_reader *r, const char **at, struct op *op)
{
	if (r->mapped[op->bo])
		trace_wrong(r, "BO %u is mapped already", op->bo);
	op->pages = r->pages[op->bo];
	if (trace_word(at, " "))
		op->pages = trace_number(r, at, "pages", 1, op->pages);
	r->mapped[op->bo] = op->pages;
}

static inline void trace_touch(struct trace_reader *r, const char **at, struct op *op)
{
	uint64_t last;

	op->count = op->stride = 1;
	op->write = trace_word(at, " w ");
	if (!op->write && !trace_word(at, " r "))
		trace_wrong(r, "%s", "touch: r or w is needed");
	op->first = trace_number(r, at, "page", 0, UINT32_MAX);
	if (trace_word(at, "+")) {
		op->count = trace_number(r, at, "pages", 1, TRACE_PAGES);
		if (trace_word(at, "/"))
			op->stride = trace_number(r, at, "stride", 1, TRACE_PAGES);
	}
	if (!r->mapped[op->bo])
		trace_wrong(r, "BO %u is not mapped", op->bo);
	last = op->first + (op->count - 1ULL) * op->stride;
	if (last >= r->mapped[op->bo])
		trace_wrong(r, "page %llu of a mapping of %u", (unsigned long long)last, r->mapped[op->bo]);
	r->trace->touches += op->count;
	if (r->trace->touches > TRACE_TOUCHES)
		trace_wrong(r, "more than %u touches", TRACE_TOUCHES);
}

static inline void trace_op(struct trace_reader *r, enum verb verb, const char **at)
{
	struct op *op = &r->trace->op[r->trace->ops++];

	*op = (struct op){ .verb = verb, .bo = trace_number(r, at, "BO", 1, TRACE_BO) };
	if (verb != CREATE && !r->pages[op->bo])
		trace_wrong(r, "there is no BO %u", op->bo);
	switch (verb) {
	case CREATE: trace_create(r, at, op); break;
	case MAP: trace_map(r, at, op); break;
	case TOUCH: trace_touch(r, at, op); break;
	case UNMAP:
		if (!r->mapped[op->bo])
			trace_wrong(r, "BO %u is not mapped", op->bo);
		r->mapped[op->bo] = 0;
		break;
	case EVICT: break;
	case FREE:
		if (r->mapped[op->bo])
			trace_wrong(r, "BO %u is still mapped", op->bo);
		r->pages[op->bo] = 0;
		break;
	}
	if (r->trace->frames)
		r->trace->frame[r->trace->frames - 1].count++;
	else
		r->trace->setup++;
}

static inline void trace_frame(struct trace_reader *r, const char **at)
{
	struct frame_trace *trace = r->trace;
	uint32_t number = trace_number(r, at, "frame", 0, TRACE_FRAMES - 1), percent = 100;

	if (number != trace->frames)
		trace_wrong(r, "frame %u where frame %u is next", number, trace->frames);
	if (trace_word(at, " ")) {
		percent = trace_number(r, at, "percent", 1, 100);
		if (!trace_word(at, "%"))
			trace_wrong(r, "%s", "frame: % is needed behind the percent");
	}
	trace->frame[trace->frames++] = (struct frame){ .first = trace->ops, .percent = percent };
}

static inline void trace_line(struct trace_reader *r, const char *line)
{
	static const char *const verbs[] = { "create ", "map ", "touch ", "unmap ", "evict ", "free " };
	const char *at = line;

	if (strlen(line) > TRACE_LINE)
		trace_wrong(r, "longer than %d characters", TRACE_LINE);
	if (!r->headed) {
		if (strcmp(line, "frame-trace 1"))
			trace_wrong(r, "%s", "the first line must be `frame-trace 1`");
		r->headed = true;
		return;
	}
	if (!*line || *line == '#')
		return;
	if (r->ended)
		trace_wrong(r, "%s", "a line after `end`");
	if (trace_word(&at, "rate ")) {
		if (r->trace->rate)
			trace_wrong(r, "%s", "a second rate");
		r->trace->rate = trace_number(r, &at, "rate", 1, TRACE_RATE);
	} else if (!r->trace->rate) {
		trace_wrong(r, "%s", "the line `rate N` must come first");
	} else if (trace_word(&at, "frame ")) {
		trace_frame(r, &at);
	} else if (!strcmp(line, "end")) {
		if (!r->trace->frames)
			trace_wrong(r, "%s", "a trace has one frame or more");
		r->ended = true;
		return;
	} else {
		for (size_t verb = 0; at == line && verb < sizeof(verbs) / sizeof(*verbs); verb++)
			if (trace_word(&at, verbs[verb]))
				trace_op(r, verb, &at);
		if (at == line)
			trace_wrong(r, "%s", "unknown word");
	}
	if (*at)
		trace_wrong(r, "%s", "more than belongs on the line");
}

/* The whole file, NUL-terminated; its length goes to `length`. */
static inline char *trace_text(const char *path, size_t *length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = lab_array(TRACE_BYTES + 2, 1);
	ssize_t got = 1;

	if (fd < 0)
		lab_usage("%s: %s", path, strerror(errno));
	for (*length = 0; *length <= TRACE_BYTES && got > 0; *length += got > 0 ? got : 0)
		got = read(fd, text + *length, TRACE_BYTES + 1 - *length);
	if (got < 0)
		lab_usage("%s: %s", path, strerror(errno));
	close(fd);
	if (*length > TRACE_BYTES)
		lab_usage("%s: larger than %d MiB", path, TRACE_BYTES >> 20);
	if (memchr(text, '\0', *length) || !*length || text[*length - 1] != '\n')
		lab_usage("%s: the last line is cut, or there is a NUL", path);
	return text;
}

/* Read a trace; a wrong one ends the workload with status 2. */
static inline struct frame_trace *trace_read(const char *path)
{
	struct frame_trace *trace = lab_array(1, sizeof(*trace));
	struct trace_reader *r = lab_array(1, sizeof(*r));
	size_t length, lines = 0;
	char *text = trace_text(path, &length), *rest = text, *line;

	for (size_t i = 0; i < length; i++)
		lines += text[i] == '\n';
	if (lines > TRACE_LINES)
		lab_usage("%s: more than %d lines", path, TRACE_LINES);
	trace->op = lab_array(lines, sizeof(*trace->op));
	trace->frame = lab_array(lines, sizeof(*trace->frame));
	*r = (struct trace_reader){ .trace = trace, .path = path };
	text[length - 1] = '\0'; /* so that no empty line follows the last one */
	while ((line = strsep(&rest, "\n"))) {
		r->line++;
		trace_line(r, line);
	}
	if (!r->ended)
		lab_usage("%s: there is no line `end`: the trace is cut", path);
	free(text);
	free(r);
	return trace;
}

#endif
