// open-rules DIRECTORY NODE: opens a node of ours in /dev/vfio and a device (or a plain file) of the kernel's own that lies beside it, along the same ways, with the same
// rules, as the same users. Both must come to the same errno: the kernel's. DIRECTORY is empty and everybody's.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GET_API_VERSION 0x3b64
#define GROUP_GET_STATUS 0x3b67
#define MOST_TRIES 100
#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20
#endif

struct how { uint64_t flags, mode, resolve; };

static const char *OURS;
static const char *const THEIRS = "beside";
static struct stat beside;
static int count, differing;
// which of the directories is /
enum { ROOT = 3 };
static const char *who = "user";

// The path with each % in it replaced by a name.
static const char *named(const char *path, const char *name)
{
	static char text[8192];
	char *to = text;
	for (; *path; path++) {
		if (*path != '%')
			*to++ = *path;
		else
			to = stpcpy(to, name);
	}
	*to = 0;
	return text;
}

static int result(int fd)
{
	return fd < 0 ? -errno : fd;
}

static int open_by(int dir, const char *path, struct how how)
{
	if (how.resolve == ~0ull)
		return result(openat(dir, path, how.flags, 0));
	/* any rename or mount on the machine meets a walk that is kept below a directory (openat2(2)): then it is made again */
	for (int left = how.resolve & RESOLVE_CACHED ? 0 : MOST_TRIES;; left--) {
		int got = result(syscall(SYS_openat2, dir, path, &how, sizeof how));
		if (got != -EAGAIN || left == 0)
			return got;
	}
}

static int is_served(int fd)
{
	uint32_t status[] = {8, 0};
	return ioctl(fd, GET_API_VERSION) == 0 || ioctl(fd, GROUP_GET_STATUS, status) == 0;
}

static void compare(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	struct how how = {flags, 0, resolve};
	int ours = open_by(dir, named(path, OURS), how), served = ours >= 0 && is_served(ours);
	int theirs = open_by(dir, named(path, THEIRS), how);
	struct stat opened;
	// with O_CREAT plain files are made as well
	int device = theirs >= 0 && fstat(theirs, &opened) == 0 && opened.st_ino == beside.st_ino && opened.st_dev == beside.st_dev;
	count++;
	if ((ours < 0 ? ours : 0) != (theirs < 0 ? theirs : 0) || served != device) {
		differing++;
		printf("as %s: %s of %d, flags %#llo resolve %#llx: %d, want %d; served %d\n", who, path, dir, (unsigned long long)flags,
			(unsigned long long)resolve, ours, theirs, served);
	}
	if (ours >= 0)
		close(ours);
	if (theirs >= 0)
		close(theirs);
}

static void compare_all(const char *directory)
{
	const char *paths[] = {"/dev/vfio/%", "/dev/vfio/%/", "/dev//vfio/./%", "/dev/vfio/../vfio/%", "vfio/%", "./vfio/%", "../dev/vfio/%", "%", "../vfio/%",
		"/vfio/%", "/%", "absolute-%", "relative-%", "trap/absolute-%", "loop-%", "slash-%", "closed/%", "searched/%", "dir/vfio/%", "/proc/self/root/dev/vfio/%",
		"/proc/self/cwd/absolute-%", "/proc/thread-self/root/dev/vfio/%", "/proc/1/root/dev/vfio/%", "missing/%", "absolute-%/x", "/dev/vfio/%/../%",
		"self/%", "here/%"};
	uint64_t flags[] = {O_RDWR, O_RDWR | O_NOFOLLOW, O_RDWR | O_CREAT, O_RDWR | O_DIRECTORY, O_RDWR | O_CREAT | O_EXCL, O_RDWR | O_TRUNC, O_RDWR | (1ull << 40)};
	int dirs[] = {AT_FDCWD, open("/dev", O_PATH), open("/dev/vfio", O_RDONLY), open("/", O_PATH), open(directory, O_PATH), open("/proc/self", O_PATH), 99};
	if (chdir(directory))
		perror(directory);
	for (int d = 0; d < sizeof dirs / sizeof *dirs; d++)
		for (int p = 0; p < sizeof paths / sizeof *paths; p++) {
			for (uint64_t resolve = 0; resolve <= 0x20; resolve++)
				compare(dirs[d], paths[p], O_RDWR, resolve == 0x20 ? ~0ull : resolve);
			for (int f = 0; f < sizeof flags / sizeof *flags; f++) {
				// nothing is made but in DIRECTORY and in the program's own /dev/vfio
				if ((flags[f] & O_CREAT) && (d == ROOT || strncmp(paths[p], "/%", 2) == 0 || strncmp(paths[p], "../", 3) == 0))
					continue;
				compare(dirs[d], paths[p], flags[f], 0);
				if (flags[f] < 1ull << 32)
					compare(dirs[d], paths[p], flags[f], ~0ull);
			}
		}
	compare(AT_FDCWD, "/dev/vfio/%", O_RDWR, 1ull << 40);
	for (int d = 1; d < sizeof dirs / sizeof *dirs - 1; d++)
		close(dirs[d]);
}

static void link_to(const char *directory, const char *name, const char *target)
{
	char text[512], at[512];
	for (int i = 0; i < 2; i++) {
		snprintf(at, sizeof at, "%s/%s", directory, named(name, i ? OURS : THEIRS));
		strcpy(text, named(target, i ? OURS : THEIRS));
		if (symlink(text, at) && errno != EEXIST)
			perror(at);
	}
}

static char *below(const char *directory, const char *name)
{
	char *path;
	if (asprintf(&path, "%s/%s", directory, name) < 0)
		abort();
	return path;
}

// In a process of its own, as somebody else.
static void as(const char *name, void (*become)(void), const char *directory)
{
	fflush(stdout);
	int pipes[2];
	if (pipe(pipes))
		abort();
	if (fork() == 0) {
		count = differing = 0;
		who = name;
		become();
		compare_all(directory);
		int numbers[] = {count, differing};
		fflush(stdout);
		_exit(write(pipes[1], numbers, sizeof numbers) != sizeof numbers);
	}
	close(pipes[1]);
	int numbers[2] = {0, 1};
	if (read(pipes[0], numbers, sizeof numbers) != sizeof numbers)
		printf("as %s: ended early\n", name);
	close(pipes[0]);
	wait(0);
	count += numbers[0];
	differing += numbers[1];
}

static void nobody(void)
{
	if (setgid(65534) || setuid(65534))
		perror("setuid");
}

static void nobody_of_files(void)
{
	// setfsuid() alone, by the system calls
	syscall(SYS_setgroups, 0, 0);
	syscall(SYS_setfsgid, 65534);
	syscall(SYS_setfsuid, 65534);
}

static void root_without_capabilities(void)
{
	struct { uint32_t version; int pid; } header = {0x20080522, 0};
	uint32_t data[6];
	syscall(SYS_capget, &header, data);
	data[0] = data[3] = 0;
	if (syscall(SYS_capset, &header, data))
		perror("capset");
}

static void within_vfio(void)
{
	if (chroot("/dev") || chdir("/"))
		perror("chroot");
}

int main(int argc, char **argv)
{
	const char *directory = argv[1];
	int root = geteuid() == 0;
	char node[64];
	OURS = argv[2];
	snprintf(node, sizeof node, "/dev/vfio/%s", OURS);
	umask(0);
	setvbuf(stdout, 0, _IOLBF, 1 << 16);
	if (root ? mknod("/dev/vfio/beside", S_IFCHR | 0666, 0x105) : close(open("/dev/vfio/beside", O_CREAT | O_WRONLY, 0666)))
		perror("mknod");
	if (chmod(node, 0666) || stat("/dev/vfio/beside", &beside))
		perror(node);
	mkdir(below(directory, "dir"), 0755);
	mkdir(below(directory, "trap"), 01777);
	mkdir(below(directory, "closed"), 0755);
	mkdir(below(directory, "searched"), 0755);
	link_to(directory, "absolute-%", "/dev/vfio/%");
	link_to(directory, "relative-%", "absolute-%");
	link_to(directory, "loop-%", "loop-%");
	link_to(directory, "slash-%", "/dev/vfio/%/");
	link_to(directory, "trap/absolute-%", "/dev/vfio/%");
	link_to(directory, "closed/%", "/dev/vfio/%");
	link_to(directory, "searched/%", "/dev/vfio/%");
	link_to(directory, "dir/vfio", "/dev/vfio");
	link_to(directory, "self", "/proc/self/cwd/dir/vfio");
	link_to(directory, "here", "dir/../dir/vfio");
	char trap[64];
	snprintf(trap, sizeof trap, "trap/absolute-%s", OURS);
	if (root && lchown(below(directory, trap), 1, 1) + lchown(below(directory, "trap/absolute-beside"), 1, 1))
		perror("lchown");
	chmod(below(directory, "searched"), 0711);
	chmod(below(directory, "closed"), root ? 0700 : 0);
	if (!root)
		compare_all(directory);
	else {
		who = "root";
		compare_all(directory);
		as("nobody", nobody, directory);
		as("nobody for files", nobody_of_files, directory);
		as("root without capabilities", root_without_capabilities, directory);
		if (chown(below(directory, "closed"), 1, 1))
			perror("chown");
		as("root without capabilities, where another user's directory is", root_without_capabilities, directory);
		chmod("/dev/vfio", 0700);
		as("nobody, who may not search /dev/vfio", nobody, directory);
		chmod("/dev/vfio", 0755);
		chmod(node, 0660), chmod("/dev/vfio/beside", 0660);
		as("nobody, whose the nodes are not", nobody, directory);
		as("nobody for files, whose the nodes are not", nobody_of_files, directory);
		if (mount("/dev", "/dev", 0, MS_BIND, 0) || mount(0, "/dev", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0))
			perror("mount");
		as("root with /dev read-only", within_vfio, "/vfio");
		if (mount(0, "/dev", 0, MS_REMOUNT | MS_BIND | MS_NODEV, 0))
			perror("remount");
		as("root with a /dev that has no devices", within_vfio, "/vfio");
	}
	printf("%d opens, %d differ\n", count, differing);
	return 0;
}
