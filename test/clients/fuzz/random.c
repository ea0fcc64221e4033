#include "fuzz.h"

__thread uint64_t random_state;

/* splitmix64: two seeds that are neighbours have nothing in common. */
uint64_t mixed(uint64_t a, uint64_t b)
{
	uint64_t z = a + (b + 1) * 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint32_t below(uint32_t limit)
{
	random_state += 0x9e3779b97f4a7c15ull;
	return (uint32_t)(((mixed(random_state, 0) >> 32) * limit) >> 32);
}
