#include <fcntl.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fuzz.h"

uint64_t number(void)
{
	static const uint64_t odd[] = { 0, 1, 2, 3, 7, 8, 0xff, 0xfff, 0x1000, 0x1001, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 40, ~0ull >> 1, ~0xfffull, ~0ull };
	switch (below(4)) {
	case 0: return odd[below(17)];
	case 1: return below(16) * 0x1000ull;
	default: return below(8);
	}
}

/* Memory of devices that was mapped, in this process; none is unmapped before 8 others. */
static char *mapped[8];
static unsigned mappings;

static void access_file(void)
{
	static const size_t counts[] = { 0, 1, 2, 3, 4, 8, 16, 64, 256, 4096, 0x2000, 0x20000, 0x40000000 };
	size_t count = counts[below(13)];
	void *at = (void *)address(count);
	off_t offset = below(10) == 0 ? (off_t)number() : (off_t)((uint64_t)below(10) << 40) + (off_t)(number() % 0x1000);
	int fd = some_fd();
	struct iovec parts[2] = { { at, count }, { (void *)address(8), below(16) } };
	if (fd <= 2)
		return;
	switch (below(8)) {
	case 0: preadv(fd, parts, below(3), offset); break;
	case 1: pwritev(fd, parts, below(3), offset); break;
	case 2: read(fd, at, count > 64 ? 64 : count); break;
	case 3: write(fd, at, count > 64 ? 64 : count); break;
	case 4:
	case 5: pread(fd, at, count, offset); break;
	default: pwrite(fd, at, count, offset);
	}
}

static void map_file(void)
{
	int fd = some_fd();
	char bytes[8];
	if (fd <= 2)
		return;
	char *at = mmap(0, (1 + below(4)) * PAGE, PROT_READ | (below(2) ? PROT_WRITE : 0), below(6) ? MAP_SHARED : MAP_PRIVATE, fd,
			(off_t)((uint64_t)below(10) << 40) + below(2) * PAGE);
	if (at == MAP_FAILED)
		return;
	for (int i = 0; i < 8; i++)
		bytes[i] = below(256);
	put((uint64_t)at + below(512) * 8, bytes, 1ul << below(4));
	char *old = __atomic_exchange_n(&mapped[__atomic_fetch_add(&mappings, 1, __ATOMIC_RELAXED) % 8], at, __ATOMIC_RELAXED);
	if (old)
		munmap(old, PAGE);
}

void set_up(void)
{
	static const int types[] = { 1, 3, 3, 3, 6, 7, 2 };
	/* a group is one user's */
	for (int i = 0; below(2) && i < KEPT; i++)
		if (fds[i] > 2)
			close(fds[i]), fds[i] = -1;
	int container = open("/dev/vfio/vfio", O_RDWR), group = open(nodes[below(node_count)], O_RDWR);
	keep(container);
	keep(group);
	ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
	ioctl(container, VFIO_SET_IOMMU, types[below(7)]);
	if (below(4) == 0)
		ioctl(container, VFIO_IOMMU_ENABLE, 0);
	for (int i = 0; i < device_count; i++)
		keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, device_names[i]));
}

void meant(void)
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
	struct { uint32_t size, flags, ioas; int32_t fd; uint64_t start, length, iova; } map_file = { sizeof map_file, 7, 1 + below(4), some_fd(), 0, map.size, map.iova };
	struct { uint32_t argsz, flags; int32_t iommufd; uint32_t id; uint64_t token; } bind = { 16, 0, some_fd() };
	struct { uint32_t argsz, flags, pt; } attach = { sizeof attach, 0, 1 + below(4) };
	struct { uint32_t size, flags, id, reserved[2]; } queue = { 20 };
	struct vfio_iommu_spapr_register_memory held = { sizeof held, 0, map.vaddr, 0x10000 };
	struct vfio_iommu_spapr_tce_create window = { sizeof window, 0, 16, 0, 1 << 30, 1 };
	for (int i = 0; i < 4; i++)
		irqs.fds[i] = below(3) ? some_fd() : eventfd(0, EFD_NONBLOCK);
	struct { unsigned long request; void *bytes; size_t size; } calls[] = {
		{ VFIO_IOMMU_MAP_DMA, &map, sizeof map }, { VFIO_IOMMU_MAP_DMA, &map, sizeof map }, { VFIO_IOMMU_UNMAP_DMA, &unmap, sizeof unmap },
		{ VFIO_IOMMU_GET_INFO, info, sizeof info }, { VFIO_DEVICE_GET_INFO, &device, sizeof device },
		{ VFIO_DEVICE_GET_REGION_INFO, &region, sizeof region }, { VFIO_DEVICE_SET_IRQS, &irqs, sizeof irqs },
		{ VFIO_DEVICE_RESET, &device, sizeof device },
		{ _IO(VFIO_TYPE, 0x81), alloc, sizeof alloc }, { _IO(VFIO_TYPE, 0x85), &ioas_map, sizeof ioas_map },
		{ _IO(VFIO_TYPE, 0x86), &ioas_unmap, sizeof ioas_unmap }, { _IO(VFIO_TYPE, 0x8f), &map_file, sizeof map_file },
		{ _IO(VFIO_TYPE, VFIO_BASE + 18), &bind, sizeof bind }, { _IO(VFIO_TYPE, VFIO_BASE + 19), &attach, sizeof attach },
		{ _IO(VFIO_TYPE, 0x8e), &queue, sizeof queue },
		{ VFIO_IOMMU_SPAPR_REGISTER_MEMORY, &held, sizeof held }, { VFIO_IOMMU_SPAPR_TCE_CREATE, &window, sizeof window },
	};
	int which = below(sizeof calls / sizeof calls[0]);
	if (below(5) == 0)
		((uint32_t *)calls[which].bytes)[below(calls[which].size / 4)] = number();
	/* whatever they are, until one takes it */
	unsigned newest = kept;
	for (unsigned i = 0; i < 8; i++)
		if (ioctl(fds[(newest - 1 - i) % KEPT], calls[which].request, calls[which].bytes) >= 0)
			break;
	if (calls[which].bytes == &queue)
		keep(queue.reserved[1]);
	for (int i = 0; i < 4; i++)
		if (irqs.fds[i] > 2) {
			int known = 0;
			for (int j = 0; j < KEPT; j++)
				known |= fds[j] == irqs.fds[i];
			if (!known)
				close(irqs.fds[i]);
		}
}

/* A structure of random words, at an address where it can be read or cannot. */
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

void step(void)
{
	uint32_t what = below(100);
	if (what < 4)
		open_node();
	else if (what < 6)
		set_up();
	else if (what < 7)
		keep(below(2) ? eventfd(0, EFD_NONBLOCK) : memfd_create("calls", 0));
	else if (what < 8)
		close_some();
	else if (what < 11)
		change_memory();
	else if (what < 12)
		change_limit();
	else if (what < 25)
		access_file();
	else if (what < 28)
		map_file();
	else if (what < 50)
		meant();
	else
		request();
	COUNT(calls);
}
