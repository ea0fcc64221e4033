/*
 * Two of QEMU's edu devices: one reaches the other's registers by DMA, through a dma-buf of the BAR (VFIO_DEVICE_FEATURE_DMA_BUF) that an address
 * space has mapped (IOMMU_IOAS_MAP_FILE). Nothing in it knows of uvfio.
 *      cc -o iommufd-peer iommufd-peer.c && uvfio run -m lab-nesting -- ./iommufd-peer 0000:01:00.0 0000:02:00.0
 */
#define _GNU_SOURCE
#include "iommufd-cdev.h"

#define DEVICE_FEATURE _IO(';', 117)
enum { FEATURE_GET = 1 << 16, FEATURE_DMA_BUF = 11 };
enum { LIVENESS = 4, SOURCE = 0x80, DESTINATION = 0x88, COUNT = 0x90, COMMAND = 0x98, BUFFER = 0x40000 };
enum { RUN = 1, TO_MEMORY = 2, MEMORY = BASE + 0x100000 };

struct dma_buf_feature {
	uint32_t argsz, flags, region_index, open_flags, zero, nr_ranges;
	uint64_t offset, length;
};

static int actor, target;
static off_t registers;

/* The command register of the device that is at work. */
static void command(uint16_t value)
{
	put(region_info(VFIO_PCI_CONFIG_REGION_INDEX).offset + 4, &value, sizeof value);
}

static void dma(uint64_t from, uint64_t to, uint64_t count, uint64_t how)
{
	device = actor;
	put(registers + SOURCE, &from, sizeof from);
	put(registers + DESTINATION, &to, sizeof to);
	put(registers + COUNT, &count, sizeof count);
	put(registers + COMMAND, &how, sizeof how);
	do
		get(registers + COMMAND, &how, sizeof how);
	while (how & RUN);
}

static int dma_buf(uint32_t region, uint64_t offset, uint64_t length)
{
	struct dma_buf_feature get = { .argsz = sizeof get, .flags = FEATURE_GET | FEATURE_DMA_BUF, .region_index = region,
				       .open_flags = O_RDWR | O_CLOEXEC, .nr_ranges = 1, .offset = offset, .length = length };
	return ioctl(target, DEVICE_FEATURE, &get);
}

static const char *map_dma_buf(uint32_t ioas, int fd)
{
	struct ioas_map_file map = { .size = sizeof map, .flags = MAP_FIXED_IOVA | MAP_READABLE | MAP_WRITEABLE,
				     .ioas_id = ioas, .fd = fd, .length = PAGE, .iova = BASE };
	return answer(ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &map));
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	char folder[256];
	snprintf(folder, sizeof folder, "/sys/bus/pci/devices/%s", argv[1]);
	bind_device(folder);
	actor = device;
	registers = region_info(VFIO_PCI_BAR0_REGION_INDEX).offset;
	command(6);
	snprintf(folder, sizeof folder, "/sys/bus/pci/devices/%s", argv[2]);
	bind_device(folder);
	target = device;
	command(2);
	uint32_t ioas = new_ioas();
	device = actor;
	if (attach(ioas))
		die("VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	volatile uint32_t *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map(ioas, MEMORY, (void *)memory, PAGE, MAP_READABLE | MAP_WRITEABLE))
		die("IOMMU_IOAS_MAP");
	printf("not a page: %s\n", answer(dma_buf(0, 0, 8)));
	printf("no such BAR: %s\n", answer(dma_buf(5, 0, PAGE)));
	int fd = dma_buf(0, 0, PAGE);
	printf("dma-buf: %s\n", answer(fd));
	if (fd < 0)
		return 1;
	printf("close on exec: %d\n", fcntl(fd, F_GETFD));
	printf("map: %s\n", map_dma_buf(ioas, fd));
	*memory = 0x12345678;
	dma(MEMORY, BUFFER, 4, RUN);
	dma(BUFFER, BASE + LIVENESS, 4, RUN | TO_MEMORY);
	uint32_t seen;
	device = target;
	get(registers + LIVENESS, &seen, sizeof seen);
	printf("register: 0x%x\n", seen);
	dma(BASE + LIVENESS, BUFFER, 4, RUN);
	dma(BUFFER, MEMORY, 4, RUN | TO_MEMORY);
	printf("read by the other: 0x%x\n", *memory);
	device = target;
	command(0);
	dma(BASE + LIVENESS, BUFFER, 4, RUN);
	dma(BUFFER, MEMORY, 4, RUN | TO_MEMORY);
	printf("switched off: 0x%x\n", *memory);
	unmap(ioas, BASE, PAGE);
	printf("map: %s\n", map_dma_buf(ioas, fd));
	device = target;
	command(2);
	printf("switched on: %s\n", map_dma_buf(ioas, fd));
	dma(BASE + LIVENESS, BUFFER, 4, RUN);
	dma(BUFFER, MEMORY, 4, RUN | TO_MEMORY);
	printf("read by the other: 0x%x\n", *memory);
	return 0;
}
