/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root of a nested lab host: the host's file system as it is there, read-only, with memory over what
 * must be writable. Included by init.c alone.
 *
 * The tree comes through 9p, served by an unprivileged QEMU. So what that user may not read on the host is
 * not there: a folder below such a one has a share of its own, mounted over an empty folder of that name.
 */
#ifndef HOSTROOT_H
#define HOSTROOT_H

#define NEW_ROOT "/newroot"
#define LAYERS NEW_ROOT "/lab/layers"

struct share {
	char *tag, *path;
	bool scratch;	/* may be written to, in memory */
};

static const char *const own_folders[] = { "dev", "proc", "sys", "tmp", "run", "lab" };

static void join(char *path, size_t size, const char *format, const char *first, const char *second)
{
	if (snprintf(path, size, format, first, second) >= (int)size)
		give_up("mount", "a path is too long: %s", second);
}

static void mount_share(const struct share *share, const char *where)
{
	/* Nothing changes below what is read here but by new names: all may be kept once it was read. */
	if (mount(share->tag, where, "9p", MS_RDONLY | MS_NOSUID | MS_NODEV,
		  "trans=virtio,version=9p2000.L,msize=262144,cache=loose"))
		give_up("mount", "cannot mount the host's %s: %s", share->path, strerror(errno));
}

/* The folder, made if it is not there; false if neither can be. */
static bool have_folder(const char *path)
{
	struct stat about;

	if (!stat(path, &about))
		return S_ISDIR(about.st_mode);
	return !mkdir(path, 0755);
}

/* Make all folders of `path`, with memory over the first one below which QEMU's user may look at nothing. */
static void make_way(char *path)
{
	for (char *slash = path + strlen(NEW_ROOT) + 1; slash; ) {
		slash = strchr(slash, '/');
		if (slash)
			*slash = '\0';
		if (!have_folder(path)) {
			char *last = strrchr(path, '/');

			*last = '\0';
			mount_one("tmpfs", path, "mode=0755", true);
			*last = '/';
			if (!have_folder(path))
				give_up("mount", "cannot make %s: %s", path, strerror(errno));
		}
		if (slash)
			*slash++ = '/';
	}
}

static void mount_scratch(const struct share *share, const char *where, int number)
{
	static const char *const kinds[] = { "lower", "upper", "work" };
	char layer[3][96], options[400];

	mkdir(LAYERS, 0755);
	for (int i = 0; i < 3; i++) {
		snprintf(layer[i], sizeof(layer[i]), LAYERS "/%d-%s", number, kinds[i]);
		mkdir(layer[i], 0755);
	}
	mount_share(share, layer[0]);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", layer[0], layer[1], layer[2]);
	if (mount("overlay", where, "overlay", MS_NOSUID, options))
		give_up("mount", "cannot lay memory over the host's %s: %s", share->path, strerror(errno));
}

static bool is_own(const char *name)
{
	for (size_t i = 0; i < sizeof(own_folders) / sizeof(*own_folders); i++)
		if (!strcmp(name, own_folders[i]))
			return true;
	return false;
}

/* The host's root folder, entry by entry, into a root of memory, so that new folders can stand beside them. */
static void bind_entries(const char *from)
{
	struct dirent *entry;
	DIR *folder = opendir(from);

	if (!folder)
		give_up("mount", "cannot read the host's root folder: %s", strerror(errno));
	while ((entry = readdir(folder))) {
		char source[512], target[512], link[512];
		struct stat about;
		ssize_t length;

		if (entry->d_name[0] == '.' || is_own(entry->d_name))
			continue;
		join(source, sizeof(source), "%s/%s", from, entry->d_name);
		join(target, sizeof(target), "%s/%s", NEW_ROOT, entry->d_name);
		if (lstat(source, &about))
			continue;
		if (S_ISLNK(about.st_mode) && (length = readlink(source, link, sizeof(link) - 1)) > 0) {
			link[length] = '\0';
			if (symlink(link, target))
				give_up("mount", "cannot link %s: %s", target, strerror(errno));
		} else if (S_ISDIR(about.st_mode)) {
			mkdir(target, 0755);
			if (mount(source, target, NULL, MS_BIND, NULL))
				give_up("mount", "cannot bind %s: %s", source, strerror(errno));
		}
	}
	closedir(folder);
}

static void move_own_folders(void)
{
	for (size_t i = 0; i < sizeof(own_folders) / sizeof(*own_folders); i++) {
		char from[32], to[64];

		join(from, sizeof(from), "%s/%s", "", own_folders[i]);
		join(to, sizeof(to), "%s/%s", NEW_ROOT, own_folders[i]);
		mkdir(to, 0755);
		if (strcmp(own_folders[i], "lab") && mount(from, to, NULL, MS_MOVE, NULL))
			give_up("mount", "cannot move %s: %s", from, strerror(errno));
	}
	mount_one("devpts", NEW_ROOT "/dev/pts", "mode=0620,ptmxmode=0666", false);
	mount_one("tmpfs", NEW_ROOT "/dev/shm", NULL, true);
}

/* Enter the host's root. `shares[0]` is "/", the others lie below it, outer ones before inner ones. */
static void enter_host_root(const struct share *shares, int count)
{
	const char *root = NEW_ROOT "/lab/host";

	mount_one("tmpfs", NEW_ROOT, "mode=0755", true);
	mkdir(NEW_ROOT "/lab", 0755);
	mkdir(root, 0755);
	mount_share(&shares[0], root);
	bind_entries(root);
	move_own_folders();
	mkdir(NEW_ROOT OUT_DIR, 0755);
	for (int i = 1; i < count; i++) {
		char where[512];

		join(where, sizeof(where), "%s%s", NEW_ROOT, shares[i].path);
		make_way(where);
		if (shares[i].scratch)
			mount_scratch(&shares[i], where, i);
		else
			mount_share(&shares[i], where);
	}
	if (chdir(NEW_ROOT) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		give_up("mount", "cannot enter the host's root: %s", strerror(errno));
}

#endif
