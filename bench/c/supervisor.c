/*
 * The baseline: what uvfio does for a trapped call, as a C program does it. Waits with epoll for a seccomp user notification, finds
 * the file behind the descriptor by an open /proc/TID/fdinfo/N, copies structures with process_vm_readv() and process_vm_writev(), keeps
 * the mappings, answers. The program's /dev/null is its only container.
 *
 *      supervisor [--registers] PROGRAM [ARG...]
 *
 * --registers: preads of at most 8 bytes are trapped too, and read registers of the container; else it is the best filter for ioctls. Calls of
 * other files are let go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)
#define FLAG_WAIT_KILLABLE_RECV (1u << 5)
#define NOTIF_SET_FLAGS 0x40082104
#define LIMIT 65535
#define PROCMAP_QUERY 0xc0686611 /* Linux 6.11; older ones have the text of /proc/PID/maps only */

struct mapping { uint64_t iova, size, vaddr; };

static struct mapping mappings[LIMIT];
static unsigned count;
static struct statx container, user_namespace;
static int maps = -1;

static int install_filter(bool registers)
{
	struct sock_filter lines[] = {
		/* registers alone: small preads */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pread64, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 8, 6, 5),
		/* requests of VFIO */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x3b00, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const unsigned first = registers ? 0 : 4;
	struct sock_fprog program = { sizeof lines / sizeof *lines - first, lines + first };
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV, &program);
	CHECK(listener >= 0);
	return listener;
}

static int copy_in(pid_t tid, uint64_t from, void *to, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)from, size };
	return process_vm_readv(tid, &here, 1, &there, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

static int copy_out(pid_t tid, uint64_t to, void *from, size_t size)
{
	struct iovec here = { from, size }, there = { (void *)to, size };
	return process_vm_writev(tid, &here, 1, &there, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

/* Index of the first mapping that ends behind iova. */
static unsigned find(uint64_t iova)
{
	unsigned low = 0, high = count;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		if (mappings[middle].iova + mappings[middle].size > iova)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int get_info(pid_t tid, uint64_t arg)
{
	struct vfio_iommu_type1_info info;
	if (copy_in(tid, arg, &info, offsetof(struct vfio_iommu_type1_info, cap_offset)))
		return -EFAULT;
	info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info.iova_pgsizes = 0xfffffffffffff000;
	info.cap_offset = 0;
	info.argsz = 120;
	return copy_out(tid, arg, &info, sizeof info);
}

/* What MAP_DMA depends on beside its arguments: the caller's capabilities, and where they count; its limit; its memory. */
static int may_pin(pid_t tid, uint64_t vaddr)
{
	struct { uint32_t version, pid; } header = { 0x20080522, tid };
	struct { uint32_t effective, permitted, inheritable; } sets[2];
	struct { uint64_t size, flags, address, start, end, vma_flags, page_size, offset, inode; uint32_t major, minor; uint64_t unused[3]; } query = { .size = sizeof query, .address = vaddr };
	char path[64];
	struct statx here;
	struct rlimit limit;
	static pid_t known;
	static bool same;
	if (syscall(SYS_capget, &header, sets))
		return -EFAULT;
	/* a thread stays in its user namespace until it calls unshare() or setns(), which the program here never does */
	if (known != tid) {
		snprintf(path, sizeof path, "/proc/%u/ns/user", tid);
		if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &here))
			return -EFAULT;
		same = here.stx_ino == user_namespace.stx_ino;
		known = tid;
	}
	int capable = sets[0].effective & 1 << 14 && same;
	if (prlimit(tid, RLIMIT_MEMLOCK, NULL, &limit) || (!capable && limit.rlim_cur < 4096ull * (count + 1)))
		return -ENOMEM;
	if (maps < 0) {
		snprintf(path, sizeof path, "/proc/%u/maps", tid);
		maps = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (ioctl(maps, PROCMAP_QUERY, &query))
		return errno == ENOTTY ? 0 : -EFAULT;
	return (query.vma_flags & 3) == 3 ? 0 : -EFAULT;
}

static int map_dma(pid_t tid, uint64_t arg)
{
	struct vfio_iommu_type1_dma_map map;
	if (copy_in(tid, arg, &map, sizeof map))
		return -EFAULT;
	if (map.argsz < sizeof map || !map.size || (map.vaddr | map.iova | map.size) & 4095)
		return -EINVAL;
	unsigned at = find(map.iova);
	if (at < count && mappings[at].iova < map.iova + map.size)
		return -EEXIST;
	if (count == LIMIT)
		return -ENOSPC;
	int refused = may_pin(tid, map.vaddr);
	if (refused)
		return refused;
	memmove(&mappings[at + 1], &mappings[at], (count - at) * sizeof *mappings);
	mappings[at] = (struct mapping){ map.iova, map.size, map.vaddr };
	count++;
	return 0;
}

static int unmap_dma(pid_t tid, uint64_t arg)
{
	struct vfio_iommu_type1_dma_unmap unmap;
	if (copy_in(tid, arg, &unmap, sizeof unmap))
		return -EFAULT;
	unsigned from = find(unmap.iova), to = from;
	uint64_t bytes = 0;
	for (; to < count && mappings[to].iova < unmap.iova + unmap.size; to++)
		bytes += mappings[to].size;
	memmove(&mappings[from], &mappings[to], (count - to) * sizeof *mappings);
	count -= to - from;
	unmap.size = bytes;
	return copy_out(tid, arg, &unmap, sizeof unmap);
}

/* Whether a descriptor of a thread is the container: by what it is now, since it may be another one after a dup2(). */
static bool is_container(pid_t tid, int fd)
{
	static pid_t known;
	static int known_fd, info = -1;
	char text[128], path[64], *inode;
	if (info < 0 || known != tid || known_fd != fd) {
		if (info >= 0)
			close(info);
		snprintf(path, sizeof path, "/proc/%u/fdinfo/%d", tid, fd);
		info = open(path, O_RDONLY | O_CLOEXEC);
		known = tid;
		known_fd = fd;
	}
	ssize_t length = pread(info, text, sizeof text - 1, 0);
	if (length <= 0)
		return false;
	text[length] = 0;
	inode = strstr(text, "ino:\t");
	return inode && strtoul(inode + 5, 0, 10) == container.stx_ino;
}

/* A register of 4 bytes, by where it is in the file. */
static int read_register(pid_t tid, uint64_t to, uint64_t size, uint64_t offset)
{
	static uint32_t registers[64] = { 0x11 };
	if (size != 4 || offset % 4 || offset / 4 >= sizeof registers / sizeof *registers)
		return -EINVAL;
	uint32_t value = registers[offset / 4];
	return copy_out(tid, to, &value, sizeof value) ? -EFAULT : 4;
}

/* VFIO_DEVICE_SET_IRQS: the first interrupt gets an eventfd, and is raised. */
static int set_irqs(pid_t tid, uint64_t arg)
{
	static int eventfd = -1;
	static const uint64_t one = 1;
	struct { struct vfio_irq_set set; int fd; } irq;
	if (copy_in(tid, arg, &irq.set, sizeof irq.set))
		return -EFAULT;
	if (irq.set.argsz < sizeof irq.set || irq.set.start || irq.set.count != 1)
		return -EINVAL;
	if (irq.set.flags == (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER))
		return write(eventfd, &one, sizeof one) == sizeof one ? 0 : -EIO;
	if (irq.set.flags != (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER) || copy_in(tid, arg, &irq, sizeof irq))
		return -EINVAL;
	int pidfd = syscall(SYS_pidfd_open, tid, 0);
	eventfd = syscall(SYS_pidfd_getfd, pidfd, irq.fd, 0);
	close(pidfd);
	return eventfd < 0 ? -EBADF : 0;
}

static int handle(const struct seccomp_notif *call)
{
	if (call->data.nr == SYS_pread64)
		return read_register(call->pid, call->data.args[1], call->data.args[2], call->data.args[3]);
	switch ((uint32_t)call->data.args[1]) {
	case VFIO_GET_API_VERSION: return VFIO_API_VERSION;
	case VFIO_DEVICE_SET_IRQS: return set_irqs(call->pid, call->data.args[2]);
	case VFIO_IOMMU_GET_INFO: return get_info(call->pid, call->data.args[2]);
	case VFIO_IOMMU_MAP_DMA: return map_dma(call->pid, call->data.args[2]);
	case VFIO_IOMMU_UNMAP_DMA: return unmap_dma(call->pid, call->data.args[2]);
	default: return -ENOTTY;
	}
}

static void serve(int listener)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { EPOLLIN };
	CHECK(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event));
	/* uvfio asks for it too; kernels before 6.6 do not know it */
	ioctl(listener, NOTIF_SET_FLAGS, 1);
	for (;;) {
		if (epoll_wait(epoll, &event, 1, -1) < 0)
			continue;
		struct seccomp_notif call = { 0 };
		if (!(event.events & EPOLLIN))
			return;
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call))
			continue;
		struct seccomp_notif_resp answer = { .id = call.id };
		if (is_container(call.pid, call.data.args[0])) {
			int result = handle(&call);
			answer.val = result < 0 ? 0 : result;
			answer.error = result < 0 ? result : 0;
		} else {
			answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		}
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
}

int main(int argc, char **argv)
{
	int ends[2], listener, status;
	bool registers = argc > 1 && !strcmp(argv[1], "--registers");
	argv += registers;
	CHECK(argc > 1 + registers && !statx(AT_FDCWD, "/proc/self/ns/user", 0, STATX_BASIC_STATS, &user_namespace));
	CHECK(!statx(AT_FDCWD, "/dev/null", 0, STATX_BASIC_STATS, &container));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		char go;
		listener = install_filter(registers);
		CHECK(write(ends[1], &listener, sizeof listener) == sizeof listener && read(ends[1], &go, 1) == 1);
		execvp(argv[1], argv + 1);
		CHECK(!"execvp");
	}
	CHECK(read(ends[0], &listener, sizeof listener) == sizeof listener);
	int pidfd = syscall(SYS_pidfd_open, child, 0);
	listener = syscall(SYS_pidfd_getfd, pidfd, listener, 0);
	CHECK(listener >= 0 && write(ends[0], "g", 1) == 1);
	serve(listener);
	CHECK(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
