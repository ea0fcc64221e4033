/*
 * Times what a client of a vfio-user server waits for: a register read, and a register write that has the device read 64 KiB of memory.
 * With a socket it speaks vfio-user itself, with a PCI address it goes through VFIO.
 * Usage: vfio-user read|message|shared COUNT SOCKET|BDF: nanoseconds of each, as 32-bit numbers, on stdout
 */
#define _GNU_SOURCE
#include "clock.h"
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SIZE 65536
#define MESSAGE_IOVA 0x100000ull
#define SHARED_IOVA 0x200000ull
enum { VERSION = 1, DMA_MAP = 2, REGION_READ = 9, REGION_WRITE = 10, DMA_READ = 11 };

struct header {
	uint16_t id, command;
	uint32_t size, flags, error;
};
struct access {
	uint64_t offset;
	uint32_t region, count;
};
struct dma_access {
	uint64_t address, count;
};

static char *own, *shared;
static int memory, device = -1, peer = -1;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void whole(void *into, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t count = recv(peer, (char *)into + done, size - done, 0);
		if (count <= 0)
			fail("recv");
		done += count;
	}
}

static void say(struct header *head, const void *body, size_t size, const void *data, size_t more, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec parts[3] = {{head, sizeof *head}, {(void *)body, size}, {(void *)data, more}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
	head->size = sizeof *head + size + more;
	if (fd >= 0) {
		message.msg_control = control;
		message.msg_controllen = sizeof control;
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	if (sendmsg(peer, &message, 0) != head->size)
		fail("sendmsg");
}

/* Asks for something, and serves the server's reads of memory until the answer is there. */
static void ask(int command, const void *body, size_t size, const void *data, size_t more, int fd)
{
	static char answer[SIZE];
	struct header head = {1, command, 0, 0, 0};
	say(&head, body, size, data, more, fd);
	for (;;) {
		whole(&head, sizeof head);
		whole(answer, head.size - sizeof head);
		if (head.flags & 1) {
			if (head.error)
				fail("refused");
			return;
		}
		struct dma_access *wanted = (struct dma_access *)answer;
		head.flags = 1;
		say(&head, wanted, sizeof *wanted, own + (wanted->address - MESSAGE_IOVA), wanted->count, -1);
	}
}

static void region_read(int region, uint64_t offset, void *into, size_t size)
{
	struct access access = {offset, region, size};
	if (device >= 0) {
		if (pread(device, into, size, ((off_t)region << 40) + offset) != (ssize_t)size)
			fail("pread");
	} else
		ask(REGION_READ, &access, sizeof access, 0, 0, -1);
}

static void region_write(int region, uint64_t offset, const void *from, size_t size)
{
	struct access access = {offset, region, size};
	if (device >= 0) {
		if (pwrite(device, from, size, ((off_t)region << 40) + offset) != (ssize_t)size)
			fail("pwrite");
	} else
		ask(REGION_WRITE, &access, sizeof access, from, size, -1);
}

static void map(int container, uint64_t iova, char *at, int fd)
{
	struct vfio_iommu_type1_dma_map dma = {sizeof dma, VFIO_DMA_MAP_FLAG_READ, (uintptr_t)at, iova, SIZE};
	struct {
		uint32_t argsz, flags;
		uint64_t offset, address, size;
	} body = {32, 1, 0, iova, SIZE};
	if (device < 0)
		ask(DMA_MAP, &body, sizeof body, 0, 0, fd);
	else if (ioctl(container, VFIO_IOMMU_MAP_DMA, &dma))
		fail("MAP_DMA");
}

static int open_device(const char *bdf)
{
	int container = open("/dev/vfio/vfio", O_RDWR), group = open("/dev/vfio/1", O_RDWR);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) || ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		fail("container");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (device < 0)
		fail("GET_DEVICE_FD");
	return container;
}

static void connect_to(const char *path)
{
	static const char version[] = "\0\0\0\0{\"capabilities\":{\"max_msg_fds\":8}}";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	peer = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(peer, (struct sockaddr *)&address, sizeof address))
		fail("connect");
	ask(VERSION, version, sizeof version, 0, 0, -1);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	int count = atoi(argv[2]), container = -1, isRead = !strcmp(argv[1], "read");
	uint32_t *times = calloc(count, sizeof *times), value = 1;
	own = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memory = memfd_create("memory", 0);
	if (ftruncate(memory, SIZE))
		fail("memfd");
	shared = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	memset(own, 1, SIZE);
	memset(shared, 1, SIZE);
	if (argv[3][0] == '/')
		connect_to(argv[3]);
	else
		container = open_device(argv[3]);
	uint16_t command = 6;
	region_write(VFIO_PCI_CONFIG_REGION_INDEX, 4, &command, 2);
	map(container, MESSAGE_IOVA, own, -1);
	map(container, SHARED_IOVA, shared, memory);
	uint64_t address = strcmp(argv[1], "shared") ? MESSAGE_IOVA : SHARED_IOVA;
	region_write(0, 8, &address, 8);
	for (int i = 0; i < count; i++) {
		uint64_t start = nanoseconds();
		if (isRead)
			region_read(0, 0, &value, 4);
		else
			region_write(0, 16, &value, 4);
		times[i] = nanoseconds() - start;
	}
	return fwrite(times, sizeof *times, count, stdout) != (size_t)count;
}
