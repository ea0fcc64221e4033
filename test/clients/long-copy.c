// long-copy WHAT: a child has the first ioat engine of `lab` copy a MiB 65,535 times over, which takes it seconds, and says "kicked"; the parent
// then makes calls of its own. WHAT: "kill" ends the child in the middle and leaves; "wait" makes both wait to be ended.
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1u << 20)

struct descriptor {
	uint32_t size, control;
	uint64_t source, destination, next, own[4];
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void copy(int ready)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int container = open("/dev/vfio/vfio", O_RDWR), group = open("/dev/vfio/1", O_RDWR);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container)) fail("SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)) fail("SET_IOMMU");
	int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0");
	uint16_t command = 6;
	pwrite(device, &command, 2, (7ull << 40) + 4);
	char *memory = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(memory, 1, 4 * MIB);
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = 3, .vaddr = (uintptr_t)memory, .iova = 0, .size = 4 * MIB };
	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map)) fail("MAP_DMA");
	*(struct descriptor *)memory = (struct descriptor){ .size = MIB, .source = MIB, .destination = 2 * MIB };
	uint8_t reset = 0x20;
	pwrite(device, &reset, 1, 0x84);
	usleep(20000);
	uint64_t address = 0;
	uint16_t count = 65535;
	pwrite(device, &address, 8, 0x90);
	pwrite(device, &count, 2, 0x86);
	uint64_t status = 7;
	pread(device, &status, 8, 0x88);
	printf("status %d\n", (int)(status & 7));
	fflush(stdout);
	write(ready, "", 1);
	pause();
}

int main(int argc, char **argv)
{
	int ready[2];
	char byte;
	pipe(ready);
	pid_t child = fork();
	if (child == 0) copy(ready[1]);
	close(ready[1]);
	read(ready[0], &byte, 1);
	double longest = 0;
	for (int i = 0; i < 20; i++) {
		double start = seconds();
		int container = open("/dev/vfio/vfio", O_RDWR);
		if (ioctl(container, VFIO_GET_API_VERSION) != VFIO_API_VERSION) fail("GET_API_VERSION");
		close(container);
		if (seconds() - start > longest) longest = seconds() - start;
	}
	printf("%s\n", longest < 2 ? "others are served" : "others wait");
	fflush(stdout);
	if (argc > 1 && !strcmp(argv[1], "wait")) pause();
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	// what the child had is given back
	for (int i = 0; i < 100; i++) {
		int group = open("/dev/vfio/1", O_RDWR);
		if (group >= 0) {
			printf("the group is free\n");
			return 0;
		}
		usleep(100000);
	}
	fail("the group");
}
