/*
 * A program opens a device's nodes and gets no processor for what follows: it is as unimportant as can be, where others are busy. Meanwhile one that means
 * no harm makes calls. Says how often the first one opened, and how many milliseconds the other one waited at most while neither it nor uvfio waited for
 * a processor. Exit status 77 when that cannot be had here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HOGS 3
#define SECONDS 3

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static int schedule(int pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
	return open(path, O_RDONLY);
}

static uint64_t unscheduled_ns(int fd)
{
	char text[80] = { 0 }, *end;
	if (pread(fd, text, sizeof text - 1, 0) <= 0)
		exit(77);
	strtoull(text, &end, 10);
	return strtoull(end, 0, 10);
}

static int make_call(void)
{
	int container = open("/dev/vfio/vfio", O_RDWR);
	int version = ioctl(container, 0x3b64);
	close(container);
	return container >= 0 && version == 0;
}

int main(void)
{
	int own = schedule(getpid()), supervisor = schedule(getppid());
	unsigned *opened = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t children[HOGS + 1];
	for (int i = 0; i <= HOGS; i++)
		if ((children[i] = fork()) == 0) {
			cpu_set_t first;
			struct sched_param none = { 0 };
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			CPU_ZERO(&first);
			CPU_SET(0, &first);
			if (sched_setaffinity(0, sizeof first, &first) || (i == HOGS && sched_setscheduler(0, SCHED_IDLE, &none)))
				_exit(77);
			for (;;)
				if (i == HOGS)
					*opened += make_call();
		}
	uint64_t longest = 0;
	for (uint64_t end = now_ns() + SECONDS * 1000000000ull; now_ns() < end; usleep(1000)) {
		uint64_t start = now_ns(), unscheduled = unscheduled_ns(own) + unscheduled_ns(supervisor);
		if (!make_call())
			return 1;
		unscheduled = unscheduled_ns(own) + unscheduled_ns(supervisor) - unscheduled;
		uint64_t all = now_ns() - start;
		if (all > unscheduled && all - unscheduled > longest)
			longest = all - unscheduled;
	}
	for (int i = 0; i <= HOGS; i++)
		kill(children[i], SIGKILL);
	for (int i = 0; i <= HOGS; i++)
		waitpid(children[i], 0, 0);
	printf("opened %u, held %lu ms\n", *opened, longest / 1000000);
	return 0;
}
