/*
 * What the quickest kernel could take for a sequence of VFIO_IOMMU_MAP_DMA and UNMAP_DMA calls: for each of them a system call that does nothing
 * (an ioctl that /dev/null refuses) and the work on a red-black tree of mappings, as type1 keeps them, or on a table of TCEs; no page is
 * pinned and no IOMMU programmed. Writes the time of each round in nanoseconds, one a line.
 *
 *      sequence FILE ROUNDS    FILE: 64-bit floating point numbers, three for each call: 0 map, 1 unmap, 2 unmap all, 3 map TCEs; page; pages
 */
#include <bsd/sys/tree.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "clock.h"

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)
#define TCE_SHIFT 4 /* a TCE is of 64K, in pages of 4K */
#define TCES (1u << 20)
enum { MAP, UNMAP, UNMAP_ALL, MAP_TCES };

struct call { double kind, page, pages; };

/* struct vfio_dma in short */
struct mapping {
	RB_ENTRY(mapping) entry;
	uint64_t page, pages, vaddr;
	int flags;
};

static int compare(struct mapping *a, struct mapping *b) { return a->page < b->page ? -1 : a->page > b->page; }

static RB_HEAD(tree, mapping) tree = RB_INITIALIZER(&tree);
RB_GENERATE_INTERNAL(tree, mapping, entry, compare, __attribute__((unused)) static)

/* the hardware's table, and the copy of user addresses beside it */
static uint64_t hardware[TCES], user[TCES];
static int null;

static struct mapping *first_from(uint64_t page)
{
	struct mapping *found = NULL;
	for (struct mapping *m = RB_ROOT(&tree); m;) {
		if (page < m->page + m->pages) {
			found = m;
			if (page >= m->page)
				break;
			m = RB_LEFT(m, entry);
		} else {
			m = RB_RIGHT(m, entry);
		}
	}
	return found;
}

static void map(uint64_t page, uint64_t pages)
{
	struct vfio_iommu_type1_dma_map call = { .argsz = sizeof call, .flags = 3, .vaddr = 4096, .iova = page << 12, .size = pages << 12 };
	CHECK(ioctl(null, VFIO_IOMMU_MAP_DMA, &call) < 0);
	struct mapping *there = first_from(page), *m = malloc(sizeof *m);
	CHECK(m && (!there || there->page >= page + pages));
	*m = (struct mapping){ .page = page, .pages = pages, .vaddr = call.vaddr, .flags = call.flags };
	RB_INSERT(tree, &tree, m);
}

static void unmap(uint64_t page, uint64_t pages)
{
	struct vfio_iommu_type1_dma_unmap call = { .argsz = sizeof call, .iova = page << 12, .size = pages << 12 };
	CHECK(ioctl(null, VFIO_IOMMU_UNMAP_DMA, &call) < 0);
	for (struct mapping *next, *m = first_from(page); m && m->page < page + pages; m = next) {
		next = RB_NEXT(tree, &tree, m);
		RB_REMOVE(tree, &tree, m);
		free(m);
	}
}

static void map_tces(uint64_t page, uint64_t pages)
{
	struct vfio_iommu_type1_dma_map call = { .argsz = sizeof call, .flags = 3, .vaddr = page << 12, .iova = page << 12, .size = pages << 12 };
	CHECK(ioctl(null, VFIO_IOMMU_MAP_DMA, &call) < 0);
	for (uint64_t i = page >> TCE_SHIFT; i < (page + pages) >> TCE_SHIFT; i++) {
		__atomic_exchange_n(&hardware[i % TCES], i << 16 | 3, __ATOMIC_RELAXED);
		user[i % TCES] = i << 16;
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 3 && (null = open("/dev/null", O_RDWR)) >= 0);
	FILE *file = fopen(argv[1], "r");
	CHECK(file && !fseek(file, 0, SEEK_END));
	size_t count = ftell(file) / sizeof(struct call);
	struct call *calls = malloc(count * sizeof *calls);
	rewind(file);
	CHECK(calls && fread(calls, sizeof *calls, count, file) == count);
	for (int round = -1; round < atoi(argv[2]); round++) {
		uint64_t start = nanoseconds();
		for (size_t i = 0; i < count; i++) {
			const struct call *c = &calls[i];
			if (c->kind == MAP)
				map(c->page, c->pages);
			else if (c->kind == UNMAP)
				unmap(c->page, c->pages);
			else if (c->kind == UNMAP_ALL)
				unmap(0, 1ull << 52);
			else
				map_tces(c->page, c->pages);
		}
		if (round >= 0)
			printf("%lu\n", (unsigned long)(nanoseconds() - start));
	}
	return 0;
}
