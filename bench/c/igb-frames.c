// Sends frames through an 82576 that is wired to itself, a ring at a time, through mapped registers, and writes how long a frame took from
// the tail's write to its descriptor: nanoseconds, one line a round. Usage: igb-frames ROUNDS BYTES
#define _GNU_SOURCE
#include "clock.h"
#include "mapped-device.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 512
#define BUFFER 2048
#define SIZE (0x4000 + 2 * BUFFER * ENTRIES)
#define RX_RING 0x2000
#define TX_DATA 0x4000
#define RX_DATA (TX_DATA + BUFFER * ENTRIES)

static void set(unsigned offset, uint32_t value) { *(volatile uint32_t *)(bar + offset) = value; }

struct descriptor {
  uint64_t address;
  uint32_t command, status;
};

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 10, bytes = argc > 2 ? atoi(argv[2]) : 64;
  if (!open_mapped_device("0000:05:00.0", 0x20000, SIZE)) return 1;
  // the PHY negotiates, and the link is up half a second later
  set(0x20, 0x04201340);
  for (int i = 0; i < 5000 && !(*(volatile uint32_t *)(bar + 8) & 2); i++) usleep(1000);
  set(0x3800, IOVA);
  set(0x3808, ENTRIES * 16);
  set(0x2800, IOVA + RX_RING);
  set(0x2808, ENTRIES * 16);
  set(0x280c, BUFFER / 1024);
  // receive everything, without the checksum, what is sent
  set(0x100, 1 << 26 | 1 << 15 | 1 << 6 | 1 << 4 | 1 << 3 | 1 << 1);
  set(0x400, 1 << 3 | 1 << 1);
  usleep(20000);
  volatile struct descriptor *sent = (void *)memory, *received = (void *)(memory + RX_RING);
  unsigned at = 0;
  for (int round = 0; round < rounds; round++) {
    for (unsigned i = 0; i < ENTRIES - 1; i++) {
      unsigned slot = (at + i) % ENTRIES;
      memset(memory + TX_DATA + BUFFER * slot, 0xff, 12);
      sent[slot].address = IOVA + TX_DATA + BUFFER * slot;
      sent[slot].command = 0x23300000 | bytes; // advanced, data, end of packet, with a checksum
      sent[slot].status = (uint32_t)bytes << 14;
      received[slot].address = IOVA + RX_DATA + BUFFER * slot;
      received[slot].command = received[slot].status = 0;
    }
    unsigned last = (at + ENTRIES - 2) % ENTRIES;
    at = (at + ENTRIES - 1) % ENTRIES;
    __sync_synchronize();
    uint64_t start = nanoseconds();
    set(0x2818, at);
    set(0x3818, at);
    while (!(received[last].command & 1))
      if (nanoseconds() - start > 5000000000ull) {
        fprintf(stderr, "round %d: nothing was received for 5 s\n", round);
        return 1;
      }
    printf("%llu\n", (unsigned long long)(nanoseconds() - start) / (ENTRIES - 1));
  }
  return 0;
}
