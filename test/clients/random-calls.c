/*
 * Makes calls with edge cases of every kind on every kind of descriptor that VFIO and iommufd have: closed descriptors, structures that end where
 * memory ends or that cannot be written, argsz that lies, addresses that nobody has. What the calls answer does not matter here.
 *
 *      random-calls SEED CALLS NODE...      NODE: /dev/vfio/vfio, groups, devices' nodes; "=NAME" is a device to get from a group
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAGE 4096ul
#define PAGES 16
#define KEPT 24

static uint32_t state;
static uint32_t below(uint32_t limit)
{
	state = state * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)(state ^ state >> 15) * limit) >> 32);
}

static char *memory;
static int fds[KEPT];
static int kept;
static char **nodes;
static int node_count;

static void keep(int fd)
{
	if (fd < 0)
		return;
	if (fds[kept % KEPT] > 2 && kept >= KEPT)
		close(fds[kept % KEPT]);
	fds[kept++ % KEPT] = fd;
}

static int some_fd(void)
{
	static const int odd[] = { -1, 0, 2, 99, 1023, 5000 };
	if (below(20) == 0 || kept == 0)
		return odd[below(6)];
	return fds[below(kept < KEPT ? kept : KEPT)];
}

static uint64_t number(void)
{
	static const uint64_t odd[] = { 0, 1, 2, 3, 7, 8, 0xff, 0xfff, 0x1000, 0x1001, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 40, ~0ull >> 1, ~0xfffull, ~0ull };
	switch (below(4)) {
	case 0: return odd[below(17)];
	case 1: return below(16) * 0x1000ull;
	default: return below(8);
	}
}

static uint64_t address(size_t length)
{
	static const uint64_t odd[] = { 0, 1, 0x10, 0x7ffffffff000, 1ull << 47, ~0ull >> 1, 1ull << 63, ~7ull, ~0ull };
	static const int around[] = { 0, 0, 0, 1, 4, -4 };
	static const int within[] = { 0, 0, 8, 0x100, 0xff0, 3 };
	switch (below(8)) {
	case 0: return odd[below(9)];
	case 1: return (uint64_t)memory + (1 + below(PAGES)) * PAGE - length + around[below(6)];
	default: return (uint64_t)memory + below(PAGES) * PAGE + within[below(6)];
	}
}

/* Writes where that is possible: the kernel copies for us and does not crash. */
static void put(uint64_t at, const void *bytes, size_t length)
{
	static int pipe_fds[2];
	/* out of the way of the descriptors that are closed again and again */
	if (pipe_fds[0] == 0 && (pipe(pipe_fds) || (pipe_fds[0] = fcntl(pipe_fds[0], F_DUPFD, 500)) < 0 || (pipe_fds[1] = fcntl(pipe_fds[1], F_DUPFD, 500)) < 0))
		exit(1);
	for (size_t done = 0; done < length;) {
		ssize_t count = write(pipe_fds[1], (const char *)bytes + done, length - done > 1024 ? 1024 : length - done);
		char drain[1024];
		ssize_t got = read(pipe_fds[0], (void *)(at + done), count);
		if (got < count && read(pipe_fds[0], drain, sizeof drain) < 0)
			exit(1);
		if (got < count)
			return;
		done += count;
	}
}

static void change_memory(void)
{
	static const int protections[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE };
	char *at = memory + below(PAGES) * PAGE;
	size_t length = (1 + below(3)) * PAGE;
	if (at + length > memory + PAGES * PAGE)
		length = PAGE;
	int protection = protections[below(4)];
	switch (below(6)) {
	case 0:
		munmap(at, length);
		break;
	case 1:
		mmap(at, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 2:
		mprotect(at, length, protection);
		break;
	default: {
		char bytes[PAGE];
		for (size_t i = 0; i < PAGE; i++)
			bytes[i] = below(256);
		put((uint64_t)at, bytes, PAGE);
	}
	}
}

static void change_limit(void)
{
	static const rlim_t limits[] = { 0, PAGE, 2 * PAGE, 8 << 20 };
	struct rlimit limit = { limits[below(4)], RLIM_INFINITY };
	getrlimit(RLIMIT_MEMLOCK, &limit);
	limit.rlim_cur = limits[below(4)];
	if (limit.rlim_cur <= limit.rlim_max)
		setrlimit(RLIMIT_MEMLOCK, &limit);
}

static void access_file(void)
{
	static const size_t counts[] = { 0, 1, 2, 3, 4, 8, 16, 64, 256, 4096, 0x2000, 0x20000, 0x40000000 };
	size_t count = counts[below(13)];
	void *at = (void *)address(count);
	off_t offset = below(10) == 0 ? (off_t)number() : (off_t)((uint64_t)below(10) << 40) + (off_t)(number() % 0x1000);
	int fd = some_fd();
	if (fd <= 2)
		return;
	if (below(2))
		pread(fd, at, count, offset);
	else
		pwrite(fd, at, count, offset);
}

static void set_up(void)
{
	static const int types[] = { 1, 3, 3, 3, 6, 7 };
	/* a group is one user's */
	for (int i = 0; below(2) && i < KEPT; i++)
		if (fds[i] > 2)
			close(fds[i]), fds[i] = -1;
	int container = open("/dev/vfio/vfio", O_RDWR), group = open(nodes[below(node_count)], O_RDWR);
	keep(container);
	keep(group);
	ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
	ioctl(container, VFIO_SET_IOMMU, types[below(6)]);
	for (int i = 0; i < node_count; i++)
		if (nodes[i][0] == '=')
			keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, nodes[i] + 1));
}

/* Calls as programs mean them, with one word of them wrong now and then: by chance alone few would work. */
static void meant(void)
{
	struct vfio_iommu_type1_dma_map map = { sizeof map, 1 + below(3), (uint64_t)memory + below(PAGES) * PAGE, below(32) * PAGE, (1 + below(3)) * PAGE };
	struct vfio_iommu_type1_dma_unmap unmap = { sizeof unmap, 0, below(32) * PAGE, (1 + below(8)) * PAGE };
	struct vfio_device_info device = { sizeof device };
	struct vfio_region_info region = { sizeof region, 0, below(10) };
	struct { struct vfio_irq_set set; int32_t fds[4]; } irqs = { { sizeof irqs, 4 | 32, below(3), 0, below(5) } };
	uint32_t info[64] = { sizeof info };
	uint32_t alloc[3] = { sizeof alloc };
	struct { uint32_t size, flags, ioas, reserved; uint64_t va, length, iova; } ioas_map = { sizeof ioas_map, 7, 1 + below(4), 0, map.vaddr, map.size, map.iova };
	struct { uint32_t size, ioas; uint64_t iova, length; } ioas_unmap = { sizeof ioas_unmap, 1 + below(4), unmap.iova, unmap.size };
	struct { uint32_t argsz, flags; int32_t iommufd; uint32_t id; uint64_t token; } bind = { 16, 0, some_fd() };
	struct { uint32_t argsz, flags, pt; } attach = { sizeof attach, 0, 1 + below(4) };
	for (int i = 0; i < 4; i++)
		irqs.fds[i] = below(3) ? some_fd() : eventfd(0, 0);
	struct { unsigned long request; void *bytes; size_t size; } calls[] = {
		{ VFIO_IOMMU_MAP_DMA, &map, sizeof map }, { VFIO_IOMMU_MAP_DMA, &map, sizeof map }, { VFIO_IOMMU_UNMAP_DMA, &unmap, sizeof unmap },
		{ VFIO_IOMMU_GET_INFO, info, sizeof info }, { VFIO_DEVICE_GET_INFO, &device, sizeof device },
		{ VFIO_DEVICE_GET_REGION_INFO, &region, sizeof region }, { VFIO_DEVICE_SET_IRQS, &irqs, sizeof irqs },
		{ _IO(VFIO_TYPE, 0x81), alloc, sizeof alloc }, { _IO(VFIO_TYPE, 0x85), &ioas_map, sizeof ioas_map },
		{ _IO(VFIO_TYPE, 0x86), &ioas_unmap, sizeof ioas_unmap }, { _IO(VFIO_TYPE, VFIO_BASE + 18), &bind, sizeof bind },
		{ _IO(VFIO_TYPE, VFIO_BASE + 19), &attach, sizeof attach },
	};
	int which = below(sizeof calls / sizeof calls[0]);
	if (below(5) == 0)
		((uint32_t *)calls[which].bytes)[below(calls[which].size / 4)] = number();
	/* whatever they are, until one takes it */
	for (int i = 0; i < 8 && i < kept; i++)
		if (ioctl(fds[(kept - 1 - i) % KEPT], calls[which].request, calls[which].bytes) >= 0)
			break;
	for (int i = 0; i < 4; i++)
		if (irqs.fds[i] > 2) {
			int known = 0;
			for (int j = 0; j < KEPT; j++)
				known |= fds[j] == irqs.fds[i];
			if (!known)
				close(irqs.fds[i]);
		}
}

static void request(void)
{
	uint64_t words[64];
	uint32_t size = 8 + 4 * below(20), claimed;
	uint32_t nr = VFIO_BASE + (below(3) ? below(22) : below(64));
	unsigned long number_of = below(25) ? _IO(VFIO_TYPE, nr) : (unsigned long)number();
	static const uint32_t odd[] = { 0, 4, 4096, 0xffffffff };
	for (int i = 0; i < 64; i++) {
		uint32_t low = number(), high = below(4) ? 0 : number();
		words[i] = below(4) == 0 ? address(64) : below(6) == 0 ? (uint32_t)some_fd() : low | (uint64_t)high << 32;
	}
	claimed = below(4) ? size : odd[below(4)];
	memcpy(words, &claimed, 4);
	if (below(2)) {
		uint32_t flags = below(2) ? 1u << below(20) : below(16);
		memcpy((char *)words + 4, &flags, 4);
	}
	uint64_t at = address(size);
	put(at, words, size);
	if (nr == VFIO_BASE + 1 || nr == VFIO_BASE + 2)
		at = number();
	int fd = some_fd();
	/* those of the terminal are not ours to try */
	if (fd <= 2)
		return;
	int answer = ioctl(fd, number_of, at);
	if (number_of == VFIO_GROUP_GET_DEVICE_FD)
		keep(answer);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	state = strtoul(argv[1], 0, 0);
	int calls = atoi(argv[2]);
	nodes = argv + 3;
	node_count = argc - 3;
	memory = mmap((void *)0x10000000000, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (int i = 0; i < calls; i++) {
		uint32_t what = below(100);
		if (what < 4)
			keep(open(nodes[below(node_count)], below(8) ? O_RDWR : O_RDONLY));
		else if (what < 6)
			set_up();
		else if (what < 7)
			keep(below(2) ? eventfd(0, EFD_NONBLOCK) : memfd_create("calls", 0));
		else if (what < 8) {
			int fd = some_fd();
			if (fd > 2)
				close(fd);
		} else if (what < 11)
			change_memory();
		else if (what < 12)
			change_limit();
		else if (what < 25)
			access_file();
		else if (what < 28) {
			int fd = some_fd();
			if (fd > 2)
				mmap(0, (1 + below(4)) * PAGE, PROT_READ | (below(2) ? PROT_WRITE : 0), below(6) ? MAP_SHARED : MAP_PRIVATE, fd, (off_t)((uint64_t)below(10) << 40) + below(2) * PAGE);
		} else if (what < 50)
			meant();
		else
			request();
	}
	return 0;
}
