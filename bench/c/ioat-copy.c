/*
 * Copies memory with Intel's DMA engine (ioat, 8086:2021) through its mapped registers, in descriptors of 1 MiB, and writes the time of each round
 * of ROUND bytes, in nanoseconds, as 32-bit numbers to stdout.
 *
 *      ioat-copy ROUNDS BDF
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
#include "clock.h"
#include "ioat.h"

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)

#define PIECE (1u << 20)
#define PIECES 64
#define ROUND ((uint64_t)PIECES * PIECE)
#define IOVA 0x100000000ull

static volatile uint8_t *bar;

static void wait_status(uint64_t wanted)
{
	uint64_t end = nanoseconds() + 20000000000ull;
	/* the host looks at mapped registers from time to time, and needs a processor for it */
	while ((*(volatile uint64_t *)(bar + CHANSTS) & 7) != wanted) {
		struct timespec pause = { 0, 20000 };
		nanosleep(&pause, NULL);
		CHECK(nanoseconds() < end);
	}
}

static void copy_round(void)
{
	if ((*(volatile uint64_t *)(bar + CHANSTS) & 7) != HALTED) {
		*(bar + CHANCMD) = 4;
		wait_status(SUSPENDED);
	}
	*(volatile uint64_t *)(bar + CHAINADDR) = IOVA;
	*(volatile uint16_t *)(bar + DMACOUNT) = PIECES;
	wait_status(DONE);
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	char path[256], target[256];
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", argv[2]);
	ssize_t length = readlink(path, target, sizeof target - 1);
	CHECK(length > 0);
	target[length] = 0;
	snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(target, '/') + 1);
	int container = open("/dev/vfio/vfio", O_RDWR), group = open(path, O_RDWR);
	CHECK(container >= 0 && group >= 0 && !ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	CHECK(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));

	uint64_t size = PIECE + 2 * ROUND;
	uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(memory != MAP_FAILED);
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof map, .flags = 3, .vaddr = (uintptr_t)memory, .iova = IOVA, .size = size };
	CHECK(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
	struct descriptor *ring = (void *)memory;
	for (unsigned i = 0; i < PIECES; i++)
		ring[i] = (struct descriptor){ .size = PIECE, .source = IOVA + PIECE + (uint64_t)i * PIECE, .target = IOVA + PIECE + ROUND + (uint64_t)i * PIECE, .next = IOVA + (i + 1) % PIECES * sizeof *ring };
	for (uint64_t i = 0; i < ROUND; i++)
		memory[PIECE + i] = i * 7 + (i >> 12);

	int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[2]);
	CHECK(device >= 0);
	struct vfio_region_info config = { .argsz = sizeof config, .index = VFIO_PCI_CONFIG_REGION_INDEX };
	struct vfio_region_info registers = { .argsz = sizeof registers, .index = VFIO_PCI_BAR0_REGION_INDEX };
	CHECK(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) && !ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &registers));
	uint16_t command = 6;
	CHECK(pwrite(device, &command, 2, config.offset + 4) == 2);
	bar = mmap(NULL, registers.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, registers.offset);
	CHECK(bar != MAP_FAILED);
	*(bar + CHANCMD) = 0x20;
	while (*(bar + CHANCMD) & 0x20)
		;
	copy_round();
	CHECK(!memcmp(memory + PIECE, memory + PIECE + ROUND, ROUND));
	for (int i = atoi(argv[1]); i > 0; i--) {
		uint64_t start = nanoseconds();
		copy_round();
		uint32_t time = nanoseconds() - start;
		CHECK(fwrite(&time, sizeof time, 1, stdout) == 1);
	}
	return 0;
}
