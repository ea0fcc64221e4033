/*
 * A driver in user space for the mediated sample device (docs/sample-mdev.md): has it pin memory of this process, move bytes there and
 * back, and tell by eventfd when it is done or has lost pages. Nothing in it knows of uvfio.
 *      cc -o sample-mdev sample-mdev.c && uvfio run -m HOST -- ./sample-mdev UUID
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul
#define PAGES 8ul
#define BASE 0x100000ull

static int device, container;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void put(off_t at, const void *bytes, size_t size)
{
	if (pwrite(device, bytes, size, at) != (ssize_t)size)
		die("pwrite");
}

static void get(off_t at, void *bytes, size_t size)
{
	if (pread(device, bytes, size, at) != (ssize_t)size)
		die("pread");
}

#include "sample-mdev.h"

/* Where a region begins in the device's file. */
static off_t region_offset(unsigned int index)
{
	struct vfio_region_info region = { .argsz = sizeof region, .index = index };
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region))
		die("VFIO_DEVICE_GET_REGION_INFO");
	printf("region %u: 0x%llx bytes, flags %u\n", index, (unsigned long long)region.size, region.flags);
	return region.offset;
}

static int map(uint64_t iova, void *memory, uint64_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof map, .flags = flags, .vaddr = (uintptr_t)memory, .iova = iova, .size = size,
	};
	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

static void dirty_pages(const char *when)
{
	uint64_t bits = 0;
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get range;
	} get = {
		.head = { .argsz = sizeof get, .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP },
		.range = { .iova = BASE, .size = PAGES * PAGE,
			   .bitmap = { .pgsize = PAGE, .size = sizeof bits, .data = (void *)&bits } },
	};
	if (ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &get))
		die("VFIO_IOMMU_DIRTY_PAGES");
	printf("dirty %s: 0x%llx\n", when, (unsigned long long)bits);
}

static uint64_t events(int event)
{
	uint64_t count = 0;
	return read(event, &count, sizeof count) == sizeof count ? count : 0;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	char path[256], target[256];
	snprintf(path, sizeof path, "/sys/bus/mdev/devices/%s/iommu_group", argv[1]);
	ssize_t length = readlink(path, target, sizeof target - 1);
	if (length < 0)
		die(path);
	target[length] = 0;
	snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(target, '/') + 1);
	container = open("/dev/vfio/vfio", O_RDWR);
	int group = open(path, O_RDWR);
	if (container < 0 || group < 0)
		die(path);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) || ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		die("container");

	unsigned char *memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *constant = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map(BASE, memory, PAGES * PAGE, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE) ||
	    map(BASE * 2, constant, PAGE, VFIO_DMA_MAP_FLAG_READ))
		die("VFIO_IOMMU_MAP_DMA");

	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[1]);
	if (device < 0)
		die("VFIO_GROUP_GET_DEVICE_FD");
	registers = region_offset(VFIO_PCI_BAR0_REGION_INDEX);
	buffer = region_offset(VFIO_PCI_BAR2_REGION_INDEX);
	char id[5] = { 0 };
	get(registers + ID, id, 4);
	printf("this is %s\n", id);

	int event = eventfd(0, EFD_NONBLOCK);
	struct {
		struct vfio_irq_set head;
		int fd;
	} irqs = {
		.head = { .argsz = sizeof irqs, .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			  .index = VFIO_PCI_MSI_IRQ_INDEX, .count = 1 },
		.fd = event,
	};
	if (ioctl(device, VFIO_DEVICE_SET_IRQS, &irqs))
		die("VFIO_DEVICE_SET_IRQS");
	set(IRQ_ENABLE, IRQ_DONE);

	struct vfio_iommu_type1_dirty_bitmap start = { .argsz = sizeof start, .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_START };
	if (ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &start))
		die("VFIO_IOMMU_DIRTY_PAGES_FLAG_START");
	dirty_pages("at first");

	printf("pin pages 1 and 2: %s, ", run(PIN, BASE + PAGE, 2, FLAG_WRITE));
	printf("%u held\n", reg(PINNED));
	put(buffer, "from the device", 16);
	printf("write what is held: %s, ", run(WRITE_PINNED, BASE + 2 * PAGE - 4, 16, 0));
	printf("memory has \"%s\"\n", (char *)memory + 2 * PAGE - 4);
	strcpy((char *)memory + PAGE, "from the program");
	printf("read what is held: %s, ", run(READ_PINNED, BASE + PAGE, 17, 0));
	char text[32] = { 0 };
	get(buffer, text, 17);
	printf("the device has \"%s\"\n", text);
	printf("write page 5 without pinning: %s\n", run(WRITE, BASE + 5 * PAGE, 17, 0));
	printf("memory has \"%s\"\n", (char *)memory + 5 * PAGE);
	dirty_pages("then");
	dirty_pages("and again");

	printf("pin what is mapped read-only: %s\n", run(PIN, BASE * 2, 1, FLAG_WRITE));
	printf("pin what is not mapped: %s\n", run(PIN, BASE * 4, 1, 0));
	printf("write what is not held: %s\n", run(WRITE_PINNED, BASE, 1, 0));
	printf("%llu interrupts\n", (unsigned long long)events(event));

	set(IRQ_ENABLE, IRQ_TAKEN);
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .iova = BASE, .size = PAGES * PAGE };
	if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		die("VFIO_IOMMU_UNMAP_DMA");
	printf("unmapped 0x%llx bytes: %u held, %u taken, %llu interrupt\n", (unsigned long long)unmap.size, reg(PINNED),
	       reg(TAKEN), (unsigned long long)events(event));
	close(device);
	close(group);
	close(container);
	return 0;
}
