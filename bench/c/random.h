/* The numbers of bench/inside/model.mjs: the same in every run (xorshift32). */
#include <stdint.h>

static uint32_t state = 2463534242u;

static uint32_t below(uint32_t limit)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return (uint64_t)state * limit >> 32;
}
