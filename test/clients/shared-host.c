/*
 * Programs that meet on one host.
 *   shared-host open PATH...        opens each; prints "open PATH: ok" or the errno's name and number
 *   shared-host hold PATH...        the same, then "held", and waits for the end of stdin
 *   shared-host keep PATH...        the same, and heeds no SIGTERM
 *   shared-host give SOCKET GROUP   makes a container with the group, gives it to whoever connects, waits for the end of stdin
 *   shared-host take SOCKET         takes it, maps a page with it; prints what came of it
 *   shared-host map N               makes a container with group 1 and maps N pages one by one; prints the first errno
 *   shared-host print PATH...       prints the files
 *   shared-host write PATH TEXT     writes to the file; prints what came of it
 *   shared-host device GROUP NAME   has the device; says when ERR and REQ interrupts come, and obeys stdin: r reads registers, b reads BAR 0
 *                                   through a mapping, w writes there, m maps a page, x resets, the end closes all
 *   shared-host time N T            T threads make N VFIO_GET_API_VERSION each; prints the median in ns
 *   shared-host together N T        the same after the end of stdin
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096

static void say(const char *what, int result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: ok\n", what);
	fflush(stdout);
}

static void wait_for_end(void)
{
	char byte;
	printf("held\n");
	fflush(stdout);
	while (read(0, &byte, 1) > 0 || errno == EINTR)
		errno = 0;
}

static int open_all(char **paths)
{
	for (; *paths; paths++) {
		char what[256];
		snprintf(what, sizeof what, "open %s", *paths);
		say(what, open(*paths, O_RDWR));
	}
	return 0;
}

static int container_with(const char *group_path)
{
	int container = open("/dev/vfio/vfio", O_RDWR);
	int group = open(group_path, O_RDWR);
	if (container < 0 || group < 0) {
		say("open", -1);
		return -1;
	}
	say("set container", ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	say("set iommu", ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	return container;
}

static int map(int container, uint64_t iova)
{
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof map, .flags = VFIO_DMA_MAP_FLAG_READ };
	map.vaddr = (uintptr_t)mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map.iova = iova;
	map.size = PAGE;
	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

static int socket_at(const char *path, int is_server)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	if (!is_server)
		return connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -1 : fd;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0)
		return -1;
	printf("listening\n");
	fflush(stdout);
	return accept(fd, NULL, NULL);
}

static int give(const char *path, const char *group)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int container = container_with(group), peer = socket_at(path, 1);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &container, sizeof container);
	say("give", sendmsg(peer, &message, 0));
	wait_for_end();
	say("map where the taker did", map(container, 0));
	return 0;
}

static int take(const char *path)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	int container;
	if (recvmsg(socket_at(path, 0), &message, 0) < 0 || !CMSG_FIRSTHDR(&message)) {
		say("take", -1);
		return 1;
	}
	memcpy(&container, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof container);
	say("map", map(container, 0));
	say("map again", map(container, 0));
	return 0;
}

static int map_many(int count)
{
	int container = container_with("/dev/vfio/1");
	for (int n = 1; n <= count; n++) {
		char what[32];
		snprintf(what, sizeof what, "map %d", n);
		say(what, map(container, (uint64_t)n * PAGE));
	}
	return 0;
}

static int print_files(char **paths)
{
	char text[4096];
	for (; *paths; paths++) {
		int fd = open(*paths, O_RDONLY);
		ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text);
		if (size < 0)
			say(*paths, -1);
		else
			fwrite(text, 1, size, stdout);
	}
	return 0;
}

static int write_file(const char *path, const char *text)
{
	char what[256];
	int fd = open(path, O_WRONLY);
	snprintf(what, sizeof what, "write %s", path);
	say(what, fd < 0 ? -1 : write(fd, text, strlen(text)));
	return 0;
}

static void set_interrupt(int device, int index, int event)
{
	char bytes[sizeof(struct vfio_irq_set) + sizeof(int)];
	struct vfio_irq_set *set = (void *)bytes;
	*set = (struct vfio_irq_set){ sizeof bytes, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, 1 };
	memcpy(set->data, &event, sizeof event);
	say(index == VFIO_PCI_ERR_IRQ_INDEX ? "set ERR" : "set REQ", ioctl(device, VFIO_DEVICE_SET_IRQS, set));
}

static uint32_t read_at(int device, int region, int offset)
{
	struct vfio_region_info info = { .argsz = sizeof info, .index = region };
	uint32_t value = 0;
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) < 0 || pread(device, &value, 4, info.offset + offset) != 4)
		return 0xdead;
	return value;
}

/* The first and the last word of BAR 0, which is mapped once. */
static volatile uint32_t *bar_words(int device, size_t *last)
{
	static volatile uint32_t *words;
	static size_t size;
	struct vfio_region_info info = { .argsz = sizeof info, .index = 0 };
	if (words == NULL && ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0) {
		size = info.size;
		words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device, info.offset);
	}
	*last = size / 4 - 1;
	return words;
}

static int use_device(const char *group_path, const char *name)
{
	int container = open("/dev/vfio/vfio", O_RDWR), group = open(group_path, O_RDWR), device, pages = 0;
	say("set container", ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	say("set iommu", ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	say("device", device);
	size_t last;
	uint16_t command = 2; /* memory is on */
	pwrite(device, &command, 2, (7ULL << 40) + 4);
	struct pollfd polled[] = { { eventfd(0, 0), POLLIN }, { eventfd(0, 0), POLLIN }, { 0, POLLIN } };
	set_interrupt(device, VFIO_PCI_ERR_IRQ_INDEX, polled[0].fd);
	set_interrupt(device, VFIO_PCI_REQ_IRQ_INDEX, polled[1].fd);
	printf("ready\n");
	for (;;) {
		uint64_t count;
		char order;
		fflush(stdout);
		poll(polled, 3, -1);
		if (polled[0].revents && read(polled[0].fd, &count, 8) == 8)
			printf("ERR\n");
		if (polled[1].revents && read(polled[1].fd, &count, 8) == 8)
			printf("REQ\n");
		if (!polled[2].revents)
			continue;
		if (read(0, &order, 1) <= 0)
			return 0;
		if (order == 'r')
			printf("class %08x, BAR 0 %08x\n", read_at(device, VFIO_PCI_CONFIG_REGION_INDEX, 8), read_at(device, 0, 0));
		if (order == 'b' || order == 'w') {
			volatile uint32_t *words = bar_words(device, &last);
			if (order == 'w')
				words[0] = words[last] = 0x12345678;
			else
				printf("mapped %08x %08x\n", words[0], words[last]);
		}
		if (order == 'm')
			say("map", map(container, (uint64_t)++pages * PAGE));
		if (order == 'x')
			say("reset", ioctl(device, VFIO_DEVICE_RESET));
	}
}

static int calls;

static int compare(const void *a, const void *b)
{
	long difference = *(const long *)a - *(const long *)b;
	return difference < 0 ? -1 : difference > 0;
}

static void *time_calls(void *unused)
{
	long *times = malloc(calls * sizeof *times);
	int container = open("/dev/vfio/vfio", O_RDWR);
	for (int n = 0; n < calls; n++) {
		struct timespec from, to;
		clock_gettime(CLOCK_MONOTONIC, &from);
		if (ioctl(container, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
			exit(3);
		clock_gettime(CLOCK_MONOTONIC, &to);
		times[n] = (to.tv_sec - from.tv_sec) * 1000000000L + to.tv_nsec - from.tv_nsec;
	}
	qsort(times, calls, sizeof *times, compare);
	return (void *)times[calls / 2];
}

static int time_threads(int count)
{
	pthread_t threads[count];
	long sum = 0;
	for (int n = 0; n < count; n++)
		pthread_create(&threads[n], NULL, time_calls, NULL);
	for (int n = 0; n < count; n++) {
		void *median;
		pthread_join(threads[n], &median);
		sum += (long)median;
	}
	printf("median %ld\n", sum / count);
	return 0;
}

int main(int argc, char **argv)
{
	const char *command = argc > 2 ? argv[1] : "";
	if (!strcmp(command, "open"))
		return open_all(argv + 2);
	if (!strcmp(command, "hold") || !strcmp(command, "keep")) {
		if (*command == 'k')
			signal(SIGTERM, SIG_IGN);
		open_all(argv + 2);
		wait_for_end();
		return 0;
	}
	if (!strcmp(command, "give") && argc > 3)
		return give(argv[2], argv[3]);
	if (!strcmp(command, "take"))
		return take(argv[2]);
	if (!strcmp(command, "print"))
		return print_files(argv + 2);
	if (!strcmp(command, "write") && argc > 3)
		return write_file(argv[2], argv[3]);
	if (!strcmp(command, "device") && argc > 3)
		return use_device(argv[2], argv[3]);
	if (!strcmp(command, "map"))
		return map_many(atoi(argv[2]));
	if ((!strcmp(command, "time") || !strcmp(command, "together")) && argc > 3) {
		if (*command == 't' && command[1] == 'o')
			wait_for_end();
		calls = atoi(argv[2]);
		return time_threads(atoi(argv[3]));
	}
	return 2;
}
