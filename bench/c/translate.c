/*
 * Looks random pages up in an intrusive red-black tree of single-page mappings, as the kernel's type1 backend keeps them
 * (drivers/vfio/vfio_iommu_type1.c: vfio_find_dma), and writes the time of one lookup in each round, in nanoseconds, one a line.
 *
 *      translate LIVE COUNT ROUNDS
 */
#include <bsd/sys/tree.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "clock.h"
#include "random.h"

#define FIRST 0x700000
#define READ 1

/* struct vfio_dma with what a lookup needs */
struct mapping {
	RB_ENTRY(mapping) entry;
	uint64_t page, pages, vaddr_page;
	int flags;
};

static int compare(struct mapping *a, struct mapping *b) { return a->page < b->page ? -1 : a->page > b->page; }

static RB_HEAD(tree, mapping) tree = RB_INITIALIZER(&tree);
RB_GENERATE_INTERNAL(tree, mapping, entry, compare, __attribute__((unused)) static)

static int64_t translate(uint64_t page, int access)
{
	for (struct mapping *m = RB_ROOT(&tree); m;) {
		if (page < m->page)
			m = RB_LEFT(m, entry);
		else if (page >= m->page + m->pages)
			m = RB_RIGHT(m, entry);
		else
			return m->flags & access ? (int64_t)(m->vaddr_page + page - m->page) : -1;
	}
	return -1;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	uint32_t live = atoi(argv[1]), count = atoi(argv[2]), rounds = atoi(argv[3]);
	uint32_t *order = malloc(live * sizeof *order);
	for (uint32_t i = 0; i < live; i++)
		order[i] = i;
	for (uint32_t i = live - 1; i > 0; i--) {
		uint32_t other = below(i + 1), kept = order[i];
		order[i] = order[other];
		order[other] = kept;
	}
	for (uint32_t i = 0; i < live; i++) {
		/* one by one, as the kernel allocates them */
		struct mapping *m = malloc(sizeof *m);
		if (!m)
			return 1;
		*m = (struct mapping){ .page = FIRST + 2ull * order[i], .pages = 1, .vaddr_page = 1000 + order[i], .flags = 3 };
		RB_INSERT(tree, &tree, m);
	}
	volatile uint64_t sum = 0;
	for (uint32_t round = 0; round <= rounds; round++) {
		uint64_t start = nanoseconds(), found = 0;
		for (uint32_t i = 0; i < count; i++)
			found += translate(FIRST + 2ull * below(live), READ) % 1024;
		sum += found;
		if (round > 0)
			printf("%f\n", (double)(nanoseconds() - start) / count);
	}
	return 0;
}
