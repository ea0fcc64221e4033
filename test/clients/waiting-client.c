/*
 * Makes calls whose memory or files have to be waited for, against the tiny host of test/interpose/tiny-kernel.ts, and says what came of them.
 * waiting-client COMMAND [ARG...]. Whoever is not served in time is ended by an alarm.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION 0x3b64
#define COPY 0x3ba0
#define PIN 0x3ba1
#define REVERSE 0x3ba3
#define LENGTH 0x3ba4
#define MEMORY_ID 0x3bad
#define PAGE 4096ul
#define STACK (256 * 1024)

static int c, uffd;
/** Memory whose pages come when they are served. */
static char *late;

static int result(int value) { return value < 0 ? -errno : value; }
static int ask(unsigned long request, unsigned long arg) { return result(ioctl(c, request, arg)); }
static char *map(size_t pages) { return mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

static int copy(const void *from, void *to, uint64_t length)
{
	uint64_t in[3] = {(uintptr_t)from, (uintptr_t)to, length};
	return ask(COPY, (unsigned long)in);
}

static int pin(void *at, unsigned pages)
{
	struct { uint64_t vaddr; uint32_t pages, write; uint64_t budget; } in = {(uintptr_t)at, pages, 1, 1 << 20};
	return ask(PIN, (unsigned long)&in);
}

static int reverse(int id, void *vaddr, uint32_t length)
{
	struct { uint32_t pin, length; uint64_t vaddr, offset; } in = {id, length, (uintptr_t)vaddr, 0};
	return ask(REVERSE, (unsigned long)&in);
}

/** @param node a userfaultfd made through its device node */
static void open_uffd(size_t pages, int node)
{
	if (node) {
		int device = open("/dev/userfaultfd", O_RDONLY | O_CLOEXEC);
		uffd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
		close(device);
	} else {
		uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	}
	struct uffdio_api api = {.api = UFFD_API};
	late = map(pages);
	struct uffdio_register area = {.range = {(uintptr_t)late, pages * PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &area)) {
		printf("no userfaultfd here: %s\n", strerror(errno));
		exit(77);
	}
}

/** Waits until somebody wants a page; returns which. */
static unsigned wanted(void)
{
	struct uffd_msg message;
	struct pollfd ready = {uffd, POLLIN};
	poll(&ready, 1, -1);
	if (read(uffd, &message, sizeof message) != sizeof message)
		return -1;
	return (message.arg.pagefault.address - (uintptr_t)late) / PAGE;
}

static void serve_bytes(unsigned page, const void *content, size_t length)
{
	static char bytes[PAGE] __attribute__((aligned(4096)));
	memset(bytes, 0, PAGE);
	memcpy(bytes, content, length);
	struct uffdio_copy in = {.dst = (uintptr_t)late + page * PAGE, .src = (uintptr_t)bytes, .len = PAGE};
	ioctl(uffd, UFFDIO_COPY, &in);
}

static void serve(unsigned page, const char *content) { serve_bytes(page, content, strlen(content)); }

static volatile int finished, answer;
static int (*work)(void);
static void *worker(void *unused) { answer = work(); finished = 1; return unused; }

/** Makes a call that waits for a page, makes others meanwhile, and serves the page. */
static void meanwhile(const char *name, int (*call)(void), const char *content)
{
	pthread_t thread;
	work = call;
	finished = 0;
	pthread_create(&thread, 0, worker, 0);
	unsigned page = wanted();
	printf("%s waits for page %u: others are served=%d", name, page, ask(VERSION, 0) == 0 && copy("x", late - 0 + 7 * PAGE, 0) == 0);
	printf(" a file=%d", open("/dev/null", O_RDWR) >= 0);
	printf(" done=%d", finished);
	serve(page, content);
	pthread_join(thread, 0);
	printf(", then %d\n", answer);
}

static char here[8 * PAGE];
static int read_call(void) { return copy(late, here, 16); }
static int write_call(void) { return copy("written late", late + PAGE, 13); }
static int string_call(void) { return ask(LENGTH, (unsigned long)(late + 2 * PAGE)); }
static int struct_call(void) { return ask(COPY, (unsigned long)(late + 3 * PAGE)); }
static int path_call(void) { return result(open(late + 4 * PAGE, O_RDWR)) >= 0; }
static int pin_call(void) { return pin(late + 5 * PAGE, 1); }
static int vector_call(void)
{
	struct iovec in = {late + 6 * PAGE, 8};
	return result(pwritev(c, &in, 1, 0));
}

static void calls(int node)
{
	open_uffd(8, node);
	meanwhile("read", read_call, "a page's content");
	printf("it read \"%.16s\"\n", here);
	meanwhile("write", write_call, "");
	printf("it wrote \"%s\"\n", late + PAGE);
	meanwhile("string", string_call, "seventeen letters");
	meanwhile("struct", struct_call, "");
	meanwhile("path", path_call, "/dev/vfio/vfio");
	meanwhile("pin", pin_call, "0123456789");
	printf("DMA=%d \"%.10s\"\n", reverse(0, late + 5 * PAGE, 10), late + 5 * PAGE);
	/* pinned memory stays on a real host; here it is gone for the device, which nobody waits for */
	madvise(late + 5 * PAGE, PAGE, MADV_DONTNEED);
	printf("DMA to what was dropped=%d\n", reverse(0, late + 5 * PAGE, 10));
	printf("read-only memory=%d", copy("x", "constant", 1));
	printf(" none=%d\n", copy((void *)PAGE, here, 1));
}

/** The handler of faults makes calls of its own before it serves. */
static void handler(const char *store)
{
	open_uffd(8, 0);
	pthread_t thread;
	work = read_call;
	pthread_create(&thread, 0, worker, 0);
	unsigned page = wanted();
	int fd = open(store, O_RDWR | O_CREAT, 0600);
	printf("handler: store=%d version=%d\n", fd >= 0, ask(VERSION, 0));
	serve(page, "from the store");
	pthread_join(thread, 0);
	printf("read=%d \"%s\"\n", answer, here);
}

/** A child whose page is never served is killed; its userfaultfd lives on in the parent, or not. */
static void killed(int kept)
{
	int pair[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	pid_t child = fork();
	if (child == 0) {
		open_uffd(8, 0);
		char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
		struct iovec part = {&byte, 1};
		struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		*header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(header), &uffd, sizeof(int));
		if (kept)
			sendmsg(pair[1], &message, 0);
		pthread_t thread;
		work = read_call;
		pthread_create(&thread, 0, worker, 0);
		wanted();
		write(pair[1], "w", 1);
		pause();
	}
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	int status;
	close(pair[1]);
	if (kept)
		recvmsg(pair[0], &message, 0);
	/* it has ended by itself: there is no userfaultfd for it here */
	if (read(pair[0], &byte, 1) != 1 && waitpid(child, &status, 0) == child)
		exit(WEXITSTATUS(status));
	kill(child, SIGKILL);
	waitpid(child, 0, 0);
	printf("the child is gone; others are served=%d\n", ask(VERSION, 0) == 0);
}

/** Waits for a page that is never served, until a signal ends it. */
static void stuck(void)
{
	open_uffd(8, 0);
	pthread_t thread;
	work = read_call;
	alarm(0);
	pthread_create(&thread, 0, worker, 0);
	wanted();
	printf("stuck\n");
	pause();
}

/** A write() of the kernel's own, to the memory behind a device, holds the lock of that while it waits for a page. */
static int own_write(void) { return lseek(300, 0, SEEK_SET) == 0 ? write(300, late, 64) : -1; }
static void locked(void)
{
	int group = open("/dev/vfio/12", O_RDWR | O_CLOEXEC);
	int device = ioctl(group, 0x3b6a, "tiny");
	/* under another number calls are not handed over */
	dup2(device, 300);
	open_uffd(8, 0);
	pthread_t thread;
	work = own_write;
	pthread_create(&thread, 0, worker, 0);
	wanted();
	char byte = 0x44;
	printf("the device is written to=%zd", pwrite(device, &byte, 1, 3));
	printf(" others are served=%d\n", ask(VERSION, 0) == 0);
	serve(0, "");
	pthread_join(thread, 0);
}

static void *one_of_many(void *unused)
{
	char byte[16];
	if (copy(late, byte, 16) == -EFAULT)
		__sync_fetch_and_add(&answer, 1);
	return unused;
}

/** More waiting calls than a process may have. */
static void many(int count)
{
	open_uffd(8, 0);
	pthread_t threads[count];
	for (int i = 0; i < count; i++)
		pthread_create(&threads[i], 0, one_of_many, 0);
	while (answer == 0)
		usleep(1000);
	printf("refused: some; others are served=%d\n", ask(VERSION, 0) == 0);
	serve(0, "sixteen letters.");
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], 0);
	printf("again=%d\n", copy(late, here, 16));
}

/* A FUSE file system (linux/fuse.h) whose server makes a trapped call before each of its answers. */
static int fuse;
static void reply(uint64_t unique, int error, const void *data, size_t length)
{
	char out[1024];
	struct fuse_out_header header = {.len = sizeof header + length, .error = error, .unique = unique};
	memcpy(out, &header, sizeof header);
	memcpy(out + sizeof header, data, length);
	write(fuse, out, sizeof header + length);
}

static void fuse_server(void)
{
	static char in[1 << 17];
	while (read(fuse, in, sizeof in) > 0) {
		struct fuse_in_header *header = (void *)in;
		struct fuse_attr attr = {.ino = header->nodeid, .mode = header->nodeid == 1 ? S_IFDIR | 0755 : S_IFREG | 0666, .nlink = 1, .size = 10, .blksize = 4096};
		struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 65536, .max_readahead = 65536};
		struct fuse_entry_out entry = {.nodeid = 2, .attr = attr};
		struct fuse_attr_out attributes = {.attr = attr};
		struct fuse_open_out opened = {0};
		close(open("/dev/null", O_RDWR));
		switch (header->opcode) {
		case FUSE_INIT: reply(header->unique, 0, &init, sizeof init); break;
		case FUSE_LOOKUP:
			entry.attr.ino = 2;
			entry.attr.mode = S_IFREG | 0666;
			if (strcmp(in + sizeof *header, "link") == 0)
				entry = (struct fuse_entry_out){.nodeid = 3, .attr = {.ino = 3, .mode = S_IFLNK | 0777, .nlink = 1}};
			reply(header->unique, 0, &entry, sizeof entry);
			break;
		case FUSE_READLINK: reply(header->unique, 0, "/dev/vfio/vfio", 14); break;
		case FUSE_GETATTR:
			if (header->nodeid == 3)
				attributes.attr.mode = S_IFLNK | 0777;
			reply(header->unique, 0, &attributes, sizeof attributes);
			break;
		case FUSE_OPEN: reply(header->unique, 0, &opened, sizeof opened); break;
		case FUSE_READ: reply(header->unique, 0, "served by\0", 10); break;
		case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT: break;
		case FUSE_RELEASE: case FUSE_FLUSH: reply(header->unique, 0, 0, 0); break;
		default: reply(header->unique, -ENOSYS, 0, 0);
		}
	}
	_exit(0);
}

static void fuse_files(const char *folder)
{
	char path[512], options[200];
	struct stat st;
	if (unshare(CLONE_NEWNS) || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0) || (fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC)) < 0)
		exit(77);
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse);
	if (mount("fuse", folder, "fuse", MS_NOSUID | MS_NODEV, options))
		exit(77);
	pid_t server = fork();
	if (server == 0)
		fuse_server();
	close(fuse);
	snprintf(path, sizeof path, "%s/file", folder);
	int fd = open(path, O_RDWR);
	printf("open=%d", fd >= 0);
	printf(" fstat=%d", fstat(fd, &st));
	printf(" size=%ld", (long)st.st_size);
	snprintf(path, sizeof path, "%s/link", folder);
	int node = open(path, O_RDWR);
	printf(" through a link=%d", result(ioctl(node, VERSION)));
	char *text = mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	printf(" memory of a file=%d\n", ask(LENGTH, (unsigned long)text));
	kill(server, SIGKILL);
	umount2(folder, MNT_DETACH);
}

/* A thread that never made a call executes the program again. */
static char *self[] = {"/proc/self/exe", "thread-executed", 0, 0};
static void *execute(void *unused) { execv(self[0], self); return unused; }

static void exec_by_thread(void)
{
	char number[16];
	pthread_t thread;
	c = dup(c);
	snprintf(number, sizeof number, "%d", c);
	self[2] = number;
	char *old = map(1);
	printf("memory=%d pin=%d\n", ask(MEMORY_ID, 0), pin(old, 1));
	fflush(stdout);
	pthread_create(&thread, 0, execute, 0);
	pthread_join(thread, 0);
}

static void thread_executed(const char *number)
{
	c = atoi(number);
	char *mine = map(1);
	strcpy(mine, "new");
	int id = ask(MEMORY_ID, 0), same = copy(mine, here, 4);
	printf("after exec: memory=%d copy=%d \"%s\" pin=%d\n", id, same, here, pin(mine, 1));
}

/* Two processes share their memory; one of them pins, and executes another program by a thread that made no call. */
#define FIXED ((char *)0x700000000000)
static volatile int pinned;
static int execute_other(void *unused) { char *argv[] = {"/proc/self/exe", "bystander", 0}; execv(argv[0], argv); return 9; }
static int sharer(void *unused)
{
	ask(MEMORY_ID, 0);
	pinned = pin(FIXED, 64) + 1;
	clone(execute_other, map(64) + STACK, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_FILES | CLONE_FS, 0);
	for (;;)
		pause();
}

/** What the other process has become: looks for changes of its memory for a while. */
static void bystander(void)
{
	char *mine = mmap(FIXED, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(mine, 'B', 64 * PAGE);
	/* its calls are about its own memory */
	c = 7;
	int other = ask(MEMORY_ID, 0), copied = copy(mine, here, 8);
	if (other < 1 || copied != 8 || memcmp(here, "BBBBBBBB", 8))
		_exit(2);
	write(9, "r", 1);
	char byte;
	read(8, &byte, 1);
	int changed = 0;
	for (size_t i = 0; i < 64 * PAGE; i++)
		changed += mine[i] != 'B';
	_exit(changed ? 1 : 0);
}

static void shared_exec(void)
{
	int ready[2], go[2];
	pipe(ready);
	pipe(go);
	dup2(c, 7);
	dup2(go[0], 8);
	dup2(ready[1], 9);
	char *mine = mmap(FIXED, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(mine, 'o', 64 * PAGE);
	mine[0] = '<';
	mine[64 * PAGE - 1] = '>';
	pid_t child = clone(sharer, map(64) + STACK, CLONE_VM | SIGCHLD, 0);
	char byte;
	close(ready[1]);
	close(9);
	read(ready[0], &byte, 1);
	int moved = reverse(pinned - 1, mine, 64 * PAGE), small = reverse(pinned - 1, mine, 3);
	printf("DMA=%d small=%d begins \"%.3s\" ends '%c'\n", moved, small, mine, mine[64 * PAGE - 1]);
	write(go[1], "g", 1);
	int status;
	waitpid(child, &status, 0);
	printf("the other program's memory changed=%d\n", WEXITSTATUS(status));
}

/* A process that waits for a page of its structure is killed, another one gets its number, and the page comes. */
static int reader(void *unused) { ask(COPY, (unsigned long)late); _exit(0); }
static int writer(void *unused) { copy("an answer", late, 10); _exit(0); }

static int make_with_number(pid_t number, int (*run)(void *), int *pipes)
{
	for (int tries = 0; tries < 2000; tries++) {
		int last = open("/proc/sys/kernel/ns_last_pid", O_WRONLY);
		char text[16];
		int length = snprintf(text, sizeof text, "%d", number - 1);
		if (last < 0 || write(last, text, length) != length)
			exit(77);
		close(last);
		pid_t made = fork();
		if (made == 0)
			_exit(getpid() == number ? run(pipes) : 0);
		if (made == number)
			return made;
		waitpid(made, 0, 0);
	}
	exit(77);
}

/** Has the same memory at the same address, without the page faults. */
static int heir(void *pipes)
{
	char byte;
	munmap(late, 8 * PAGE);
	mmap(late, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(late, 'H', 8 * PAGE);
	write(((int *)pipes)[1], "h", 1);
	read(((int *)pipes)[2], &byte, 1);
	int changed = 0;
	for (size_t i = 0; i < 8 * PAGE; i++)
		changed += late[i] != 'H';
	return changed ? 1 : 0;
}

static void reused(int writes)
{
	int pipes[4];
	pipe(pipes);
	pipe(pipes + 2);
	open_uffd(8, 0);
	pid_t caller = clone(writes ? writer : reader, map(64) + STACK, CLONE_VM | SIGCHLD, 0);
	wanted();
	kill(caller, SIGKILL);
	waitpid(caller, 0, 0);
	int heirs = make_with_number(caller, heir, pipes);
	char byte;
	read(pipes[0], &byte, 1);
	/* what the waiting call is to do then: copy to the next page */
	uint64_t request[3] = {(uintptr_t)"an answer", (uintptr_t)late + PAGE, 10};
	serve_bytes(0, request, sizeof request);
	printf("served=%d", ask(VERSION, 0) == 0);
	usleep(50000);
	write(pipes[3], "g", 1);
	int status;
	waitpid(heirs, &status, 0);
	printf(" the heir of the number changed=%d\n", WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	setvbuf(stdout, 0, _IOLBF, 0);
	alarm(60);
	const char *command = argv[1], *argument = argc > 2 ? argv[2] : "";
	if (!strcmp(command, "thread-executed"))
		return thread_executed(argument), 0;
	if (!strcmp(command, "bystander"))
		return bystander(), 0;
	c = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (!strcmp(command, "calls")) calls(!strcmp(argument, "node"));
	else if (!strcmp(command, "handler")) handler(argument);
	else if (!strcmp(command, "killed")) killed(!strcmp(argument, "kept"));
	else if (!strcmp(command, "stuck")) stuck();
	else if (!strcmp(command, "many")) many(atoi(argument));
	else if (!strcmp(command, "locked")) locked();
	else if (!strcmp(command, "fuse")) fuse_files(argument);
	else if (!strcmp(command, "exec-by-thread")) exec_by_thread();
	else if (!strcmp(command, "shared-exec")) shared_exec();
	else if (!strcmp(command, "reused")) reused(!strcmp(argument, "writes"));
	else return 2;
	return 0;
}
