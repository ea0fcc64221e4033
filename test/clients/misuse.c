/*
 * Misuses DMA mappings, one mistake a run, for uvfio's sanitizer. The device is an edu (1234:11e8), driven by pread and pwrite.
 *
 *      misuse MISTAKE BDF      MISTAKE: clean, munmap, munmap-unmap, after-unmap, read-only, never, left, reset, close
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "type1-group.h"

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)

enum { SOURCE = 0x80, DESTINATION = 0x88, COUNT = 0x90, COMMAND = 0x98, BUFFER = 0x40000, RUN = 1, TO_MEMORY = 2 };

static int container, group, device;
static uint64_t bar;

static void set(unsigned at, uint64_t value) { CHECK(pwrite(device, &value, 8, bar + at) == 8); }

/* Starts DMA of 64 bytes between the device's buffer and `iova`. An edu does it at once, a real one would not. */
static void start(uint64_t iova, int to_memory)
{
	set(SOURCE, to_memory ? BUFFER : iova);
	set(DESTINATION, to_memory ? iova : BUFFER);
	set(COUNT, 64);
	uint64_t command = to_memory ? RUN | TO_MEMORY : RUN;
	/* what comes back depends on what is wrong */
	if (pwrite(device, &command, 8, bar + COMMAND) != 8)
		perror("DMA");
}

static void wait_done(void)
{
	uint64_t command = RUN;
	while (command & RUN)
		CHECK(pread(device, &command, 8, bar + COMMAND) == 8);
}

static void map(void *vaddr, uint64_t iova, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof map, .flags = flags, .vaddr = (uintptr_t)vaddr, .iova = iova, .size = 4096 };
	CHECK(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
}

static void unmap(uint64_t iova)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .iova = iova, .size = 4096 };
	CHECK(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) && unmap.size == 4096);
}

static void open_device(const char *name)
{
	device = open_pci_device(name, &container, &group);
	struct vfio_region_info config = { .argsz = sizeof config, .index = VFIO_PCI_CONFIG_REGION_INDEX };
	struct vfio_region_info info = { .argsz = sizeof info, .index = VFIO_PCI_BAR0_REGION_INDEX };
	CHECK(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) && !ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info));
	uint16_t command = 6;
	CHECK(pwrite(device, &command, 2, config.offset + 4) == 2);
	bar = info.offset;
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	const char *mistake = argv[1];
	int is_clean = !strcmp(mistake, "clean");
	open_device(argv[2]);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	int read_only = !strcmp(mistake, "read-only");
	map(page, 0x10000, VFIO_DMA_MAP_FLAG_READ | (read_only ? 0 : VFIO_DMA_MAP_FLAG_WRITE));

	if (is_clean) {
		start(0x10000, 0);
		wait_done();
		start(0x10000, 1);
		wait_done();
	} else if (!strcmp(mistake, "munmap")) {
		munmap(page, 4096);
		start(0x10000, 0);
		wait_done();
	} else if (!strcmp(mistake, "munmap-unmap")) {
		munmap(page, 4096);
	} else if (!strcmp(mistake, "after-unmap")) {
		unmap(0x10000);
		start(0x10000, 0);
		wait_done();
		map(page, 0x10000, VFIO_DMA_MAP_FLAG_READ);
	} else if (read_only) {
		start(0x10000, 1);
		wait_done();
	} else if (!strcmp(mistake, "never")) {
		start(0x200000, 0);
		wait_done();
	} else if (!strcmp(mistake, "reset")) {
		start(0x10000, 0);
		CHECK(!ioctl(device, VFIO_DEVICE_RESET));
	} else if (!strcmp(mistake, "close")) {
		start(0x10000, 1);
		close(device);
		device = -1;
		CHECK(!ioctl(container, VFIO_GET_API_VERSION));
	}
	if (strcmp(mistake, "left"))
		unmap(0x10000);
	if (device >= 0)
		close(device);
	close(group);
	close(container);
	return 0;
}
