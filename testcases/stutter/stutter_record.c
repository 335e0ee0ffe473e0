// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stutter_record: keep what tracefs sees of DRM mappings while a program runs, or for some seconds.
 *
 *   stutter_record PROBES OUT SECONDS [PROGRAM [ARGUMENT...]]
 *
 * PROBES holds a line `NAME SYMBOL FETCH...` for each kprobe; a symbol that the kernel does not have is left
 * out. OUT gets the text of the trace. SECONDS is how long it may take, 0 for as long as PROGRAM runs. PROGRAM
 * may tell frames by writing to the file that FAULTLAB_MARKER names.
 *
 * All is done in a tracing instance of our own, so nobody else's tracing is disturbed, and taken back at the end,
 * also after SIGINT, SIGTERM and SIGHUP. What a killed recorder left is removed by the next one.
 *
 * Exit status: that of PROGRAM, or 125 if there is no recording.
 */
#include "faultlab.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define TRACEFS "/sys/kernel/tracing"
#define PREFIX "faultlab_"

enum { NO_RECORDING = 125, MAX_PROBES = 64, BUFFER_KB = 32768 };

static char instance[64], group[32];

/* Write `text` to a file of tracefs; its errno, or 0. */
static LAB_PRINTF(3) int put(const char *path, int flags, const char *format, ...)
{
	char text[512];
	va_list args;
	int fd, length, failed = 0;

	va_start(args, format);
	length = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (length >= (int)sizeof(text))
		return E2BIG;
	fd = open(path, O_WRONLY | O_CLOEXEC | flags);
	if (fd < 0)
		return errno;
	if (write(fd, text, length) != length)
		failed = errno ? errno : EIO;
	close(fd);
	return failed;
}

static LAB_PRINTF(2) int put_instance(const char *file, const char *format, ...)
{
	char path[160], text[128];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(path, sizeof(path), "%s/%s", instance, file);
	return put(path, O_TRUNC, "%s", text);
}

/* Remove the probes of one group; they must not be enabled any more. */
static void remove_probes(const char *of)
{
	char line[512], name[128];
	FILE *all = fopen(TRACEFS "/kprobe_events", "re");
	char found[MAX_PROBES][128];
	int count = 0;

	while (all && fgets(line, sizeof(line), all))
		if (sscanf(line, "%*[pr]:%127[^ \n]", name) == 1 && !strncmp(name, of, strlen(of)) &&
		    name[strlen(of)] == '/' && count < MAX_PROBES)
			memcpy(found[count++], name, sizeof(name));
	if (all)
		fclose(all);
	for (int i = 0; i < count; i++)
		put(TRACEFS "/kprobe_events", O_APPEND, "-:%s\n", found[i]);
}

static void remove_instance(const char *name)
{
	char path[sizeof(TRACEFS) + 300];

	snprintf(path, sizeof(path), TRACEFS "/instances/%s/events/%s/enable", name, name);
	put(path, O_TRUNC, "0");
	snprintf(path, sizeof(path), TRACEFS "/instances/%s", name);
	rmdir(path);
	remove_probes(name);
}

/* What recorders left that are no longer there. */
static void sweep(void)
{
	DIR *all = opendir(TRACEFS "/instances");
	struct dirent *one;

	while (all && (one = readdir(all)))
		if (!strncmp(one->d_name, PREFIX, strlen(PREFIX)) &&
		    kill(atoi(one->d_name + strlen(PREFIX)), 0) && errno == ESRCH)
			remove_instance(one->d_name);
	if (all)
		closedir(all);
}

static void clean_up(void)
{
	if (*instance)
		remove_instance(group);
}

static _Noreturn LAB_PRINTF(1) void give_up(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("stutter_record: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	clean_up();
	exit(NO_RECORDING);
}

static void arm(const char *probes)
{
	FILE *list = fopen(probes, "re");
	char line[400], name[32], rest[400], file[64];
	int armed = 0, failed;

	if (!list)
		give_up("%s: %s", probes, strerror(errno));
	snprintf(group, sizeof(group), PREFIX "%d", getpid());
	snprintf(instance, sizeof(instance), TRACEFS "/instances/%.16s", group);
	if (mkdir(instance, 0700)) {
		failed = errno;
		fprintf(stderr, "stutter_record: %s: %s; tracefs must be mounted, and root is needed\n", instance,
			strerror(failed));
		exit(NO_RECORDING); /* what is there, if anything, is not ours */
	}
	while (fgets(line, sizeof(line), list)) {
		if (sscanf(line, "%31s %399[^\n]", name, rest) != 2)
			continue;
		failed = put(TRACEFS "/kprobe_events", O_APPEND, "p:%s/%s %s\n", group, name, rest);
		armed += !failed;
	}
	fclose(list);
	if (!armed)
		give_up("no probe fits this kernel: is it built with CONFIG_KPROBE_EVENTS, is DRM loaded?");
	put_instance("buffer_size_kb", "%d", BUFFER_KB);
	put_instance("trace_clock", "mono");
	snprintf(file, sizeof(file), "events/%s/enable", group);
	failed = put_instance(file, "1");
	if (failed)
		give_up("cannot enable the probes: %s", strerror(failed));
}

/* Wait for the end of `child`, `seconds` or a signal, whatever comes first; the child's status, or 0. */
static int record(pid_t child, int signals, unsigned long seconds)
{
	struct signalfd_siginfo got;
	struct pollfd wait = { .fd = signals, .events = POLLIN };
	uint64_t end = lab_now() + seconds * 1000000000ULL;
	int status = 0;

	for (;;) {
		uint64_t now = lab_now();
		int patience = !seconds ? -1 : now >= end ? 0 : (int)((end - now) / 1000000 + 1);

		if (poll(&wait, 1, patience) <= 0 && patience >= 0)
			break;
		if (read(signals, &got, sizeof(got)) != sizeof(got))
			continue;
		if (got.ssi_signo != SIGCHLD)
			break;
		if (child > 0 && waitpid(child, &status, WNOHANG) == child)
			return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
	if (child > 0) {
		kill(child, SIGTERM);
		waitpid(child, &status, 0);
	}
	return 0;
}

/*
 * Write the trace to `out`, without what the program did between the marks `faultlab pause` and `faultlab resume`
 * and behind `faultlab end`: nobody asks for it, and a guest's serial port is slow.
 */
static void keep(const char *out)
{
	char path[128], line[1024];
	bool paused = false;
	FILE *from, *to;

	snprintf(path, sizeof(path), "%s/trace", instance);
	from = fopen(path, "re");
	to = fopen(out, "we");
	if (!from || !to)
		give_up("%s: %s", from ? out : path, strerror(errno));
	while (fgets(line, sizeof(line), from)) {
		const char *mark = strstr(line, "tracing_mark_write: faultlab ");

		if (!paused || mark)
			fputs(line, to);
		if (mark)
			paused = strstr(mark, "faultlab pause") || (paused && !strstr(mark, "faultlab resume"));
		if (mark && strstr(mark, "faultlab end"))
			break;
	}
	if (ferror(from) || ferror(to) || fclose(to))
		give_up("%s: %s", out, strerror(errno));
	fclose(from);
}

static pid_t start(char **argv, const sigset_t *before)
{
	char marker[128];
	pid_t child;

	snprintf(marker, sizeof(marker), "%s/trace_marker", instance);
	setenv("FAULTLAB_MARKER", marker, 1);
	child = fork();
	if (child < 0)
		give_up("fork: %s", strerror(errno));
	if (child)
		return child;
	sigprocmask(SIG_SETMASK, before, NULL);
	execvp(argv[0], argv);
	fprintf(stderr, "stutter_record: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	sigset_t ending, before;
	int signals, status;
	pid_t child = 0;
	char file[64];

	if (argc < 4 || (argc == 4 && !atoi(argv[3]))) {
		fputs("stutter_record PROBES OUT SECONDS [PROGRAM [ARGUMENT...]]\n", stderr);
		return LAB_USAGE;
	}
	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGHUP);
	sigaddset(&ending, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ending, &before);
	signals = signalfd(-1, &ending, SFD_CLOEXEC);
	if (signals < 0)
		give_up("signalfd: %s", strerror(errno));
	sweep();
	arm(argv[1]);
	if (argc > 4)
		child = start(argv + 4, &before);
	status = record(child, signals, strtoul(argv[3], NULL, 10));
	snprintf(file, sizeof(file), "events/%s/enable", group);
	put_instance(file, "0");
	keep(argv[2]);
	clean_up();
	return status;
}
