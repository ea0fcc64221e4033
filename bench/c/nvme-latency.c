// Reads one block after the other through a mapped NVMe controller and writes to stdout how long each took from doorbell to completion:
// nanoseconds, 32 bits each. Usage: nvme-latency COUNT
#define _GNU_SOURCE
#include "clock.h"
#include "mapped-device.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 16

struct queue {
  unsigned id, submissions, completions, tail, head, phase;
};

static uint32_t give(struct queue *q, const uint32_t *command) {
  uint8_t *entry = memory + q->submissions + 64 * q->tail;
  memcpy(entry, command, 64);
  q->tail = (q->tail + 1) % ENTRIES;
  volatile uint16_t *status = (void *)(memory + q->completions + 16 * q->head + 14);
  __sync_synchronize();
  uint64_t start = nanoseconds();
  *(volatile uint32_t *)(bar + 0x1000 + 8 * q->id) = q->tail;
  while ((*status & 1) != q->phase) {}
  uint64_t end = nanoseconds();
  if (*status >> 1) {
    fprintf(stderr, "status 0x%x\n", *status >> 1);
    exit(1);
  }
  q->head = (q->head + 1) % ENTRIES;
  if (q->head == 0) q->phase ^= 1;
  *(volatile uint32_t *)(bar + 0x1004 + 8 * q->id) = q->head;
  return end - start;
}

int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 1000;
  if (!open_mapped_device("0000:05:00.0", 0x4000, 0x10000)) return 1;
  *(volatile uint32_t *)(bar + 0x24) = (ENTRIES - 1) << 16 | (ENTRIES - 1);
  *(volatile uint64_t *)(bar + 0x28) = IOVA;
  *(volatile uint64_t *)(bar + 0x30) = IOVA + 0x1000;
  *(volatile uint32_t *)(bar + 0x14) = 0x460001;
  while (!(*(volatile uint32_t *)(bar + 0x1c) & 1)) {}
  struct queue admin = {0, 0, 0x1000, 0, 0, 1}, io = {1, 0x2000, 0x3000, 0, 0, 1};
  uint32_t completion[16] = {5, 0, 0, 0, 0, 0, IOVA + 0x3000, 0, 0, 0, (ENTRIES - 1) << 16 | 1, 1};
  uint32_t submission[16] = {1, 0, 0, 0, 0, 0, IOVA + 0x2000, 0, 0, 0, (ENTRIES - 1) << 16 | 1, 1 << 16 | 1};
  give(&admin, completion);
  give(&admin, submission);
  uint32_t *times = malloc(count * sizeof *times);
  for (int i = 0; i < count; i++) {
    uint32_t read[16] = {2, 1, 0, 0, 0, 0, IOVA + 0x8000, 0, 0, 0, (i * 80) % 131072, 0, 7};
    times[i] = give(&io, read);
  }
  fwrite(times, sizeof *times, count, stdout);
  return 0;
}
