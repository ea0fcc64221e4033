// What the host `mock` shows of itself outside of its requests: /proc, debugfs, memory to map, and memory that a child has left.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

// Not every machine's <linux/iommufd.h> is new enough, and none has iommufd_test.h.
struct ioas_alloc { uint32_t size, flags, id; };
struct ioas_map { uint32_t size, flags, ioas, reserved; uint64_t address, length, iova; };
struct hwpt_alloc { uint32_t size, flags, device, parent, id, reserved, data_type, data_length; uint64_t data; uint32_t fault, reserved2; };
struct viommu_alloc { uint32_t size, flags, type, device, hwpt, id, data_length, reserved; uint64_t data; };
struct viommu_data { uint32_t in, out; uint64_t offset, length; };
struct destroy { uint32_t size, id; };
struct test_cmd {
  uint32_t size, op, id, reserved;
  union {
    struct { uint32_t stdev, hwpt, idev; } device;
    struct { uint32_t fd, flags; } access;
    struct { uint64_t iova, length, address; uint32_t flags; } move;
    uint64_t room[6];
  };
  uint32_t last;
};
enum { DESTROY = 0x3b80, IOAS_ALLOC = 0x3b81, IOAS_MAP = 0x3b85, HWPT_ALLOC = 0x3b89, VIOMMU_ALLOC = 0x3b90, TEST = 0x3ba0 };

static int iommu;

static int alloc(uint32_t *id) {
  struct ioas_alloc request = {.size = sizeof request};
  int result = ioctl(iommu, IOAS_ALLOC, &request);
  *id = request.id;
  return result;
}

static int map(uint32_t ioas, void *address, uint64_t length, uint64_t iova) {
  struct ioas_map request = {.size = sizeof request, .flags = 7, .ioas = ioas, .address = (uintptr_t)address, .length = length, .iova = iova};
  return ioctl(iommu, IOAS_MAP, &request);
}

static void print_pinned(const char *what, pid_t pid) {
  char text[100];
  snprintf(text, sizeof text, "/proc/%d/status", pid);
  FILE *file = fopen(text, "r");
  unsigned pinned = 0;
  while (file && fgets(text, sizeof text, file)) sscanf(text, "VmPin: %u", &pinned);
  if (file) fclose(file);
  printf("%s %u kB\n", what, pinned);
  fflush(stdout);
}

static void print_nth(int fd) {
  char text[20] = "";
  if (pread(fd, text, sizeof text - 1, 0) < 0) perror("fail-nth");
  printf("fail-nth %s", text);
}

int main(void) {
  uint32_t ioas = 0, other;
  iommu = open("/dev/iommu", O_RDWR);
  if (iommu < 0 || alloc(&ioas)) return perror("/dev/iommu"), 1;
  struct test_cmd device = {.size = sizeof device, .op = 2, .id = ioas};
  if (ioctl(iommu, TEST, &device)) return perror("MOCK_DOMAIN"), 1;
  char *buffer = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (map(ioas, buffer, 8192, 1 << 24)) return perror("MAP"), 1;
  print_pinned("VmPin", getpid());
  if (fork() == 0) {
    print_pinned("VmPin of the parent", getppid());
    // this mapping is the child's: its memory goes with it
    char *shared = buffer;
    strcpy(shared, "left behind");
    _exit(map(ioas, shared, 4096, (1 << 24) + 0x10000));
  }
  wait(0);

  char path[100];
  int wait_off = open("/sys/kernel/debug/failslab/ignore-gfp-wait", O_WRONLY);
  if (wait_off < 0 || write(wait_off, "N", 1) != 1) return perror("failslab"), 1;
  snprintf(path, sizeof path, "/proc/self/task/%d/fail-nth", getpid());
  int nth = open(path, O_RDWR);
  print_nth(nth);
  if (pwrite(nth, "3", 1, 0) != 1) perror("fail-nth");
  int first = alloc(&other), second = alloc(&other), third = alloc(&other);
  printf("third allocation: %d %d %s\n", first, second, third ? strerror(errno) : "0");
  print_nth(nth);
  close(nth);

  struct test_cmd access = {.size = sizeof access, .op = 5, .id = ioas};
  if (ioctl(iommu, TEST, &access)) return perror("CREATE_ACCESS"), 1;
  char seen[12] = "";
  struct test_cmd move = {.size = sizeof move, .op = 8, .id = access.access.fd};
  move.move.iova = (1 << 24) + 0x10000, move.move.length = sizeof seen, move.move.address = (uintptr_t)seen;
  if (ioctl(iommu, TEST, &move)) perror("ACCESS_RW");
  printf("read through the child's mapping: %s\n", seen);

  struct hwpt_alloc parent = {.size = sizeof parent, .flags = 1, .device = device.device.idev, .parent = ioas};
  if (ioctl(iommu, HWPT_ALLOC, &parent)) return perror("HWPT_ALLOC"), 1;
  struct viommu_data data = {.in = 0xbeef};
  struct viommu_alloc viommu = {.size = sizeof viommu, .type = 0xdeadbeef, .device = device.device.idev, .hwpt = parent.id, .data_length = sizeof data, .data = (uintptr_t)&data};
  if (ioctl(iommu, VIOMMU_ALLOC, &viommu)) return perror("VIOMMU_ALLOC"), 1;
  uint32_t *window = mmap(0, data.length, PROT_READ | PROT_WRITE, MAP_SHARED, iommu, data.offset);
  if (window == MAP_FAILED) return perror("mmap"), 1;
  struct destroy destroy = {.size = sizeof destroy, .id = viommu.id};
  int result = ioctl(iommu, DESTROY, &destroy);
  printf("mapped: 0x%x, destroy: %s\n", *window, result ? strerror(errno) : "0");
  munmap(window, data.length);
  printf("unmapped, destroy: %d\n", ioctl(iommu, DESTROY, &destroy));
  return 0;
}
