// What programs may do with descriptors of ours, and what not. holding COMMAND
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/io_uring.h>

#define GET_API_VERSION 0x3b64
#define GET_DEVICE 0x3b6a
#define KIND_OF 0x3ba6
#define RAISE 0x3ba7
#define RELEASES 0x3bab

static int result(long value)
{
	return value < 0 ? -errno : value;
}

static int opened(const char *path, int flags)
{
	int fd = result(open(path, flags));
	return fd < 0 ? fd : 1;
}

static int again(int fd, int flags)
{
	char path[32];
	sprintf(path, "/proc/self/fd/%d", fd);
	return result(open(path, flags));
}

static int ask(int fd)
{
	return result(ioctl(fd, GET_API_VERSION));
}

static int device_of(int group)
{
	return result(ioctl(group, GET_DEVICE, "tiny"));
}

static int kind(int container, int fd)
{
	return ioctl(container, KIND_OF, &fd);
}

// Through /proc/self/fd a node is opened anew, and what has no node cannot be.
static void reopen(void)
{
	int group = open("/dev/vfio/12", O_RDWR), container = open("/dev/vfio/vfio", O_RDWR), device = device_of(group);
	int reading = again(group, O_RDONLY), other = again(container, O_RDONLY), third = again(container, O_RDWR);
	printf("group: %d, for reading: %d\n", again(group, O_RDWR), reading < 0 ? reading : ask(reading));
	printf("container: %d and %d, itself %d\n", ask(other), ask(third), ask(container));
	int read_device = again(device, O_RDONLY);
	printf("device: %d, for reading: %d\n", again(device, O_RDWR), read_device < 0 ? read_device : ask(read_device));
	printf("afterwards: group %d device %d\n", ask(group), ask(device));
	close(reading);
	close(device);
	close(group);
	group = open("/dev/vfio/12", O_RDWR);
	printf("after the last close: %d\n", group < 0 ? -errno : ask(group));
}

static void path_only(void)
{
	int container = open("/dev/vfio/vfio", O_RDWR), event = eventfd(0, 0);
	int node = open("/dev/vfio/vfio", O_PATH), file = again(container, O_PATH), counter = again(event, O_PATH);
	printf("node %d, container %d, itself %d\n", ask(node), ask(file), ask(container));
	printf("kinds: eventfd %d, by path %d, container %d, by path %d\n", kind(container, event), kind(container, counter),
		kind(container, container), kind(container, file));
}

// How many containers there can be, and that all is well again when they are closed.
static void shortage(void)
{
	int fds[1000], count = 0, fd, errors[2];
	struct rlimit limit = {1000, 1000};
	setrlimit(RLIMIT_NOFILE, &limit);
	for (int round = 0; round < 2; round++) {
		for (count = 0; (fd = open("/dev/vfio/vfio", O_RDWR)) >= 0; count++)
			fds[count] = fd;
		errors[round] = -errno;
		printf("some: %d, then %d, the last %d, others %d\n", count > 4 && count < 300, errors[round], ask(fds[count - 1]), opened("/dev/zero", O_RDWR));
		while (count > 0)
			close(fds[--count]);
	}
	fd = open("/dev/vfio/vfio", O_RDWR);
	printf("afterwards: %d\n", ask(fd));
}

// A counter that is as high as write() makes it, in a blocking eventfd: nobody waits. The kernel's own signal makes it one higher, and is lost then.
static void full_event(void)
{
	uint64_t most = 0xfffffffffffffffe, value = 0;
	int container = open("/dev/vfio/vfio", O_RDWR), event = eventfd(0, 0);
	if (write(event, &most, 8) != 8)
		perror("write");
	for (int i = 0; i < 2; i++)
		printf("raised: %d ", result(ioctl(container, RAISE, &event)));
	printf("highest: %d\n", read(event, &value, 8) == 8 && value >= most);
}

static int racing;

// Waits until the counter is 0, and has it full then.
static void *fill(void *nothing)
{
	uint64_t most = 0xfffffffffffffffe;
	while (write(racing, &most, 8) == 8)
		;
	return nothing;
}

// The same while a thread fills it up: between a look at the counter and a write to it, too.
static void filled_event(void)
{
	int container = open("/dev/vfio/vfio", O_RDWR), raised = 0;
	uint64_t value;
	struct iovec all = { &value, sizeof value };
	pthread_t filler;
	racing = eventfd(0, 0);
	pthread_create(&filler, 0, fill, 0);
	for (int i = 0; i < 3000; i++) {
		preadv2(racing, &all, 1, -1, RWF_NOWAIT);
		raised += ioctl(container, RAISE, &racing) == 0;
	}
	printf("raised: %d\n", raised);
}

static void say(const char *who)
{
	printf("%s\n", who);
	fflush(stdout);
}

static const char *name;

static void told(int signal)
{
	char text[64];
	int length = snprintf(text, sizeof text, "told %s\n", name);
	if (write(1, text, length) != length)
		_exit(1);
}

static void wait_as(const char *who)
{
	name = who;
	for (int i = 0; i < 2; i++)
		sleep(3);
	_exit(0);
}

// A program with children of all sorts, each of which says when it is told to end.
static void family(void)
{
	signal(SIGTERM, told);
	if (fork() == 0) {
		if (fork() == 0)
			wait_as("grandchild");
		wait_as("child");
	}
	if (fork() == 0) {
		setsid();
		if (fork() == 0)
			wait_as("orphan");
		_exit(0);
	}
	if (fork() == 0) {
		if (unshare(CLONE_NEWNS))
			perror("unshare");
		wait_as("one with mounts of its own");
	}
	if (fork() == 0) {
		if (setgid(65534) || setuid(65534))
			perror("setuid");
		wait_as("one of another user");
	}
	usleep(300000);
	say("ready");
	wait_as("program");
}

// Descriptors that another process takes out of this one, and what is left when this one closes all of its own.
static void taken(void)
{
	int group = open("/dev/vfio/12", O_RDWR), device = device_of(group), ready[2], done[2];
	char c;
	if (pipe(ready) || pipe(done))
		exit(1);
	int parent = getpid();
	if (fork() == 0) {
		syscall(SYS_close_range, 3, ~0u, 0);
		printf("all closed: %d", ask(group));
		int pidfd = syscall(SYS_pidfd_open, parent, 0);
		int copy = syscall(SYS_pidfd_getfd, pidfd, group, 0), second = syscall(SYS_pidfd_getfd, pidfd, device, 0);
		printf(", taken: %d %d", ask(copy), ask(second));
		fflush(stdout);
		kill(parent, SIGUSR1);
		usleep(100000);
		printf(", held alone: %d, busy %d", ask(copy), opened("/dev/vfio/12", O_RDWR));
		close(copy);
		close(second);
		printf(", let go: %d\n", opened("/dev/vfio/12", O_RDWR));
		fflush(stdout);
		_exit(0);
	}
	sigset_t set;
	int number;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, 0);
	sigwait(&set, &number);
	syscall(SYS_close_range, 3, ~0u, 0);
	wait(0);
}

static void in_another_root(void)
{
	char directory[] = "/tmp/uvfio-root-XXXXXX";
	if (!mkdtemp(directory) || unshare(CLONE_NEWNS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) || mount("none", directory, "tmpfs", 0, 0) || chdir(directory) ||
		mkdir("dev", 0755) || mkdir("old", 0755) || mount("/dev", "dev", 0, MS_BIND | MS_REC, 0))
		perror("tmpfs");
	if (fork() == 0) {
		printf("chroot: %d\n", chroot(".") ? -errno : opened("/dev/vfio/12", O_RDWR));
		fflush(stdout);
		_exit(0);
	}
	wait(0);
	if (syscall(SYS_pivot_root, ".", "old") || chdir("/"))
		perror("pivot_root");
	int group = open("/dev/vfio/12", O_RDWR);
	printf("pivot_root: %d, busy %d", ask(group), opened("/old/dev/vfio/12", O_RDWR));
	umount2("/old", MNT_DETACH);
	printf(", the old one gone: %d\n", opened("/dev/vfio/vfio", O_RDWR));
	fflush(stdout);
	rmdir(directory);
}

// One operation of io_uring: its result.
static int ring_do(struct io_uring_sqe what)
{
	struct io_uring_params params = {0};
	int ring = syscall(SYS_io_uring_setup, 1, &params);
	if (ring < 0)
		return -errno;
	char *sq = mmap(0, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	char *cq = mmap(0, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *entries = mmap(0, params.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	entries[0] = what;
	((uint32_t *)(sq + params.sq_off.array))[0] = 0;
	(*(uint32_t *)(sq + params.sq_off.tail))++;
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) < 0)
		return -errno;
	int answer = ((struct io_uring_cqe *)(cq + params.cq_off.cqes))[0].res;
	close(ring);
	return answer;
}

static void ring(void)
{
	struct io_uring_sqe sqe = {.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uint64_t)(uintptr_t)"/dev/vfio/12", .open_flags = O_RDWR};
	int group = ring_do(sqe);
	if (group == -EPERM || group == -ENOSYS) {
		printf("none here\n");
		return;
	}
	printf("opened: %d, served: %d", group >= 0, ask(group));
	printf(", busy: %d\n", opened("/dev/vfio/12", O_RDWR));
	char byte = 1;
	struct io_uring_sqe get = {.opcode = IORING_OP_READ, .fd = group, .addr = (uint64_t)(uintptr_t)&byte, .len = 1, .off = -1};
	printf("a group is read: %d\n", ring_do(get));
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
#define COMMAND(text, call) if (strcmp(command, text) == 0) return call(), 0
	COMMAND("reopen", reopen);
	COMMAND("path-only", path_only);
	COMMAND("shortage", shortage);
	COMMAND("full-event", full_event);
	COMMAND("filled-event", filled_event);
	COMMAND("family", family);
	COMMAND("taken", taken);
	COMMAND("another-root", in_another_root);
	COMMAND("io-uring", ring);
	fprintf(stderr, "no command \"%s\"\n", command);
	return 2;
}
