/*
 * Copies SIZE bytes back and forth between two buffers COUNT times and writes the time of one copy in each round, in nanoseconds, one a line.
 *
 *      memcpy SIZE COUNT ROUNDS
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"

#define PAGE 4096

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	size_t size = strtoul(argv[1], NULL, 10);
	int count = atoi(argv[2]), rounds = atoi(argv[3]);
	/* Page by page: buffers up to 63 bytes apart modulo 4096, as malloc() makes them, are copied up to twelve times slower. */
	char *a, *b;
	if (posix_memalign((void **)&a, PAGE, size) || posix_memalign((void **)&b, PAGE, size))
		return 1;
	memset(a, 1, size);
	memset(b, 2, size);
	for (int round = 0; round <= rounds; round++) {
		uint64_t start = nanoseconds();
		for (int i = 0; i < count; i++) {
			memcpy(i % 2 ? a : b, i % 2 ? b : a, size);
			__asm__ volatile("" : : "r"(a), "r"(b) : "memory");
		}
		if (round > 0)
			printf("%f\n", (double)(nanoseconds() - start) / count);
	}
	return 0;
}
