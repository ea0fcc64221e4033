/*
 * Drives QEMU's pci-testdev through both of its BARs: its tests one after the other as firmware would, by every way to read and write a
 * device file, and by ioeventfds.
 *
 *      pci-testdev BDF
 */
#define _GNU_SOURCE
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
#include <sys/uio.h>
#include <unistd.h>

#include "type1-group.h"

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)

struct header {
	uint8_t test, width, pad[2];
	uint32_t offset, data, count;
	char name[32];
};

static int device;
static int error(long result) { return result < 0 ? -errno : result; }

static uint64_t region(unsigned index, unsigned *flags, uint64_t *size)
{
	struct vfio_region_info info = { .argsz = sizeof info, .index = index };
	CHECK(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0);
	*flags = info.flags;
	*size = info.size;
	return info.offset;
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	int container, group;
	device = open_pci_device(argv[1], &container, &group);

	uint8_t config[4096];
	struct iovec parts[3] = { { config, 6 }, { 0, 0 }, { config + 6, 250 } };
	unsigned flags;
	uint64_t size, at = region(VFIO_PCI_CONFIG_REGION_INDEX, &flags, &size), bar[2], sizes[2];
	printf("config: preadv=%zd", preadv(device, parts, 3, at));
	printf(" id=%02x%02x:%02x%02x pin=%d beyond=%d\n", config[1], config[0], config[3], config[2], config[0x3d], error(pread(device, config, 4096, at)));
	for (int i = 0; i < 2; i++) {
		bar[i] = region(i, &flags, &sizes[i]);
		printf("BAR%d: size=0x%lx mmap=%d port=%d\n", i, (long)sizes[i], !!(flags & VFIO_REGION_INFO_FLAG_MMAP), config[0x10 + 4 * i] & 1);
	}
	for (int i = 0; i < 2; i++) {
		struct header h;
		for (uint8_t test = 0;; test++) {
			CHECK(pwrite(device, &test, 1, bar[i]) == 1);
			/* more than a register in one piece, in BAR 0 too */
			CHECK(pread(device, &h, sizeof h, bar[i]) == sizeof h);
			if (h.width != 1)
				break;
			uint32_t wide[2] = { h.data, 0 };
			for (int k = 0; k < 3; k++)
				CHECK(pwrite(device, &h.data, 1, bar[i] + h.offset) == 1);
			CHECK(pwrite(device, wide, 8, bar[i] + (h.offset & ~7u)) == 8);
			uint32_t count;
			CHECK(pread(device, &count, 4, bar[i] + 12) == 4);
			printf("%d %s offset=0x%x data=0x%x count=%u\n", h.test, h.name, h.offset, h.data, count);
		}
	}

	/* At the file's position: BAR 0 from its start. */
	uint8_t zero = 0;
	struct header h = { 0 };
	CHECK(write(device, &zero, 1) == 1);
	struct iovec rest[2] = { { (char *)&h + 1, 15 }, { h.name, 32 } };
	printf("readv=%zd", readv(device, rest, 2));
	printf(" %s lseek=%d\n", h.name, error(lseek(device, 0, SEEK_SET)));
	uint8_t *all = malloc(0x2000);
	printf("read to the end=%zd", read(device, all, 0x2000));
	printf(" behind it=%d", error(read(device, all, 1)));
	struct iovec two[2] = { { all, 0x80 }, { all + 0x80, 0x100 } };
	printf(" preadv over the end of BAR1=%zd", preadv(device, two, 2, bar[1] + 0x40));
	printf(" from its end=%d\n", error(preadv(device, two, 2, bar[1] + sizes[1])));

	/* An eventfd stands for a write of the byte that the test counts. */
	for (int i = 0; i < 2; i++) {
		CHECK(pwrite(device, &zero, 1, bar[i]) == 1);
		CHECK(pread(device, &h, sizeof h, bar[i]) == sizeof h);
		int event = eventfd(0, 0);
		struct vfio_device_ioeventfd set = { .argsz = sizeof set, .flags = VFIO_DEVICE_IOEVENTFD_8, .offset = bar[i] + h.offset, .data = h.data, .fd = event };
		CHECK(ioctl(device, VFIO_DEVICE_IOEVENTFD, &set) == 0);
		for (int k = 0; k < 2; k++) {
			uint64_t one = 1;
			CHECK(write(event, &one, 8) == 8);
			/* Each is seen before the next call. */
			CHECK(pread(device, &h, 16, bar[i]) == 16);
		}
		printf("BAR%d: ioeventfd count=%u\n", i, h.count);
		set.fd = -1;
		CHECK(ioctl(device, VFIO_DEVICE_IOEVENTFD, &set) == 0);
		close(event);
	}
	printf("private map=%d shared map=%d\n", mmap(0, 4096, PROT_READ, MAP_PRIVATE, device, bar[0]) == MAP_FAILED ? -errno : 0,
	       mmap(0, 4096, PROT_READ, MAP_SHARED, device, bar[0]) == MAP_FAILED ? -errno : 0);
	return 0;
}
