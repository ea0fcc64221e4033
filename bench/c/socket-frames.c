// Sends frames from one end of a UNIX datagram socket pair and takes them at the other, one after the other in one process, and writes
// how long a frame took: nanoseconds, one line a round. Usage: socket-frames ROUNDS BYTES
#include "clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define COUNT 2000

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 10, bytes = argc > 2 ? atoi(argv[2]) : 64, ends[2];
  static char frame[2048];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends)) return 1;
  for (int round = 0; round < rounds; round++) {
    uint64_t start = nanoseconds();
    for (int i = 0; i < COUNT; i++)
      if (send(ends[0], frame, bytes, 0) != bytes || recv(ends[1], frame, sizeof frame, 0) != bytes) return 1;
    printf("%llu\n", (unsigned long long)(nanoseconds() - start) / COUNT);
  }
  return 0;
}
