/*
 * Makes the calls that the tests of src/interpose look at, against the tiny host of test/interpose/tiny-kernel.ts, and
 * prints what came back. interpose-client COMMAND [ARG...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VERSION 0x3b64
#define EXTENSION 0x3b65
#define GET_DEVICE 0x3b6a
#define COPY 0x3ba0
#define PIN 0x3ba1
#define UNPIN 0x3ba2
#define REVERSE 0x3ba3
#define LENGTH 0x3ba4
#define WHO_AM_I 0x3ba5
#define KIND_OF 0x3ba6
#define RAISE 0x3ba7
#define CRASH 0x3ba8
#define SLEEP 0x3ba9
#define PEEK 0x3baa
#define RELEASES 0x3bab
#define PARAMETER 0x3bac
#define MEMORY_ID 0x3bad
#define WATCH 0x3bae
#define WATCHED 0x3baf
#define PAGE 4096ul
#define REGION(i) ((off_t)(i) << 40)

extern char **environ;

static int result(int value) { return value < 0 ? -errno : value; }
static int container(void) { return open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC); }
static int device(void)
{
	int group = open("/dev/vfio/12", O_RDWR | O_CLOEXEC);
	int fd = ioctl(group, GET_DEVICE, "tiny");
	close(group);
	return fd;
}
static int ask(int fd, unsigned long request, unsigned long arg) { return result(ioctl(fd, request, arg)); }
static void *map(size_t pages, int protection) { return mmap(0, pages * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

static int pin(int fd, void *at, unsigned pages, int write, uint64_t budget, uint64_t *charged)
{
	struct { uint64_t vaddr; uint32_t pages, write; uint64_t budget; } in = {(uintptr_t)at, pages, write, budget};
	int id = ask(fd, PIN, (unsigned long)&in);
	if (charged)
		*charged = in.budget;
	return id;
}

static int reverse(int fd, int id, void *vaddr, uint64_t offset, uint32_t length)
{
	struct { uint32_t pin, length; uint64_t vaddr, offset; } in = {id, length, (uintptr_t)vaddr, offset};
	return ask(fd, REVERSE, (unsigned long)&in);
}

static int copy(int fd, const void *from, void *to, uint64_t length)
{
	struct { uint64_t from, to, length; } in = {(uintptr_t)from, (uintptr_t)to, length};
	return ask(fd, COPY, (unsigned long)&in);
}

static void basic(void)
{
	int c = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	printf("container opened=%d cloexec=%d\n", c >= 0, fcntl(c, F_GETFD) & FD_CLOEXEC);
	printf("version=%d extension 3=%d 2=%d\n", ask(c, VERSION, 0), ask(c, EXTENSION, 3), ask(c, EXTENSION, 2));
	int g = open("/dev/vfio/12", O_RDWR), again = result(open("/dev/vfio/12", O_RDWR));
	printf("group opened=%d again=%d cloexec=%d\n", g >= 0, again, fcntl(g, F_GETFD) & FD_CLOEXEC);
	printf("no node=%d\n", result(open("/dev/vfio/99", O_RDWR)));
	int d = ioctl(g, GET_DEVICE, "tiny");
	printf("device=%d cloexec=%d wrong name=%d\n", d > g, fcntl(d, F_GETFD) & FD_CLOEXEC, ask(g, GET_DEVICE, (unsigned long)"other"));
	printf("unknown request=%d not open=%d foreign=%d\n", ask(c, 0x3bf0, 0), ask(77, VERSION, 0), ask(0, VERSION, 0));
	printf("string length=%d\n", ask(c, LENGTH, (unsigned long)"twelve bytes"));
}

static void kinds(void)
{
	int c = container(), g = open("/dev/vfio/12", O_RDWR), d = ioctl(g, GET_DEVICE, "tiny");
	int event = eventfd(0, EFD_NONBLOCK), null = open("/dev/null", O_RDONLY), missing = 300, negative = -1;
	int *all[] = {&c, &g, &d, &event, &null, &missing, &negative};
	for (int i = 0; i < 7; i++)
		printf("%d ", ask(c, KIND_OF, (unsigned long)all[i]));
	uint64_t count = 0;
	printf("raise=%d", ask(c, RAISE, (unsigned long)&event));
	printf(" read=%zd", read(event, &count, 8));
	printf(" count=%llu", (unsigned long long)count);
	printf(" not an event=%d\n", ask(c, RAISE, (unsigned long)&null));
}

static void regions(void)
{
	int d = device();
	uint64_t value = 0;
	printf("pread config=%zd", pread(d, &value, 4, REGION(7) + 4));
	printf(" value=%llx\n", (unsigned long long)value);
	value = 0;
	printf("pread small BAR0=%zd", pread(d, &value, 4, 0));
	printf(" value=%llx\n", (unsigned long long)value);
	uint8_t bulk[64] = {0};
	printf("pread bulk BAR0=%zd", pread(d, bulk, sizeof bulk, 0));
	printf(" first=%x\n", bulk[0]);
	struct iovec parts[2] = {{&bulk[0], 3}, {&bulk[8], 2}};
	printf("preadv=%zd", preadv(d, parts, 2, REGION(2)));
	printf(" value=%x%x%x %x%x\n", bulk[0], bulk[1], bulk[2], bulk[8], bulk[9]);
	printf("preadv2=%zd\n", preadv2(d, parts, 2, REGION(3), 0));
	value = 0x1122;
	uint64_t where = REGION(1) + 16, second = REGION(1) + 40;
	printf("pwrite=%zd", pwrite(d, &value, 2, REGION(1) + 16));
	printf(" memory=%x\n", ask(d, PEEK, (unsigned long)&where));
	bulk[0] = 0x44;
	printf("pwritev=%zd", pwritev(d, parts, 1, REGION(1) + 40));
	printf(" memory=%x\n", ask(d, PEEK, (unsigned long)&second));
	printf("pread bad buffer=%d\n", result(pread(d, (void *)1, 4, REGION(7))));
	int c = container();
	printf("pread of a container=%d negative offset=%d\n", result(pread(c, &value, 4, 0)), result(pread(d, &value, 4, -1)));
	volatile uint8_t *bar = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, d, REGION(1));
	uint64_t mapped = REGION(1) + 99;
	bar[99] = 0x5a;
	printf("mmap=%d written by us=%x read by us=%x\n", bar != MAP_FAILED, ask(d, PEEK, (unsigned long)&mapped), bar[16]);
	printf("mmap config=%d", mmap(0, PAGE, PROT_READ, MAP_SHARED, d, REGION(7)) == MAP_FAILED ? -errno : 0);
	printf(" container=%d", mmap(0, PAGE, PROT_READ, MAP_SHARED, c, 0) == MAP_FAILED ? -errno : 0);
	printf(" private=%d\n", mmap(0, PAGE, PROT_READ, MAP_PRIVATE, d, REGION(7)) == MAP_FAILED ? -errno : 0);
}

/* Each argument of a printf() may be evaluated first: one call a line of these. */
#define SAY(format, value) do { long said = (long)(value); printf(format, said < 0 ? (long)-errno : said); } while (0)

static void positions(void)
{
	int d = device(), c = container(), low = dup(d), from = open("/proc/self/exe", O_RDONLY);
	uint8_t bulk[PAGE] = {0}, byte = 0x66;
	struct iovec parts[3] = {{bulk, 3}, {bulk + 8, 0}, {bulk + 16, 2}}, one = {&byte, 1}, bad[2] = {{bulk, 4}, {(void *)1, 4}}, endless = {bulk, -1};
	uint64_t where = PAGE - 3, second = PAGE - 2;
	SAY("pread=%ld", pread(d, bulk, sizeof bulk, 0));
	SAY(" first=%lx", bulk[0]);
	bulk[0] = bulk[16] = 0;
	SAY(" preadv=%ld", preadv(d, parts, 3, 0));
	printf(" %x %x\n", bulk[0], bulk[16]);
	bulk[0] = bulk[16] = 0;
	SAY("read=%ld", read(d, bulk, PAGE - 8));
	SAY(" first=%lx", bulk[0]);
	SAY(" readv=%ld", readv(d, parts, 3));
	SAY(" value=%lx", bulk[16]);
	SAY(" write=%ld", write(d, &byte, 1));
	SAY(" memory=%lx", ask(d, PEEK, (unsigned long)&where));
	SAY(" writev=%ld", writev(d, &one, 1));
	SAY(" memory=%lx", ask(d, PEEK, (unsigned long)&second));
	SAY(" read=%ld", read(d, bulk, 1));
	SAY(" %lx", bulk[0]);
	SAY(" read=%ld", read(d, bulk, 1));
	SAY(" %lx\n", bulk[0]);
	SAY("preadv2 at the position=%ld", preadv2(d, &one, 1, -1, 0));
	SAY(" %lx", byte);
	SAY(" with a flag=%ld", preadv2(d, &one, 1, 0, RWF_NOWAIT));
	SAY(" beyond 2^53=%ld", pread(d, bulk, 8, 1l << 60));
	SAY(" negative=%ld\n", preadv(d, &one, 1, -2));
	SAY("second part bad=%ld", preadv(d, bad, 2, 0));
	SAY(" first bad=%ld", preadv(d, bad + 1, 1, 0));
	SAY(" negative length=%ld", readv(d, &endless, 1));
	SAY(" nothing=%ld", read(d, bulk, 0));
	SAY(" lseek=%ld", lseek(d, 0, SEEK_CUR));
	SAY(" unknown whence=%ld\n", lseek(d, 0, 9));
	SAY("container: read=%ld", read(c, bulk, 8));
	SAY(" write=%ld", write(c, bulk, 8));
	SAY(" writev=%ld", writev(c, parts, 1));
	SAY(" pread=%ld", pread(c, bulk, 8, 0));
	SAY(" pwrite=%ld", pwrite(c, bulk, 8, 0));
	SAY(" then read=%ld\n", read(c, bulk, 4096));
	SAY("a copy with a low number: read=%ld", read(low, bulk, 8));
	SAY(" write=%ld", write(low, bulk, 8));
	bulk[0] = 0;
	SAY(" pread=%ld", pread(low, bulk, 8, 0));
	SAY(" %lx", bulk[0]);
	SAY(" ftruncate=%ld", ftruncate(low, 0));
	SAY(" container's pwrite=%ld\n", pwrite(dup(c), bulk, 16, 0));
	SAY("foreign: read=%ld", read(from, bulk, 8));
	SAY(" position=%ld\n", lseek(from, 0, SEEK_CUR));
	int often = dup(from);
	for (int i = 0; i < 4; i++)
		pread(often, bulk, 8, 0);
	SAY("foreign, small: pread=%ld", pread(often, bulk, 8, 0));
	SAY(" %lx", bulk[0]);
	dup2(d, often);
	SAY(" then a device: pread=%ld", pread(often, bulk, 8, 0));
	SAY(" %lx\n", bulk[0]);
	dup2(from, 1000);
	SAY("foreign with one of our numbers: read=%ld", read(1000, bulk, 8));
	SAY(" pread=%ld", pread(1000, bulk, 64, 0));
	SAY(" position=%ld\n", lseek(1000, 0, SEEK_CUR));
	for (int i = 960; i < 1024; i++)
		if (fcntl(i, F_GETFD) < 0)
			dup2(from, i);
	int more = device();
	printf("no number of ours free: low=%d answers=%d", more < 960, ask(more, EXTENSION, 3));
	SAY(" read=%ld", read(more, bulk, 8));
	SAY(" write=%ld\n", write(more, bulk, 8));
	int writer = open("/dev/vfio/12", O_WRONLY), fd = ioctl(writer, GET_DEVICE, "tiny");
	SAY("write-only group: read=%ld", read(writer, bulk, 8));
	SAY(" device=%ld\n", pread(fd, bulk, 8, 0));
}

static void status(const char *path, int flags)
{
	struct stat st = {0}, at = {0};
	struct statx x = {0};
	int fd = open(path, flags);
	fstat(fd, &st);
	fstatat(fd, "", &at, AT_EMPTY_PATH);
	statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x);
	printf("%s char=%d rdev=%u:%u fstatat=%u:%u statx=%u:%u mode=%o size=%ld\n", path, S_ISCHR(st.st_mode), major(st.st_rdev),
	       minor(st.st_rdev), major(at.st_rdev), minor(at.st_rdev), x.stx_rdev_major, x.stx_rdev_minor, st.st_mode & 0777, (long)st.st_size);
	close(fd);
}

static void stats(void)
{
	status("/dev/vfio/vfio", O_RDWR);
	status("/dev/vfio/12", O_RDWR);
	status("/dev/vfio/vfio", O_RDONLY);
	struct stat st = {0};
	int d = device();
	fstat(d, &st);
	printf("device mode=%o rdev=%lx size=%ld\n", st.st_mode, (unsigned long)st.st_rdev, (long)st.st_size);
	int file = open("/proc/self/exe", O_RDONLY);
	struct stat named = {0};
	fstat(file, &st);
	stat("/proc/self/exe", &named);
	printf("foreign same=%d bad fd=%d\n", st.st_ino == named.st_ino && st.st_size == named.st_size, result(fstat(99, &st)));
}

static void read_only(void)
{
	int c = open("/dev/vfio/vfio", O_RDONLY | O_CLOEXEC);
	printf("version=%d extension=%d", ask(c, VERSION, 0), ask(c, EXTENSION, 3));
	printf(" cloexec=%d access=%d\n", fcntl(c, F_GETFD) & FD_CLOEXEC, fcntl(c, F_GETFL) & O_ACCMODE);
	int first = open("/dev/vfio/12", O_RDONLY), second = open("/dev/vfio/12", O_RDONLY);
	int answers[2] = {ask(first, EXTENSION, 1), ask(second, EXTENSION, 1)};
	printf("first=%d second=%d\n", answers[0], answers[1]);
	close(first);
	printf("then=%d", ask(second, EXTENSION, 1));
	close(second);
	printf(" releases=%d\n", ask(c, RELEASES, 0));
	int path = open("/dev/vfio/vfio", O_PATH);
	printf("O_PATH=%d\n", ask(path, VERSION, 0));
}

static void paths(void)
{
	char dir[] = "/tmp/interpose-XXXXXX";
	if (!mkdtemp(dir) || chdir(dir))
		exit(1);
	const char *target = "/dev/vfio/vfio";
	symlink(target, "absolute");
	symlink("../../dev/vfio/vfio", "relative");
	symlink("/dev/vfio", "folder");
	const char *names[] = {"absolute", "relative", "folder/vfio", "/dev/../dev/./vfio//vfio", "../../dev/vfio/vfio", "missing"};
	for (int i = 0; i < 6; i++) {
		int fd = open(names[i], O_RDWR);
		printf("%s=%d ", names[i], fd < 0 ? -errno : ask(fd, EXTENSION, 1));
		close(fd);
	}
	int base = open("/dev/vfio", O_RDONLY | O_DIRECTORY);
	int fd = openat(base, "vfio", O_RDWR);
	printf("openat=%d ", ask(fd, EXTENSION, 1));
	struct { uint64_t flags, mode, resolve; } how = {O_RDWR | O_CLOEXEC, 0, 0};
	fd = syscall(437, base, "vfio", &how, sizeof how);
	printf("openat2=%d ", ask(fd, EXTENSION, 1));
	printf("nofollow=%d ", result(open("absolute", O_RDWR | O_NOFOLLOW)));
	printf("exclusive=%d ", result(open(target, O_RDWR | O_CREAT | O_EXCL, 0600)));
	printf("create=%d ", ask(open(target, O_RDWR | O_CREAT, 0600), EXTENSION, 1));
	printf("bad path=%d\n", result(syscall(SYS_openat, AT_FDCWD, (char *)1, O_RDWR)));
	unlink("absolute"), unlink("relative"), unlink("folder");
	chdir("/");
	rmdir(dir);
}

static void *many_calls(void *count)
{
	long bad = 0;
	int c = container();
	for (int i = 0; i < *(int *)count; i++)
		bad += ioctl(c, VERSION) != 0 || ioctl(c, EXTENSION, 3) != 1;
	close(c);
	return (void *)bad;
}

static void threads(int number, int calls)
{
	pthread_t ids[64];
	long bad = 0;
	for (int i = 0; i < number; i++)
		pthread_create(&ids[i], 0, many_calls, &calls);
	for (int i = 0; i < number; i++) {
		void *one;
		pthread_join(ids[i], &one);
		bad += (long)one;
	}
	printf("%d threads bad=%ld\n", number, bad);
}

static void children(void)
{
	int c = open("/dev/vfio/vfio", O_RDWR), status;
	char number[16];
	char *arguments[] = {"client", "inherited", number, 0};
	sprintf(number, "%d", c);
	fflush(stdout);
	if (!fork()) {
		printf("fork: inherited=%d own=%d\n", ask(c, EXTENSION, 3), ask(container(), EXTENSION, 3));
		fflush(stdout);
		execv("/proc/self/exe", arguments);
		_exit(9);
	}
	wait(&status);
	pid_t pid;
	posix_spawn(&pid, "/proc/self/exe", 0, 0, arguments, environ);
	waitpid(pid, &status, 0);
	printf("posix_spawn: status=%d\n", WEXITSTATUS(status));
	fflush(stdout);
	if (!vfork()) {
		execv("/proc/self/exe", arguments);
		_exit(9);
	}
	wait(&status);
	printf("vfork: status=%d\n", WEXITSTATUS(status));
}

static void passing(void)
{
	int pair[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	union { struct cmsghdr head; char space[CMSG_SPACE(sizeof(int))]; } control;
	struct iovec byte = {"x", 1};
	struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	char room;
	if (!fork()) {
		struct iovec in = {&room, 1};
		message.msg_iov = &in;
		recvmsg(pair[1], &message, 0);
		int fd = *(int *)CMSG_DATA(&control.head);
		printf("received: group=%d", ask(fd, EXTENSION, 1));
		printf(" busy=%d\n", result(open("/dev/vfio/12", O_RDWR)));
		close(fd);
		printf("after close: opened=%d\n", open("/dev/vfio/12", O_RDWR) >= 0);
		fflush(stdout);
		_exit(0);
	}
	int group = open("/dev/vfio/12", O_RDWR);
	control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.head), &group, sizeof group);
	sendmsg(pair[0], &message, 0);
	close(group);
	wait(0);
}

static void last_close(void)
{
	int c = container(), group = open("/dev/vfio/12", O_RDWR), before = ask(c, RELEASES, 0);
	int second = dup(group);
	close(group);
	printf("dup held: busy=%d", result(open("/dev/vfio/12", O_RDWR)));
	close(second);
	group = open("/dev/vfio/12", O_RDWR);
	printf(" then opened=%d releases=%d\n", group >= 0, ask(c, RELEASES, 0) - before);
	int d = ioctl(group, GET_DEVICE, "tiny");
	void *bar = mmap(0, PAGE, PROT_READ, MAP_SHARED, d, REGION(1));
	close(d);
	printf("mapping held: releases=%d", ask(c, RELEASES, 0) - before);
	munmap(bar, PAGE);
	printf(" then=%d\n", ask(c, RELEASES, 0) - before);
	int reopened;
	char path[32];
	sprintf(path, "/proc/self/fd/%d", group);
	reopened = open(path, O_RDONLY);
	close(reopened);
	printf("reopened through /proc: releases=%d", ask(c, RELEASES, 0) - before);
	printf(" still answers=%d\n", ask(group, EXTENSION, 1));
	for (int i = 0; i < 200; i++) {
		close(group);
		group = open("/dev/vfio/12", O_RDWR);
		if (group < 0) {
			printf("busy after close\n");
			return;
		}
	}
	printf("200 times closed and opened\n");
}

static void pins(void)
{
	int c = container();
	uint64_t charged;
	char *rw = map(8, PROT_READ | PROT_WRITE), *ro = map(2, PROT_READ), *none = map(2, PROT_NONE), *xo = map(2, PROT_EXEC), *wo = map(2, PROT_WRITE);
	printf("rw read=%d", pin(c, rw, 8, 0, 100, &charged) >= 0);
	printf(" write=%d charged=%llu\n", pin(c, rw, 8, 1, 100, &charged) >= 0, (unsigned long long)charged);
	printf("ro read=%d write=%d\n", pin(c, ro, 2, 0, 100, 0) >= 0, pin(c, ro, 2, 1, 100, 0));
	printf("none read=%d write=%d\n", pin(c, none, 2, 0, 100, 0), pin(c, none, 2, 1, 100, 0));
	printf("exec-only read=%d write=%d\n", pin(c, xo, 2, 0, 100, 0), pin(c, xo, 2, 1, 100, 0));
	printf("write-only read=%d write=%d\n", pin(c, wo, 2, 0, 100, 0), pin(c, wo, 2, 1, 100, 0) >= 0);
	munmap(rw + 4 * PAGE, PAGE);
	printf("hole=%d before it=%d charged=", pin(c, rw, 8, 1, 100, 0), pin(c, rw, 4, 1, 100, 0) >= 0);
	pin(c, rw, 8, 1, 100, &charged);
	printf("%llu\n", (unsigned long long)charged);
	printf("budget 3 of 4=%d budget 4=%d hole first=%d budget first=%d\n", pin(c, rw, 4, 1, 3, 0), pin(c, rw, 4, 1, 4, 0) >= 0,
	       pin(c, rw, 8, 1, 5, 0), pin(c, rw, 8, 1, 2, 0));
	char name[] = "/tmp/interpose-XXXXXX";
	int file = mkstemp(name);
	unlink(name);
	ftruncate(file, PAGE + 1);
	char *shared = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	char *private = mmap(0, 4 * PAGE, PROT_READ, MAP_PRIVATE, file, 0);
	printf("file inside=%d behind its end=%d private read=%d write=%d\n", pin(c, shared, 2, 0, 100, 0) >= 0, pin(c, shared, 3, 0, 100, 0),
	       pin(c, private, 2, 0, 100, 0) >= 0, pin(c, private, 2, 1, 100, 0));
	int d = device();
	char *bar = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, d, REGION(1));
	printf("BAR=%d charged=", pin(c, bar, 2, 1, 0, &charged) >= 0);
	printf("%llu\n", (unsigned long long)charged);
	char *stack = (char *)((uintptr_t)&charged & ~(PAGE - 1));
	printf("stack=%d kernel=%d null=%d\n", pin(c, stack, 1, 1, 100, 0) >= 0, pin(c, (void *)0xffffffff81000000, 1, 0, 100, 0), pin(c, 0, 1, 0, 100, 0));
}

static void dma(void)
{
	int c = container();
	char *buffer = map(600, PROT_READ | PROT_WRITE);
	strcpy(buffer + PAGE - 3, "abcdef");
	int id = pin(c, buffer, 600, 1, 1000, 0);
	printf("reverse=%d", reverse(c, id, buffer, PAGE - 3, 6));
	printf(" \"%s\"\n", buffer + PAGE - 3);
	buffer[0] = 1, buffer[600 * PAGE - 1] = 2;
	printf("large=%d", reverse(c, id, buffer, 0, 600 * PAGE));
	printf(" first=%d last=%d\n", buffer[0], buffer[600 * PAGE - 1]);
	munmap(buffer, PAGE);
	printf("unmapped=%d unpin=%d\n", reverse(c, id, buffer, 0, 8), ask(c, UNPIN, id));
}

static void faults(void)
{
	int c = container();
	char *page = map(3, PROT_READ | PROT_WRITE), *readonly = map(1, PROT_READ);
	char text[16] = "0123456789abcde";
	munmap(page + 2 * PAGE, PAGE);
	printf("copy=%d", copy(c, text, page, 16));
	printf(" \"%.15s\"\n", page);
	printf("read unmapped=%d half unmapped=%d\n", copy(c, page + 2 * PAGE, page, 8), copy(c, page + 2 * PAGE - 4, page, 8));
	printf("write unmapped=%d read-only=%d\n", copy(c, text, page + 2 * PAGE, 8), copy(c, text, readonly, 8));
	printf("write half unmapped=%d", copy(c, text, page + 2 * PAGE - 4, 8));
	printf(" written=\"%.4s\"\n", page + 2 * PAGE - 4);
	printf("kernel address=%d struct=%d\n", copy(c, (void *)0xffffffff81000000, page, 8), ask(c, COPY, 8));
	char *end = page + 2 * PAGE - 4;
	memcpy(end, "abc", 4);
	printf("string at the end=%d", ask(c, LENGTH, (unsigned long)end));
	memset(end, 'x', 4);
	printf(" unfinished=%d null=%d", ask(c, LENGTH, (unsigned long)end), ask(c, LENGTH, 0));
	memset(page, 'y', 2 * PAGE - 1), page[2 * PAGE - 1] = 0;
	printf(" over pages=%d\n", ask(c, LENGTH, (unsigned long)page));
}

static void who(void)
{
	int c = container();
	struct { int32_t euid, lock; uint64_t memlock, locked; } me;
	struct rlimit limit = {65536, 65536};
	setrlimit(RLIMIT_MEMLOCK, &limit);
	char *page = map(2, PROT_READ | PROT_WRITE);
	mlock(page, 2 * PAGE);
	ask(c, WHO_AM_I, (unsigned long)&me);
	printf("euid=%d CAP_IPC_LOCK=%d memlock=%llu locked=%llu\n", me.euid, me.lock, (unsigned long long)me.memlock, (unsigned long long)me.locked);
}

static void exec_memory(const char *fd)
{
	char number[16];
	if (fd) {
		int c = atoi(fd);
		int id = ask(c, MEMORY_ID, 0);
		printf("after exec: other memory=%d old pin=%d\n", id == 1, reverse(c, 0, (void *)PAGE, 0, 8));
		return;
	}
	int c = open("/dev/vfio/vfio", O_RDWR);
	char *page = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pin(c, page, 1, 1, 10, 0);
	int before = ask(c, MEMORY_ID, 0);
	execl("/nonexistent", "x", (char *)0);
	printf("before exec: id=%d after a failed one=%d\n", before, ask(c, MEMORY_ID, 0));
	fflush(stdout);
	sprintf(number, "%d", c);
	execl("/proc/self/exe", "client", "exec-memory", number, (char *)0);
}

static void watch(void)
{
	int c = container(), event = eventfd(1, 0), none = -1;
	uint64_t one = 1;
	ask(c, WATCH, (unsigned long)&event);
	printf("before=%d", ask(c, WATCHED, 0));
	for (int i = 0; i < 3; i++) {
		write(event, &one, 8);
		printf(" %d", ask(c, WATCHED, 0));
	}
	write(event, &one, 8);
	usleep(50000);
	struct pollfd { int fd; short events, revents; } poll_event = {event, 1, 0};
	printf(" taken=%d", syscall(SYS_poll, &poll_event, 1, 0) == 0);
	ask(c, WATCH, (unsigned long)&none);
	write(event, &one, 8);
	printf(" stopped=%d\n", ask(c, WATCHED, 0));
}

static void doorbell(void)
{
	int d = device();
	volatile uint8_t *bar = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, d, REGION(1));
	bar[200] = 0x77;
	ask(d, VERSION, 0);
	printf("before the call=%x", bar[201]);
	bar[201] = 0, bar[200] = 0x77;
	for (int i = 0; i < 500 && bar[201] == 0; i++)
		usleep(2000);
	printf(" without a call=%x\n", bar[201]);
}

struct kvm_attribute { uint32_t flags, group; uint64_t attr, addr; };

/* KVM_SET_DEVICE_ATTR, or KVM_HAS_DEVICE_ATTR: of the VFIO device, about the file behind `fd`. */
static int kvm_set(int device, uint64_t attr, int32_t fd)
{
	struct kvm_attribute set = {0, 1, attr, (uintptr_t)&fd};
	return ask(device, 0x4018aee1, (unsigned long)&set);
}

static void kvm(void)
{
	int kvm = open("/dev/kvm", O_RDWR), vm = ioctl(kvm, 0xae01, 0);
	struct { uint32_t type, fd, flags; } create = {4, 0, 0}, other = {4, 0, 0};
	if (vm < 0 || ioctl(vm, 0xc00caee0, &create) < 0) {
		printf("no KVM\n");
		return;
	}
	int vfio = create.fd, c = container(), group = open("/dev/vfio/12", O_RDWR), device = ioctl(group, GET_DEVICE, "tiny");
	int null = open("/dev/null", O_RDONLY);
	struct kvm_attribute has = {0, 1, 1, 0}, bad = {0, 1, 1, 1};
	printf("has add=%d", ask(vfio, 0x4018aee3, (unsigned long)&has));
	has.attr = 77;
	printf(" 77=%d\n", ask(vfio, 0x4018aee3, (unsigned long)&has));
	printf("del first=%d", kvm_set(vfio, 2, group));
	printf(" add=%d", kvm_set(vfio, 1, group));
	printf(" again=%d", kvm_set(vfio, 1, group));
	printf(" its copy=%d", kvm_set(vfio, 1, dup(group)));
	printf(" device=%d", kvm_set(vfio, 1, device));
	printf(" del through a copy=%d", kvm_set(dup(vfio), 2, group));
	printf(" again=%d", kvm_set(vfio, 2, group));
	printf(" add=%d\n", kvm_set(vfio, 1, group));
	printf("container=%d foreign=%d closed=%d bad address=%d unknown=%d elsewhere=%d\n", kvm_set(vfio, 1, c), kvm_set(vfio, 1, null),
	       kvm_set(vfio, 1, 500), ask(vfio, 0x4018aee1, (unsigned long)&bad), kvm_set(vfio, 77, group), kvm_set(kvm, 1, group));
	int second = ioctl(kvm, 0xae01, 0);
	close(vfio);
	ioctl(second, 0xc00caee0, &other);
	printf("another machine with its number: same=%d", other.fd == vfio);
	printf(" del=%d", kvm_set(other.fd, 2, group));
	printf(" add=%d\n", kvm_set(other.fd, 1, group));
}

static void limit_files(int count)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = count;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void no_descriptors(void)
{
	int c = container(), lowest = dup(0);
	close(lowest);
	limit_files(lowest);
	printf("open=%d", result(open("/dev/vfio/12", O_RDWR)));
	limit_files(100);
	int group = open("/dev/vfio/12", O_RDWR);
	limit_files(group + 1);
	printf(" then=%d lowest=%d", group >= 0, group == lowest);
	printf(" device=%d releases=%d\n", ask(group, GET_DEVICE, (unsigned long)"tiny"), ask(c, RELEASES, 0));
}

static volatile sig_atomic_t signals;
static void on_signal(int number) { (void)number, signals++; }

static void storm(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &action, 0);
	timer_t timer;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	timer_create(CLOCK_MONOTONIC, &event, &timer);
	struct itimerspec often = {{0, 100000}, {0, 100000}}, never = {{0, 0}, {0, 0}};
	int c = container(), bad = 0, opened = 0, start = ask(c, RELEASES, 0);
	timer_settime(timer, 0, &often, 0);
	for (int i = 0; i < 1000; i++)
		bad += ioctl(c, EXTENSION, 3) != 1;
	for (int i = 0; i < 200; i++) {
		int fd = container();
		opened += fd >= 0;
		close(fd);
	}
	timer_settime(timer, 0, &never, 0);
	printf("signals=%d bad=%d opened=%d releases=%d\n", signals > 10, bad, opened, ask(c, RELEASES, 0) - start);
}

static void openings(int count)
{
	int bad = 0;
	printf("ready\n");
	fflush(stdout);
	for (int i = 0; i < count; i++) {
		int c = container(), g = open("/dev/vfio/12", O_RDWR), d = ioctl(g, GET_DEVICE, "tiny");
		if (c < 3 || g < 3 || d < 3 || ask(c, EXTENSION, 3) != 1 || ask(g, EXTENSION, 3) != 1 || ask(d, EXTENSION, 3) != 1) {
			printf("%d: container=%d group=%d device=%d\n", i, c, g, d);
			bad++;
		}
		close(c), close(g), close(d);
	}
	printf("bad=%d left=%d\n", bad, 3 * count - ask(container(), RELEASES, 0));
}

static void killed(void)
{
	int c = container();
	pid_t child = fork();
	if (!child) {
		int group = open("/dev/vfio/12", O_RDWR);
		ioctl(group, SLEEP, 300);
		_exit(0);
	}
	usleep(100000);
	kill(child, SIGKILL);
	int status;
	waitpid(child, &status, 0);
	printf("signal=%d", WTERMSIG(status));
	printf(" group free again=%d", open("/dev/vfio/12", O_RDWR) >= 0);
	printf(" releases=%d\n", ask(c, RELEASES, 0));
}

/* Children that open and close all the time are killed at any moment: what they held is free at once. */
static void killings(int count)
{
	int c = container(), busy = 0;
	for (int i = 0; i < count; i++) {
		pid_t child = fork();
		if (!child)
			for (;;) {
				int group = open("/dev/vfio/12", O_RDWR), d = ioctl(group, GET_DEVICE, "tiny"), mine = container();
				char byte;
				pread(d, &byte, 1, REGION(7));
				close(d), close(group), close(mine);
			}
		usleep(1000 + 37 * i % 2000);
		kill(child, SIGKILL);
		waitpid(child, 0, 0);
		int group = open("/dev/vfio/12", O_RDWR);
		busy += group < 0;
		close(group);
	}
	printf("busy=%d releases=%d\n", busy, ask(c, RELEASES, 0) >= count);
	fflush(stdout);
	usleep(300000);
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
#define COMMAND(name, call) if (!strcmp(command, name)) { call; fflush(stdout); return 0; }
	COMMAND("basic", basic())
	COMMAND("kinds", kinds())
	COMMAND("regions", regions())
	COMMAND("positions", positions())
	COMMAND("stats", stats())
	COMMAND("read-only", read_only())
	COMMAND("paths", paths())
	COMMAND("threads", threads(atoi(argv[2]), atoi(argv[3])))
	COMMAND("children", children())
	COMMAND("inherited", printf("exec: inherited=%d\n", ask(atoi(argv[2]), EXTENSION, 3)))
	COMMAND("passing", passing())
	COMMAND("last-close", last_close())
	COMMAND("pins", pins())
	COMMAND("kvm", kvm())
	COMMAND("watch", watch())
	COMMAND("doorbell", doorbell())
	COMMAND("dma", dma())
	COMMAND("faults", faults())
	COMMAND("who", who())
	COMMAND("exec-memory", exec_memory(argv[2]))
	COMMAND("storm", storm())
	COMMAND("killed", killed())
	COMMAND("killings", killings(atoi(argv[2])))
	COMMAND("openings", openings(atoi(argv[2])))
	COMMAND("request", printf("%d\n", ask(container(), strtoul(argv[2], 0, 0), argc > 3 ? strtoul(argv[3], 0, 0) : 0)))
	COMMAND("no-descriptors", no_descriptors())
	COMMAND("hold", int c = container(); printf("held\n"); fflush(stdout); for (;;) { usleep(20000); int r = ask(c, EXTENSION, 3);
		if (r != 1) { printf("answer=%d\n", r); fflush(stdout); if (argc < 3) return 0; } })
	COMMAND("exit", return atoi(argv[2]))
	COMMAND("die", raise(atoi(argv[2])))
	fprintf(stderr, "unknown command \"%s\"\n", command);
	return 99;
}
