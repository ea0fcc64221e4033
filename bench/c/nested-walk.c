/*
 * Walks a guest's page table of four levels for random pages. Each table and the page itself are looked for in a red-black tree of
 * mappings, as a device's access is translated in two stages without a TLB. Writes the time of one walk in each round, in nanoseconds, one a
 * line.
 *
 *      nested-walk PAGES MAPPINGS COUNT ROUNDS
 */
#include <bsd/sys/tree.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "random.h"

#define FIRST 0x100000ull
#define PAGE 4096ull
#define DATA 512
#define PRESENT_WRITABLE_USER 7
#define ADDRESS 0xffffffffff000ull
#define ACCESSED 0x20

/* struct vfio_dma with what a lookup needs */
struct mapping {
	RB_ENTRY(mapping) entry;
	uint64_t iova, size;
	uint8_t *memory;
	int flags;
};

static int compare(struct mapping *a, struct mapping *b) { return a->iova < b->iova ? -1 : a->iova > b->iova; }

static RB_HEAD(tree, mapping) tree = RB_INITIALIZER(&tree);
RB_GENERATE_INTERNAL(tree, mapping, entry, compare, __attribute__((unused)) static)

/* The second stage. */
static uint8_t *host(uint64_t address, int access)
{
	for (struct mapping *m = RB_ROOT(&tree); m;) {
		if (address < m->iova)
			m = RB_LEFT(m, entry);
		else if (address >= m->iova + m->size)
			m = RB_RIGHT(m, entry);
		else
			return (m->flags & access) == access ? m->memory + (address - m->iova) : NULL;
	}
	return NULL;
}

/* Both stages. The first sets the accessed bit, as hardware does. */
static uint8_t *walk(uint64_t table, uint64_t address)
{
	for (int shift = 39; shift >= 12; shift -= 9) {
		uint64_t *entry = (uint64_t *)host(table + 8 * (address >> shift & 511), 1);
		if (!entry || !(*entry & 1))
			return NULL;
		if (!(*entry & ACCESSED))
			__atomic_fetch_or(entry, ACCESSED, __ATOMIC_SEQ_CST);
		table = *entry & ADDRESS;
	}
	return host(table + (address & (PAGE - 1)), 1);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	uint64_t pages = atoi(argv[1]), parts = atoi(argv[2]);
	uint32_t count = atoi(argv[3]), rounds = atoi(argv[4]);
	/* the tables of four levels, the lowest last, and the pages of data */
	uint64_t leaves = (pages + 511) / 512, middles = (leaves + 511) / 512;
	uint64_t bytes = (2 + middles + leaves + DATA) * PAGE, part = (bytes / PAGE + parts - 1) / parts * PAGE;
	uint8_t *memory = aligned_alloc(PAGE, parts * part);
	if (!memory)
		return 1;
	memset(memory, 0, parts * part);
	for (uint64_t i = 0; i < parts; i++) {
		struct mapping *m = malloc(sizeof *m);
		if (!m)
			return 1;
		*m = (struct mapping){ .iova = FIRST + i * part, .size = part, .memory = memory + i * part, .flags = 3 };
		RB_INSERT(tree, &tree, m);
	}
	uint64_t *words = (uint64_t *)memory, middle = 2, leaf = middle + middles, data = leaf + leaves;
	words[0] = (FIRST + 1 * PAGE) | PRESENT_WRITABLE_USER;
	for (uint64_t i = 0; i < middles; i++)
		words[512 + i] = (FIRST + (middle + i) * PAGE) | PRESENT_WRITABLE_USER;
	for (uint64_t i = 0; i < leaves; i++)
		words[512 * middle + i] = (FIRST + (leaf + i) * PAGE) | PRESENT_WRITABLE_USER;
	for (uint64_t i = 0; i < pages; i++)
		words[512 * leaf + i] = (FIRST + (data + i % DATA) * PAGE) | PRESENT_WRITABLE_USER;
	volatile uint64_t sum = 0;
	for (uint32_t round = 0; round <= rounds; round++) {
		uint64_t start = nanoseconds(), found = 0;
		for (uint32_t i = 0; i < count; i++) {
			uint8_t *at = walk(FIRST, below(pages) * PAGE);
			if (!at)
				return 1;
			found += *(uint64_t *)at;
		}
		sum += found;
		if (round > 0)
			printf("%f\n", (double)(nanoseconds() - start) / count);
	}
	return 0;
}
