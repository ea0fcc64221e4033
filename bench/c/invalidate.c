/*
 * invalidate FORM ROUNDS: hands the queue of a guest's IOMMU driver on by VFIO_IOMMU_OP, for 512 invalidations of one page each, and writes
 * nanoseconds for one of them, one line a round. In the queue are two descriptors for each, of the IOTLB and of the device's TLB.
 * FORM: fields (taken apart here, one generic request for both), single (one request for each descriptor), list (16 descriptors a request).
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/vfio.h>
#include "clock.h"

#define VFIO_IOMMU_OP _IO(VFIO_TYPE, VFIO_BASE + 24)
#define PAGES 512
#define LIST 16
#define GPA 0x100000ull
#define PASID 7ull
#define SOURCE 0x300ull

struct descriptor {
	uint64_t low, high;
};

struct request {
	uint32_t argsz, flags, op, reserved;
	uint32_t model, scope, inval_flags, pasid;
	uint64_t vaddr, size;
	uint32_t length, reserved2;
	struct descriptor data[LIST];
};

struct bind {
	uint32_t argsz, flags, op, reserved;
	uint32_t model, bind_flags;
	uint64_t table;
	uint32_t pasid, addr_width, length, reserved2;
};

static int container;

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void set_up(void)
{
	int group = open("/dev/vfio/3", O_RDWR);
	uint64_t *tables = mmap(NULL, (4 + PAGES) * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct vfio_iommu_type1_dma_map map = { sizeof map, 3, (uintptr_t)tables, GPA, (4 + PAGES) * 4096 };
	struct bind bind = { sizeof bind, 0, 3, 0, 1, 0, GPA, PASID, 48, 0, 0 };

	container = open("/dev/vfio/vfio", O_RDWR);
	check(container, "/dev/vfio/vfio");
	check(group, "/dev/vfio/3");
	check(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "VFIO_GROUP_SET_CONTAINER");
	check(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "VFIO_SET_IOMMU");
	for (int level = 0; level < 3; level++)
		tables[level * 512] = (GPA + (level + 1) * 4096) | 7;
	for (int page = 0; page < PAGES; page++)
		tables[3 * 512 + page] = (GPA + (4 + page) * 4096) | 7;
	check(ioctl(container, VFIO_IOMMU_MAP_DMA, &map), "VFIO_IOMMU_MAP_DMA");
	check(ioctl(container, VFIO_IOMMU_OP, &bind), "BIND_PAGE_TABLE");
}

static void send(struct request *request)
{
	request->argsz = offsetof(struct request, data) + request->length;
	check(ioctl(container, VFIO_IOMMU_OP, request), "INVALIDATE");
}

/* What a VMM does that passes the queue on as it is, `most` descriptors at a time. */
static void by_descriptors(const struct descriptor *queue, int count, int most)
{
	struct request request = { .op = 4, .model = 1, .inval_flags = 4, .length = most * sizeof *queue };

	for (int at = 0; at < count; at += most) {
		memcpy(request.data, queue + at, request.length);
		send(&request);
	}
}

/* What a VMM does that takes descriptors apart. The request reaches devices' TLBs too, so that their descriptors need none. */
static void by_fields(const struct descriptor *queue, int count)
{
	for (int at = 0; at < count; at++) {
		const struct descriptor *d = queue + at;
		struct request request = { .op = 4, .model = 1, .scope = 3 };

		if ((d->low & 15) != 6)
			continue;
		request.inval_flags = d->high & 1 << 6 ? 2 : 0;
		request.pasid = d->low >> 32 & 0xfffff;
		request.vaddr = d->high & ~0xfffull;
		request.size = 4096ull << (d->high & 0x3f);
		send(&request);
	}
}

int main(int count, char **words)
{
	static struct descriptor queue[2 * PAGES];
	int rounds;

	if (count != 3)
		return 2;
	rounds = atoi(words[2]);
	set_up();
	for (uint64_t page = 0; page < PAGES; page++) {
		queue[2 * page] = (struct descriptor){ 6 | 3 << 4 | PASID << 32, page << 12 | 1 << 6 };
		queue[2 * page + 1] = (struct descriptor){ 8 | SOURCE << 16 | PASID << 32, page << 12 };
	}
	for (int round = 0; round < rounds; round++) {
		uint64_t start = nanoseconds();

		if (!strcmp(words[1], "fields"))
			by_fields(queue, 2 * PAGES);
		else
			by_descriptors(queue, 2 * PAGES, strcmp(words[1], "list") ? 1 : LIST);
		printf("%.0f\n", (double)(nanoseconds() - start) / PAGES);
	}
	return 0;
}
