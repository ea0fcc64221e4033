/*
 * Registers of a channel of Intel's DMA engine (ioat, 8086:2021), states of it in CHANSTS, and what it copies by.
 */
#include <stdint.h>

enum { CHANCMD = 0x84, DMACOUNT = 0x86, CHANSTS = 0x88, CHAINADDR = 0x90 };
enum { DONE = 1, SUSPENDED = 2, HALTED = 3 };

struct descriptor { uint32_t size, control; uint64_t source, target, next, unused[4]; };
