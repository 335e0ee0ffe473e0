// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * misbehave HOW: ends, or does not end, in one of the ways that the lab must tell apart.
 *
 * Where it gets that far it reports one check that is ok, so that the check is not what fails the trial.
 */
#include "faultlab.h"

#include <fcntl.h>

enum { FLOOD = 100 << 20 };

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
}

/* Never returns: the panic is what ends it. */
static void panic(void)
{
	write_to("/proc/sysrq-trigger", "c");
	for (;;)
		pause();
}

static void hang(void)
{
	for (;;)
		sleep(1000);
}

static void flood(void)
{
	static char line[64 << 10];

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\n';
	for (int written = 0; written < FLOOD; written += sizeof(line))
		fwrite(line, sizeof(line), 1, stdout);
}

/* The child keeps stdout and outlives us: the guest must not wait for it. */
static void leave_grandchild(void)
{
	fflush(stdout);
	if (fork() == 0)
		hang();
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	int status;

	lab_check(true, "began", "%s", how);
	status = lab_finish();
	if (!strcmp(how, "panic"))
		panic();
	if (!strcmp(how, "hang"))
		hang();
	if (!strcmp(how, "flood"))
		flood();
	if (!strcmp(how, "channel"))
		write_to("/dev/ttyS1", "no frame begins like this\n");
	if (!strcmp(how, "grandchild"))
		leave_grandchild();
	if (!strcmp(how, "signal"))
		raise(SIGKILL);
	if (!strcmp(how, "status"))
		return 3;
	if (!strcmp(how, "skip"))
		return LAB_SKIP;
	return status;
}
