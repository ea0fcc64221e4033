/*
 * Writes a doorbell, waits for what it starts, a copy of 64 bytes, and writes the time of each round, in nanoseconds, as 32-bit numbers to stdout.
 * Between two rounds nothing happens for a while: each doorbell is a lone one.
 *
 *      doorbell COUNT [BDF]
 *
 * With a device (ioat, 8086:2021), by its mapped registers. Without one the baseline, a device in C: its registers are a page of memory that is
 * protected by userfaultfd; a process is told of a write to it, lets it happen, copies between places in the writer's memory, and says so in the page.
 */
#define _GNU_SOURCE
#include "clock.h"
#include "ioat.h"
#include "mapped-device.h"
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)
#define PAGE 4096
#define BYTES 64
#define PAUSE_NS 300000
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif

static uint64_t status(void) { return *(volatile uint64_t *)(bar + CHANSTS) & 7; }

static void ready(void)
{
	if (status() != HALTED) {
		*(bar + CHANCMD) = 4;
		while (status() != SUSPENDED)
			;
	}
	*(volatile uint64_t *)(bar + CHAINADDR) = IOVA;
}

/* The device in C: its doorbell is the first page of `registers`, its status the second, which is not protected. */
static void serve(pid_t client, int theirs, uint8_t *registers)
{
	int pidfd = syscall(SYS_pidfd_open, client, 0);
	int faults = syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
	CHECK(faults >= 0);
	volatile uint32_t *doorbell = (void *)registers, *done = (void *)(registers + PAGE);
	uint64_t *where = (void *)(registers + PAGE + 64);
	uint8_t bytes[BYTES];
	struct pollfd both[] = { { faults, POLLIN, 0 }, { pidfd, POLLIN, 0 } };
	for (;;) {
		struct uffd_msg message;
		if (poll(both, 2, -1) < 0 || both[1].revents)
			return;
		if (read(faults, &message, sizeof message) != sizeof message)
			continue;
		struct uffdio_writeprotect protection = { { message.arg.pagefault.address & ~(PAGE - 1ull), PAGE }, 0 };
		CHECK(!ioctl(faults, UFFDIO_WRITEPROTECT, &protection));
		while (!*doorbell)
			sched_yield();
		*doorbell = 0;
		protection.mode = UFFDIO_WRITEPROTECT_MODE_WP;
		CHECK(!ioctl(faults, UFFDIO_WRITEPROTECT, &protection));
		struct iovec here = { bytes, BYTES }, from = { (void *)where[0], BYTES }, to = { (void *)where[1], BYTES };
		CHECK(process_vm_readv(client, &here, 1, &from, 1, 0) == BYTES && process_vm_writev(client, &here, 1, &to, 1, 0) == BYTES);
		*done = 1;
	}
}

static void start_server(void)
{
	int file = memfd_create("registers", 0), ends[2];
	CHECK(file >= 0 && !ftruncate(file, 2 * PAGE) && !pipe(ends));
	uint8_t *registers = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(registers != MAP_FAILED);
	memset(registers, 0, 2 * PAGE);
	pid_t client = fork();
	CHECK(client >= 0);
	if (client > 0) {
		int faults, state;
		CHECK(read(ends[0], &faults, sizeof faults) == sizeof faults);
		serve(client, faults, registers);
		CHECK(waitpid(client, &state, 0) == client);
		exit(WIFEXITED(state) ? WEXITSTATUS(state) : 1);
	}
	bar = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
	memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(bar != MAP_FAILED && memory != MAP_FAILED);
	int faults = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = { UFFD_API, UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM, 0 };
	struct uffdio_register watch = { { (uintptr_t)bar, PAGE }, UFFDIO_REGISTER_MODE_WP, 0 };
	struct uffdio_writeprotect protection = { { (uintptr_t)bar, PAGE }, UFFDIO_WRITEPROTECT_MODE_WP };
	*(volatile uint32_t *)bar = 0;
	CHECK(faults >= 0 && !ioctl(faults, UFFDIO_API, &api) && !ioctl(faults, UFFDIO_REGISTER, &watch) && !ioctl(faults, UFFDIO_WRITEPROTECT, &protection));
	uint64_t *where = (void *)(bar + PAGE + 64);
	where[0] = (uintptr_t)memory + PAGE;
	where[1] = (uintptr_t)memory + 2 * PAGE;
	CHECK(write(ends[1], &faults, sizeof faults) == sizeof faults);
}

int main(int argc, char **argv)
{
	CHECK(argc > 1);
	int count = atoi(argv[1]);
	const int is_device = argc > 2;
	if (is_device) {
		CHECK(open_mapped_device(argv[2], PAGE, 4 * PAGE));
		*(struct descriptor *)memory = (struct descriptor){ .size = BYTES, .source = IOVA + PAGE, .target = IOVA + 2 * PAGE, .next = IOVA };
		*(bar + CHANCMD) = 0x20;
		while (*(bar + CHANCMD) & 0x20)
			;
	} else {
		start_server();
	}
	uint32_t *times = malloc(count * sizeof *times);
	CHECK(times);
	for (int i = 0; i < count; i++) {
		struct timespec pause = { 0, PAUSE_NS };
		volatile uint32_t *done = (void *)(bar + PAGE);
		memory[PAGE] = i;
		if (is_device)
			ready();
		else
			*done = 0;
		nanosleep(&pause, NULL);
		uint64_t start = nanoseconds();
		if (is_device) {
			*(volatile uint16_t *)(bar + DMACOUNT) = 1;
			while (status() != DONE)
				;
		} else {
			*(volatile uint32_t *)bar = 1;
			while (!*done)
				;
		}
		times[i] = nanoseconds() - start;
		CHECK(memory[2 * PAGE] == (uint8_t)i);
	}
	CHECK(fwrite(times, sizeof *times, count, stdout) == (size_t)count);
	return 0;
}
