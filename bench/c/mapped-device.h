/*
 * A device of the only group there is, with its registers mapped, and memory that it reaches by DMA.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where the device has the memory. */
#define IOVA 0x100000

static volatile uint8_t *bar;
static uint8_t *memory;

/* Sets bar and memory, of so many bytes; memory access and bus mastering are on. False when it cannot be had. */
static int open_mapped_device(const char *bdf, size_t bar_size, size_t memory_size)
{
	int container = open("/dev/vfio/vfio", O_RDWR), group = open("/dev/vfio/1", O_RDWR);
	ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
	ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
	int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	uint16_t on = 6;
	pwrite(device, &on, 2, ((uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << 40) + 4);
	memory = mmap(0, memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct vfio_iommu_type1_dma_map map = { sizeof map, 3, (uintptr_t)memory, IOVA, memory_size };
	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map))
		return 0;
	bar = mmap(0, bar_size, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	return bar != MAP_FAILED;
}
