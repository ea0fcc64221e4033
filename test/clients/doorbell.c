/*
 * Writes ioat's DMACOUNT through a mapping and reads the channel's status in the next instructions, as on a real bus: it must be at work, or
 * done, and not what it was before.
 *
 *      doorbell BDF plain|threads|fork|vfork|signals|stop|interrupt|maps|polled|exec|crash|exit
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

#include "type1-group.h"

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); exit(1); } } while (0)

enum { CHANCTRL = 0x80, CHANCMD = 0x84, DMACOUNT = 0x86, CHANSTS = 0x88, CHAINADDR = 0x90, RESET = 0x20, ACTIVE = 0, DONE = 1, HALTED = 3 };
#define IOVA 0x10000

static volatile uint8_t *bar;
static uint64_t *memory;
static volatile int ticks;

static int status(void) { return *(volatile uint64_t *)(bar + CHANSTS) & 7; }

/*
 * One null descriptor that links to itself, DMACOUNT times: the largest count keeps the engine ACTIVE for a while.
 */
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
		int seen = status();
		wrong += seen != DONE && seen != ACTIVE;
		while (seen == ACTIVE) {
			usleep(500);
			seen = status();
		}
		wrong += seen != DONE;
	}
	return wrong;
}

static void *run(void *result) { *(int *)result = stale(20); return 0; }
static void tick(int signal) { (void)signal; ticks++; }

static int device;
static pthread_barrier_t together;

static void *map_often(void *result)
{
	int failed = 0;
	for (int i = 0; i < 20; i++) {
		pthread_barrier_wait(&together);
		volatile uint8_t *mine = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
		failed += mine == MAP_FAILED;
		munmap((void *)mine, 4096);
	}
	*(int *)result = failed;
	return 0;
}

/* A child that rings all the time is stopped and continued by its parent, which must see both. */
static int stopped(int (*work)(unsigned))
{
	int child = fork(), end;
	if (child == 0)
		_exit(work(200));
	for (int i = 0; i < 20; i++) {
		usleep(2000);
		CHECK(kill(child, i % 2 ? SIGTSTP : SIGSTOP) == 0);
		CHECK(waitpid(child, &end, WUNTRACED) == child);
		if (!WIFSTOPPED(end))
			break;
		char path[32], text[256] = "";
		sprintf(path, "/proc/%d/stat", child);
		int stat = open(path, O_RDONLY);
		CHECK(read(stat, text, sizeof text - 1) > 0);
		close(stat);
		char state = *(strrchr(text, ')') + 2);
		CHECK(state == 'T' || state == 't');
		CHECK(kill(child, SIGCONT) == 0);
		CHECK(waitpid(child, &end, WCONTINUED) == child);
		if (!WIFCONTINUED(end))
			break;
	}
	if (!WIFEXITED(end))
		CHECK(waitpid(child, &end, 0) == child && WIFEXITED(end));
	return WEXITSTATUS(end);
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	const char *mode = argv[2];
	int container, group;
	device = open_pci_device(argv[1], &container, &group);
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
	if (!strcmp(mode, "polled")) {
		/* Where registers are not watched a doorbell is seen when uvfio looks: what is read at once may be old, later it is not. */
		bar[CHANCMD] = RESET;
		while (bar[CHANCMD] & RESET)
			usleep(500);
		*(volatile uint64_t *)(bar + CHAINADDR) = IOVA;
		*(volatile uint16_t *)(bar + DMACOUNT) = 1;
		for (int i = 0; i < 1000 && status() != DONE; i++)
			usleep(1000);
		printf("done %d\n", status() == DONE);
		return 0;
	}
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
	} else if (!strcmp(mode, "vfork")) {
		for (int i = 0; i < 10; i++) {
			int child = vfork(), end;
			if (child == 0) {
				if (i % 2)
					execlp("true", "true", NULL);
				_exit(stale(1));
			}
			CHECK(waitpid(child, &end, 0) == child && WIFEXITED(end));
			wrong += WEXITSTATUS(end) + stale(1);
		}
	} else if (!strcmp(mode, "stop")) {
		wrong += stopped(stale);
	} else if (!strcmp(mode, "interrupt")) {
		signal(SIGINT, tick);
		for (int i = 0; i < 20; i++) {
			CHECK(kill(0, SIGINT) == 0);
			wrong += stale(1);
		}
		CHECK(ticks >= 20);
	} else if (!strcmp(mode, "maps")) {
		pthread_t threads[3];
		int failed[3];
		pthread_barrier_init(&together, 0, 3);
		for (int i = 0; i < 3; i++)
			CHECK(pthread_create(&threads[i], 0, map_often, &failed[i]) == 0);
		for (int i = 0; i < 3; i++) {
			pthread_join(threads[i], 0);
			wrong += failed[i];
		}
		wrong += stale(20);
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
