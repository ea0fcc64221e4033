/*
 * The baseline of ioat-copy: the same bytes in the same pieces, read from another process and written back to it with process_vm_readv()
 * and process_vm_writev(). Writes the time of each round, in nanoseconds, as 32-bit numbers to stdout.
 *
 *      process-copy ROUNDS
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "clock.h"

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)
#define PIECE (1u << 20)
#define PIECES 64
#define ROUND ((uint64_t)PIECES * PIECE)

static void copy_round(pid_t child, uint8_t *memory, uint8_t *piece)
{
	for (unsigned i = 0; i < PIECES; i++) {
		struct iovec here = { piece, PIECE }, source = { memory + (uint64_t)i * PIECE, PIECE }, target = { memory + ROUND + (uint64_t)i * PIECE, PIECE };
		CHECK(process_vm_readv(child, &here, 1, &source, 1, 0) == PIECE);
		CHECK(process_vm_writev(child, &here, 1, &target, 1, 0) == PIECE);
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	int ready[2];
	CHECK(!pipe(ready));
	uint8_t *memory = mmap(NULL, 2 * ROUND, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* as the memory: what lies a few bytes apart modulo a page is copied many times slower */
	uint8_t *piece = aligned_alloc(4096, PIECE);
	CHECK(memory != MAP_FAILED && piece);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		for (uint64_t i = 0; i < 2 * ROUND; i++)
			memory[i] = i * 7 + (i >> 12);
		CHECK(write(ready[1], "r", 1) == 1);
		for (;;)
			pause();
	}
	CHECK(read(ready[0], piece, 1) == 1);
	copy_round(child, memory, piece);
	for (int i = atoi(argv[1]); i > 0; i--) {
		uint64_t start = nanoseconds();
		copy_round(child, memory, piece);
		uint32_t time = nanoseconds() - start;
		CHECK(fwrite(&time, sizeof time, 1, stdout) == 1);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
