/*
 * Serves commands about one map of page runs, so that it can be measured in turn with another: bench/inside/interval-map.mjs does the
 * same operations on the same random numbers. A tree's own file defines struct run and the functions declared here; it includes this
 * behind struct run.
 *
 *      build N ORDER       makes N runs; ORDER is random or rising
 *      find|overlap|pair|mixed COUNT
 *      clear               takes all runs out
 *
 * Each command is answered with its processor time in nanoseconds and a checksum of what was found. The runs lie in one array, so that
 * the tree pays for no allocation of them.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Where programs have their memory that use its addresses as IOVAs: page numbers that do not fit into 32 bits. */
#define BASE 0x700000000ull
/* Pages of one run at rising addresses. */
#define RISING_PAGES 8
#define HUGE_PAGE (2ul << 20)

static struct run *first_from(uint64_t page); /* the lowest run that ends behind the page */
static void insert(struct run *run);
static void take_out(struct run *run);

static struct run *runs;
static uint32_t random_state, mask, sum, made;
static uint64_t size, rising_from, rising_to, rising_at;
static int rising;

static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static void count(uint32_t value) { sum = sum * 31 + value; }

static int overlaps(uint64_t start, uint64_t pages)
{
	struct run *run = first_from(start);
	return run && run->start < start + pages;
}

static void add(struct run *run)
{
	for (;;) {
		if (rising) {
			run->start = rising_to;
			run->pages = RISING_PAGES;
			rising_to += RISING_PAGES;
		} else {
			uint32_t r = next_random();
			run->start = BASE + (r & mask);
			run->pages = 1 + (r >> 29);
		}
		if (!overlaps(run->start, run->pages))
			break;
	}
	run->value = made++;
	insert(run);
}

static uint64_t next_page(void)
{
	if (!rising)
		return BASE + (next_random() & mask);
	if (++rising_at >= rising_to || rising_at < rising_from)
		rising_at = rising_from;
	return rising_at;
}

static void find(void)
{
	struct run *run = first_from(next_page());
	count(run ? run->value : 1);
}

static void overlap(void) { count(overlaps(next_page(), 4)); }

static void pair(void)
{
	struct run *run = first_from(rising ? rising_from : next_page());
	if (!run)
		run = first_from(0);
	count(run->value);
	rising_from += RISING_PAGES;
	take_out(run);
	add(run);
}

static void mixed(void)
{
	find();
	overlap();
	pair();
}

static void build(uint64_t number, int is_rising)
{
	for (mask = 1; mask < 64 * number; mask *= 2)
		;
	mask--;
	random_state = 2463534242u;
	made = sum = 0;
	size = number;
	rising = is_rising;
	rising_from = rising_to = rising_at = BASE;
	for (uint64_t i = 0; i < number; i++)
		add(&runs[i]);
}

static void clear(void)
{
	for (struct run *run; (run = first_from(0));) {
		count(run->value);
		take_out(run);
	}
}

/* Zeros in huge pages, as the kernel's own nodes lie in its direct mapping. */
static void *allocate(size_t bytes)
{
	size_t size = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	void *memory = aligned_alloc(HUGE_PAGE, size);
	if (!memory)
		return NULL;
	madvise(memory, size, MADV_HUGEPAGE);
	return memset(memory, 0, size);
}

/* Of processor time: what other programs on the machine take is not in it. */
static uint64_t nanoseconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int main(void)
{
	char line[64], name[16], order[16];
	unsigned long number;
	while (fgets(line, sizeof line, stdin)) {
		int words = sscanf(line, "%15s %lu %15s", name, &number, order);
		if (words == 3) {
			free(runs);
			if (!(runs = allocate(number * sizeof *runs)))
				return 1;
		}
		uint64_t start = nanoseconds();
		if (words == 3)
			build(number, !strcmp(order, "rising"));
		else if (words == 1)
			clear();
		else if (!strcmp(name, "find"))
			while (number--)
				find();
		else if (!strcmp(name, "overlap"))
			while (number--)
				overlap();
		else if (!strcmp(name, "pair"))
			while (number--)
				pair();
		else if (!strcmp(name, "mixed"))
			while (number--)
				mixed();
		printf("%lu %u\n", (unsigned long)(nanoseconds() - start), sum);
		fflush(stdout);
	}
	return 0;
}
