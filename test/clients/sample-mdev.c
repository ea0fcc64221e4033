/*
 * A driver in user space for the mediated sample device (docs/sample-mdev.md): has it pin memory of this process, move bytes there and
 * back, and tell by eventfd when it is done or has lost pages. Nothing in it knows of uvfio.
 *      cc -o sample-mdev sample-mdev.c && uvfio run -m HOST -- ./sample-mdev UUID
 */
#include "device-file.h"
#include "sample-mdev.h"
#include "type1-group.h"

#define PAGES 8ul

static int container;

/* Where a region begins in the device's file, and what it is. */
static off_t region_offset(unsigned int index)
{
	struct vfio_region_info region = region_info(index);
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
	char folder[256];
	snprintf(folder, sizeof folder, "/sys/bus/mdev/devices/%s", argv[1]);
	int group = open_group(folder, &container);

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

	int event = interrupts(IRQ_DONE);

	struct vfio_iommu_type1_dirty_bitmap start = { .argsz = sizeof start, .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_START };
	if (ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &start))
		die("VFIO_IOMMU_DIRTY_PAGES_FLAG_START");
	dirty_pages("at first");

	use_pages(BASE, memory, PAGE);
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
