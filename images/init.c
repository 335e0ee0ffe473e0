// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PID 1 of every guest: follows the orders in /lab/job and reports over the second serial port
 * (docs/channel.md). A program rather than a shell script because it starts in one exec under
 * emulation, needs nothing beside itself, and always ends the guest in a stated way.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define OUT_DIR "/lab/out"
#define JOB_FILE "/lab/job"
#define PIECE (32u << 10)
#define MAX_WORDS 128
#define MAX_FILES 16
#define MAX_SHARES 16
#define MAX_SAMPLES (40u << 20)	/* bytes of all files together; the host refuses more than 64 MiB in all */

enum mode { MODE_NONE, MODE_JOB, MODE_BOOT, MODE_SSH };

struct job {
	enum mode mode;
	char *modules[MAX_WORDS];
	int module_count;
	char *argv[MAX_WORDS];	/* [0] is the program */
	int argc;
	char *env[MAX_WORDS];
	int env_count;
	char *shares[MAX_WORDS];	/* "TAG PATH", or "TAG scratch PATH" */
	int share_count;
	uint64_t limit;
};

static int channel = -1;

static void write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t done = write(fd, at, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return;	/* nobody to tell: the host sees the missing frame */
		at += done;
		size -= (size_t)done;
	}
}

static void frame(const char *type, const char *word, const void *data, size_t size)
{
	char head[160];
	int length = snprintf(head, sizeof(head), "#LAB %s %zu %s\n", type, size, word);

	write_all(channel, head, (size_t)length);
	write_all(channel, data, size);
	write_all(channel, "\n", 1);
}

__attribute__((format(printf, 3, 4)))
static void frame_text(const char *type, const char *word, const char *format, ...)
{
	char text[512];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (length > (int)sizeof(text) - 1)
		length = (int)sizeof(text) - 1;
	frame(type, word, text, (size_t)length);
}

static void __attribute__((noreturn)) power_off(void)
{
	tcdrain(channel);
	tcdrain(STDOUT_FILENO);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

#define give_up(word, ...) do { frame_text("fail", word, __VA_ARGS__); power_off(); } while (0)

static void mount_one(const char *kind, const char *where, const char *options, bool required)
{
	mkdir(where, 0755);
	if (mount(kind, where, kind, 0, options) && errno != EBUSY && required)
		give_up("mount", "cannot mount %s on %s: %s", kind, where, strerror(errno));
}

#include "hostroot.h"

static void open_channel(void)
{
	struct termios raw;

	channel = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (channel < 0) {
		dprintf(STDOUT_FILENO, "lab: no second serial port: %s\n", strerror(errno));
		channel = open("/dev/null", O_WRONLY | O_CLOEXEC);
		power_off();
	}
	tcgetattr(channel, &raw);
	cfmakeraw(&raw);
	cfsetspeed(&raw, B115200);
	tcsetattr(channel, TCSANOW, &raw);
}

static char *read_file(const char *path, size_t limit)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = calloc(1, limit + 1);
	size_t have = 0;
	ssize_t got;

	if (fd < 0 || !text) {
		free(text);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	while (have < limit && (got = read(fd, text + have, limit - have)) > 0)
		have += (size_t)got;
	close(fd);
	return text;
}

static void add_word(char **list, int *count, char *word)
{
	if (*count >= MAX_WORDS - 1)
		give_up("order", "more than %d words of one kind in " JOB_FILE, MAX_WORDS - 1);
	list[(*count)++] = word;
}

static void obey(struct job *job, char *word, char *value)
{
	if (!strcmp(word, "mode") && !strcmp(value, "job"))
		job->mode = MODE_JOB;
	else if (!strcmp(word, "mode") && !strcmp(value, "boot"))
		job->mode = MODE_BOOT;
	else if (!strcmp(word, "mode") && !strcmp(value, "ssh"))
		job->mode = MODE_SSH;
	else if (!strcmp(word, "module"))
		add_word(job->modules, &job->module_count, value);
	else if (!strcmp(word, "exec") && job->argc == 0)
		add_word(job->argv, &job->argc, value);
	else if (!strcmp(word, "arg") && job->argc > 0)
		add_word(job->argv, &job->argc, value);
	else if (!strcmp(word, "env"))
		add_word(job->env, &job->env_count, value);
	else if (!strcmp(word, "share"))
		add_word(job->shares, &job->share_count, value);
	else if (!strcmp(word, "limit"))
		job->limit = strtoull(value, NULL, 10);
	else
		give_up("order", "unknown or misplaced order '%s %s'", word, value);
}

static void read_job(struct job *job)
{
	char *text = read_file(JOB_FILE, 64u << 10);
	char *save = NULL;

	if (!text)
		give_up("order", "no " JOB_FILE " in the initramfs");
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, ' ');

		if (value)
			*value++ = '\0';
		obey(job, line, value ? value : "");
	}
	if (job->mode == MODE_NONE)
		give_up("order", "no mode in " JOB_FILE);
	if (job->mode == MODE_JOB && job->argc == 0)
		give_up("order", "mode job without exec");
}

static void load_modules(struct job *job)
{
	for (int i = 0; i < job->module_count; i++) {
		char *path = job->modules[i];
		char *parameters = strchr(path, ' ');
		int fd;

		if (parameters)
			*parameters++ = '\0';
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, parameters ? parameters : "", 0)) {
			if (errno != EEXIST)
				give_up("module", "the kernel refused %s: %s",
					strrchr(path, '/') ? strrchr(path, '/') + 1 : path, strerror(errno));
		}
		close(fd);
	}
}

/* The host's files, if the orders have any: the program comes from there, and finds its own there. */
static void load_shares(struct job *job)
{
	struct share shares[MAX_SHARES] = { 0 };

	if (job->share_count > MAX_SHARES)
		give_up("order", "more than %d shares", MAX_SHARES);
	for (int i = 0; i < job->share_count; i++) {
		char *save = NULL, *path;

		shares[i].tag = strtok_r(job->shares[i], " ", &save);
		path = strtok_r(NULL, "", &save);
		shares[i].scratch = path && !strncmp(path, "scratch ", strlen("scratch "));
		if (shares[i].scratch)
			path += strlen("scratch ");
		if (!path || path[0] != '/')
			give_up("order", "a share without a path");
		shares[i].path = path;
	}
	if (job->share_count)
		enter_host_root(shares, job->share_count);
}

static void say_ready(void)
{
	char *line = read_file("/proc/cmdline", 4096);
	char *nonce = line ? strstr(line, "lab.nonce=") : NULL;
	struct timespec up;

	clock_gettime(CLOCK_BOOTTIME, &up);
	nonce = nonce ? strtok(nonce + strlen("lab.nonce="), " \n") : NULL;
	dprintf(STDOUT_FILENO, "LAB-READY %s %lld.%03ld\n", nonce ? nonce : "-",
		(long long)up.tv_sec, up.tv_nsec / 1000000);
}

/* ---- mode job ---------------------------------------------------------------------------- */

struct stream {
	const char *type;
	int fd;
	uint64_t seen, sent;
};

static bool forward(struct stream *stream, uint64_t limit)
{
	static char piece[PIECE];
	ssize_t got = read(stream->fd, piece, sizeof(piece));

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (got <= 0) {
		close(stream->fd);
		stream->fd = -1;
		return false;
	}
	stream->seen += (uint64_t)got;
	if (stream->sent < limit) {
		size_t some = (uint64_t)got < limit - stream->sent ? (size_t)got : (size_t)(limit - stream->sent);

		frame(stream->type, "-", piece, some);
		stream->sent += some;
	}
	return true;
}

static void pump(struct stream streams[2], uint64_t limit, int timeout_ms)
{
	for (;;) {
		struct pollfd polls[2] = {
			{ .fd = streams[0].fd, .events = POLLIN },
			{ .fd = streams[1].fd, .events = POLLIN },
		};
		bool more = false;

		if (streams[0].fd < 0 && streams[1].fd < 0)
			return;
		if (poll(polls, 2, timeout_ms) == 0)
			return;
		for (int i = 0; i < 2; i++)
			if (streams[i].fd >= 0 && polls[i].revents)
				more |= forward(&streams[i], limit);
		if (!more)
			return;
	}
}

static pid_t start(struct job *job, int out, int err)
{
	pid_t child = fork();

	if (child)
		return child;
	setsid();
	if (chdir(OUT_DIR))
		_exit(127);
	dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	execve(job->argv[0], job->argv, job->env);
	dprintf(STDERR_FILENO, "lab: cannot run %s: %s\n", job->argv[0], strerror(errno));
	_exit(127);
}

static int wait_pumping(pid_t child, struct stream streams[2], uint64_t limit)
{
	int status = 0;

	/* Both ends of file: the usual end. A grandchild may hold the pipes open: then ask for the child. */
	for (;;) {
		pid_t gone;

		pump(streams, limit, 200);
		while ((gone = waitpid(-1, &status, WNOHANG)) > 0 && gone != child)
			;
		if (gone == child)
			break;
		if (streams[0].fd < 0 && streams[1].fd < 0) {
			while (waitpid(child, &status, 0) < 0 && errno == EINTR)
				;
			break;
		}
	}
	pump(streams, limit, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool good_name(const char *name)
{
	size_t length = strlen(name);

	return length >= 1 && length <= 64 && name[0] != '.' &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

/* Sends one sample file, at most `room` bytes of it; returns how many. */
static uint64_t send_file(const char *name, uint64_t room)
{
	int fd = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	static char piece[PIECE];
	uint64_t sent = 0;
	struct stat about;
	ssize_t got;

	if (fd < 0 || fstat(fd, &about) || !S_ISREG(about.st_mode))
		goto done;
	while ((got = read(fd, piece, sizeof(piece))) > 0 && sent + (uint64_t)got <= room) {
		frame("file", name, piece, (size_t)got);
		sent += (uint64_t)got;
	}
	if (got > 0)
		frame_text("note", "-", "sample file %s cut at %llu bytes", name, (unsigned long long)sent);
done:
	if (fd >= 0)
		close(fd);
	return sent;
}

static void send_samples(void)
{
	struct dirent **entries = NULL;
	uint64_t room = MAX_SAMPLES;
	int count, sent = 0;

	if (chdir(OUT_DIR))
		return;
	count = scandir(".", &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		if (good_name(entries[i]->d_name) && sent++ < MAX_FILES)
			room -= send_file(entries[i]->d_name, room);
		free(entries[i]);
	}
	free(entries);
	if (sent > MAX_FILES)
		frame_text("note", "-", "%d sample files, only the first %d were sent", sent, MAX_FILES);
}

static void run_job(struct job *job)
{
	int out[2], err[2], status;
	char word[16];
	pid_t child;

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		give_up("exec", "cannot make pipes: %s", strerror(errno));
	child = start(job, out[1], err[1]);
	if (child < 0)
		give_up("exec", "cannot fork: %s", strerror(errno));
	close(out[1]);
	close(err[1]);

	struct stream streams[2] = {
		{ .type = "stdout", .fd = out[0] },
		{ .type = "stderr", .fd = err[0] },
	};
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	status = wait_pumping(child, streams, job->limit);
	for (int i = 0; i < 2; i++)
		if (streams[i].seen > streams[i].sent)
			frame_text("note", "-", "%s cut at %llu of %llu bytes", streams[i].type,
				   (unsigned long long)streams[i].sent, (unsigned long long)streams[i].seen);
	send_samples();
	snprintf(word, sizeof(word), "%d", status);
	frame("exit", word, "", 0);
}

/* ---- mode ssh ---------------------------------------------------------------------------- */

static void set_address(int control, const char *name, const char *address, const char *mask)
{
	struct ifreq request = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	in->sin_family = AF_INET;
	inet_pton(AF_INET, address, &in->sin_addr);
	if (ioctl(control, SIOCSIFADDR, &request))
		give_up("network", "cannot give %s an address: %s", name, strerror(errno));
	inet_pton(AF_INET, mask, &in->sin_addr);
	ioctl(control, SIOCSIFNETMASK, &request);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(control, SIOCSIFFLAGS, &request))
		give_up("network", "cannot bring %s up: %s", name, strerror(errno));
}

static bool sshd_listens(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(22) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	yes = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
	if (fd >= 0)
		close(fd);
	return yes;
}

static void serve_ssh(void)
{
	static char *const argv[] = { "/usr/sbin/sshd", "-D", "-e", "-f", "/lab/sshd_config", NULL };
	static char *const env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", NULL };
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	pid_t child;

	set_address(control, "lo", "127.0.0.1", "255.0.0.0");
	/* The addresses that QEMU's user-mode network uses by itself. */
	set_address(control, "eth0", "10.0.2.15", "255.255.255.0");
	close(control);
	child = fork();
	if (child == 0) {
		execve(argv[0], argv, env);
		_exit(127);
	}
	for (int tries = 0; !sshd_listens(); tries++) {
		if (waitpid(child, NULL, WNOHANG) == child || tries > 600)
			give_up("network", "sshd does not run; the console says why");
		usleep(50000);
	}
}

static void __attribute__((noreturn)) reap_for_ever(void)
{
	for (;;)
		if (wait(NULL) < 0)
			pause();
}

int main(void)
{
	static struct job job = { .limit = 1 << 20 };
	struct utsname about;

	/* A case may use up all memory: were our pages in swap, our next step would call the OOM killer on it. */
	mlockall(MCL_CURRENT | MCL_FUTURE);
	umask(022);
	mount_one("devtmpfs", "/dev", NULL, true);
	mount_one("proc", "/proc", NULL, true);
	mount_one("sysfs", "/sys", NULL, true);
	mount_one("tmpfs", "/tmp", NULL, true);
	mount_one("tmpfs", "/run", NULL, true);
	mount_one("debugfs", "/sys/kernel/debug", NULL, false);
	mount_one("tracefs", "/sys/kernel/tracing", NULL, false);
	open_channel();
	uname(&about);
	frame_text("hello", "1", "%s", about.release);
	mkdir(OUT_DIR, 0755);
	read_job(&job);
	load_modules(&job);
	load_shares(&job);
	if (job.mode == MODE_SSH) {
		mount_one("devpts", "/dev/pts", "mode=0620,ptmxmode=0666", true);
		mkdir("/run/sshd", 0755);
		serve_ssh();
	}
	say_ready();
	if (job.mode == MODE_SSH)
		reap_for_ever();
	if (job.mode == MODE_JOB)
		run_job(&job);
	frame("bye", "-", "", 0);
	power_off();
}
