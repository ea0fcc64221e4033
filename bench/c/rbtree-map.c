/*
 * Page runs in an intrusive red-black tree, as the kernel's type1 backend keeps its mappings (drivers/vfio/vfio_iommu_type1.c: dma_list).
 */
#include <bsd/sys/tree.h>
#include <stddef.h>
#include <stdint.h>

struct run {
	RB_ENTRY(run) entry;
	uint64_t start, pages;
	uint32_t value;
};

static int compare(struct run *a, struct run *b) { return a->start < b->start ? -1 : a->start > b->start; }

static RB_HEAD(tree, run) tree = RB_INITIALIZER(&tree);
RB_GENERATE_INTERNAL(tree, run, entry, compare, __attribute__((unused)) static)

#include "interval-operations.h"

static struct run *first_from(uint64_t page)
{
	struct run *found = NULL;
	for (struct run *run = RB_ROOT(&tree); run;) {
		if (page < run->start + run->pages) {
			found = run;
			if (page >= run->start)
				break;
			run = RB_LEFT(run, entry);
		} else {
			run = RB_RIGHT(run, entry);
		}
	}
	return found;
}

static void insert(struct run *run) { RB_INSERT(tree, &tree, run); }
static void take_out(struct run *run) { RB_REMOVE(tree, &tree, run); }
