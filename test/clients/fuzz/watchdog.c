#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "fuzz.h"

#define MOST_ROUNDS 2000000

uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static int rising(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static struct waits sorted(uint32_t *us, uint32_t count)
{
	if (count == 0)
		return (struct waits){ 0 };
	qsort(us, count, sizeof *us, rising);
	return (struct waits){ count, us[(uint64_t)count * 999 / 1000], us[count - 1] };
}

int open_schedule(int pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

uint64_t unscheduled_ns(int schedule)
{
	/* nanoseconds that it ran, that it waited, and how often it ran */
	char text[80] = { 0 }, *end;
	if (pread(schedule, text, sizeof text - 1, 0) <= 0)
		return 0;
	strtoull(text, &end, 10);
	return strtoull(end, 0, 10);
}

/* A process that only answers: what it takes is the machine's load, not uvfio's. */
static void echo(int from, int to)
{
	char byte;
	while (read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1)
		;
	_exit(0);
}

void watchdog(int result_fd)
{
	uint32_t *calls = malloc(MOST_ROUNDS * sizeof *calls), *plain = malloc(MOST_ROUNDS * sizeof *plain), rounds = 0;
	uint32_t *held = malloc(MOST_ROUNDS * sizeof *held);
	/* this process was forked by the one that uvfio started */
	int there[2], back[2], own = open_schedule(getpid()), supervisor = open_schedule(shared->supervisor);
	char byte = 0;
	if (!calls || !plain || !held || own < 0 || supervisor < 0 || pipe(there) || pipe(back))
		_exit(1);
	if (fork() == 0) {
		close(there[1]);
		echo(there[0], back[1]);
	}
	for (; !shared->stop && rounds < MOST_ROUNDS; rounds++) {
		uint64_t begin = now_ns(), unscheduled = unscheduled_ns(own) + unscheduled_ns(supervisor), start = now_ns();
		int container = open("/dev/vfio/vfio", O_RDWR);
		int version = ioctl(container, 0x3b64);
		close(container);
		if (version != 0)
			violation("a program that did nothing wrong was not served");
		uint64_t served = now_ns();
		unscheduled = unscheduled_ns(own) + unscheduled_ns(supervisor) - unscheduled;
		uint64_t all = now_ns() - begin;
		held[rounds] = all > unscheduled ? (all - unscheduled) / 1000 : 0;
		uint64_t asked = now_ns();
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			_exit(1);
		calls[rounds] = (served - start) / 1000;
		plain[rounds] = (now_ns() - asked) / 1000;
		usleep(2000);
	}
	struct waits waits[WAITS] = { sorted(calls, rounds), sorted(held, rounds), sorted(plain, rounds) };
	_exit(write(result_fd, waits, sizeof waits) == sizeof waits ? 0 : 1);
}
