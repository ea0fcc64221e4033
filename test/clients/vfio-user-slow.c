/*
 * A process reads a register of a device whose server takes its time, while another one reads registers of another device.
 * Usage: vfio-user-slow SLOW OTHER: the longest of the other's reads, in milliseconds, and how many there were; the slow register
 */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <time.h>
#include "device-file.h"
#include "type1-group.h"

#define SLOW_REGISTER 8

static double milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void open_it(const char *bdf)
{
	int container, group;
	uint16_t command = 6;
	device = open_pci_device(bdf, &container, &group);
	put(((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40) + 4, &command, 2);
}

int main(int argc, char **argv)
{
	int ready[2];
	uint32_t value;
	if (argc < 3 || pipe(ready))
		return 2;
	pid_t child = fork();
	if (child == 0) {
		open_it(argv[1]);
		if (write(ready[1], "", 1) != 1)
			die("write");
		double start = milliseconds();
		get(SLOW_REGISTER, &value, 4);
		printf("slow %08x after %.0f ms\n", value, milliseconds() - start);
		fflush(stdout);
		_exit(0);
	}
	open_it(argv[2]);
	if (read(ready[0], &value, 1) != 1)
		die("read");
	double longest = 0;
	int count = 0;
	while (waitpid(child, 0, WNOHANG) == 0) {
		double start = milliseconds();
		get(0, &value, 4);
		double took = milliseconds() - start;
		if (took > longest)
			longest = took;
		count++;
	}
	printf("other %08x longest %.1f count %d\n", value, longest, count);
}
