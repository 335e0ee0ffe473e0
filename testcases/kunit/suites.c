// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * suites: what the kernel's KUnit suites said when their modules were loaded, from debugfs.
 *
 * A module runs its suites while it is loaded, so all are done. Each has a file of its own with a whole KTAP
 * document of one result; here they become one document. The arguments are suites that must be among them: one
 * that did not come is a check that failed, for a module without its suite would else pass.
 */
#include "faultlab.h"

#include <dirent.h>

#ifndef SUITES
#define SUITES "/sys/kernel/debug/kunit"
#endif

static unsigned int told, failed;

static bool begins(const char *line, const char *with)
{
	return !strncmp(line, with, strlen(with));
}

/* Skip "NUMBER " or "NUMBER - ": a suite is the first of its own document, and one of many in ours. */
static const char *without_number(const char *text)
{
	text += strspn(text, "0123456789 ");
	return begins(text, "- ") ? text + 2 : text;
}

static void result(bool ok, const char *text)
{
	failed += !ok;
	printf("%s %u %s", ok ? "ok" : "not ok", ++told, text);
}

static void missing(const char *suite, const char *why)
{
	char text[NAME_MAX + 128];

	snprintf(text, sizeof(text), "%s # %s\n", suite, why);
	result(false, text);
}

/* Hand on a suite's document without its head. Its result stands at its end: it has none if that is missing. */
static void tell(const char *suite)
{
	char path[sizeof(SUITES) + NAME_MAX + 16], *line = NULL;
	unsigned int before = told;
	size_t room = 0;
	FILE *file;

	snprintf(path, sizeof(path), SUITES "/%s/results", suite);
	file = fopen(path, "r");
	while (file && getline(&line, &room, file) > 0) {
		if (begins(line, "ok "))
			result(true, without_number(line + 3));
		else if (begins(line, "not ok "))
			result(false, without_number(line + 7));
		else if (!begins(line, "KTAP version ") && !begins(line, "1..1\n"))
			fputs(line, stdout);
	}
	if (told != before + 1)
		missing(suite, "its file has not one result");
	free(line);
	if (file)
		fclose(file);
}

static int plain(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	struct dirent **found;
	int suites = scandir(SUITES, &found, plain, alphasort);

	puts("KTAP version 1");
	if (suites < 0)
		suites = 0;
	for (int i = 0; i < suites; i++)
		tell(found[i]->d_name);
	for (int want = 1; want < argc; want++) {
		bool there = false;

		for (int i = 0; i < suites && !there; i++)
			there = !strcmp(found[i]->d_name, argv[want]);
		if (!there)
			missing(argv[want], "no module brought this suite");
	}
	printf("1..%u\n", told);
	return fflush(stdout) || failed || !told ? LAB_FAIL : LAB_PASS;
}
