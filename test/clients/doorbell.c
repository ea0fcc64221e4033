/*
 * Writes ioat's DMACOUNT through a mapping and reads the channel's status in the next instructions, as on a real bus: it must not be HALTED
 * any more.
 *
 *      doorbell BDF plain|threads|fork|signals|exec|crash|exit
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); exit(1); } } while (0)

enum { CHANCTRL = 0x80, CHANCMD = 0x84, DMACOUNT = 0x86, CHANSTS = 0x88, CHAINADDR = 0x90, RESET = 0x20, HALTED = 3, DONE = 1 };
#define IOVA 0x10000

static volatile uint8_t *bar;
static uint64_t *memory;
static volatile int ticks;

static int status(void) { return *(volatile uint64_t *)(bar + CHANSTS) & 7; }

/* One null descriptor that links to itself, DMACOUNT times: the largest count is also the value that a fresh channel shows. */
static int stale(unsigned rounds)
{
	int wrong = 0;
	for (unsigned i = 0; i < rounds; i++) {
		bar[CHANCMD] = RESET;
		while (bar[CHANCMD] & RESET)
			usleep(500);
		CHECK(status() == HALTED);
		*(volatile uint64_t *)(bar + CHAINADDR) = IOVA;
		*(volatile uint16_t *)(bar + CHANCTRL) = 1;
		*(volatile uint16_t *)(bar + DMACOUNT) = i == 1 ? 0xffff : 1;
		wrong += status() != DONE;
	}
	return wrong;
}

static void *run(void *result) { *(int *)result = stale(20); return 0; }
static void tick(int signal) { (void)signal; ticks++; }

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	const char *mode = argv[2];
	char link[256], path[300];
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", argv[1]);
	ssize_t length = readlink(path, link, sizeof link - 1);
	CHECK(length > 0);
	link[length] = 0;
	int container = open("/dev/vfio/vfio", O_RDWR);
	snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(link, '/') + 1);
	int group = open(path, O_RDWR);
	CHECK(container >= 0 && group >= 0);
	CHECK(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0);
	CHECK(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0);
	int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[1]);
	CHECK(device >= 0);
	memory = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof map, .flags = 3, .vaddr = (uintptr_t)memory, .iova = IOVA, .size = 4096 };
	CHECK(ioctl(container, VFIO_IOMMU_MAP_DMA, &map) == 0);
	memory[0] = 1ull << 37; /* control: null */
	memory[3] = IOVA;
	struct vfio_region_info config = { .argsz = sizeof config, .index = VFIO_PCI_CONFIG_REGION_INDEX };
	CHECK(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) == 0);
	uint16_t command = 6;
	CHECK(pwrite(device, &command, 2, config.offset + 4) == 2);

	int other = -1;
	if (!strcmp(mode, "signals")) {
		struct itimerval timer = { { 0, 500 }, { 0, 500 } };
		signal(SIGALRM, tick);
		setitimer(ITIMER_REAL, &timer, 0);
	}
	bar = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	CHECK(bar != MAP_FAILED);
	int wrong = stale(20);
	if (!strcmp(mode, "threads")) {
		pthread_t thread;
		CHECK(pthread_create(&thread, 0, run, &other) == 0);
		pthread_join(thread, 0);
		wrong += other;
	} else if (!strcmp(mode, "fork")) {
		int child = fork(), end;
		if (child == 0)
			_exit(stale(20));
		CHECK(waitpid(child, &end, 0) == child && WIFEXITED(end));
		wrong += WEXITSTATUS(end) + stale(20);
	} else if (!strcmp(mode, "signals")) {
		CHECK(ticks > 10);
	} else if (!strcmp(mode, "exec")) {
		printf("stale %d\n", wrong);
		fflush(stdout);
		execlp("sh", "sh", "-c", "echo executed; exit 9", NULL);
	} else if (!strcmp(mode, "crash")) {
		raise(SIGSEGV);
	} else if (!strcmp(mode, "exit")) {
		exit(42 + wrong);
	}
	printf("stale %d\n", wrong);
	return 0;
}
