#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fuzz.h"

int fds[KEPT];
unsigned kept;
char nodes[MOST][NAME], device_names[MOST][NAME];
int node_count, device_count;

static int in_order(const void *a, const void *b) { return strcmp(a, b); }

static int list(const char *folder, char names[][NAME], int limit)
{
	int count = 0;
	DIR *open = opendir(folder);
	for (struct dirent *entry; open && (entry = readdir(open)) && count < limit;)
		if (entry->d_name[0] != '.')
			snprintf(names[count++], NAME, "%.*s", NAME - 1, entry->d_name);
	if (open)
		closedir(open);
	qsort(names, count, NAME, in_order);
	return count;
}

void find_nodes(int of_user, int users)
{
	char groups[MOST][NAME], devices[MOST][NAME], own[4][NAME], path[300];
	int count = list("/dev/vfio", groups, MOST);
	node_count = device_count = 0;
	for (int i = 0; i < count; i++) {
		if (groups[i][0] < '0' || groups[i][0] > '9' || (users > 1 && i % users != of_user))
			continue;
		snprintf(nodes[node_count++], NAME, "/dev/vfio/%.50s", groups[i]);
		snprintf(path, sizeof path, "/sys/kernel/iommu_groups/%.90s/devices", groups[i]);
		int found = list(path, devices, MOST);
		for (int j = 0; j < found && device_count < MOST && node_count < MOST - 3; j++) {
			strcpy(device_names[device_count++], devices[j]);
			snprintf(path, sizeof path, "/sys/kernel/iommu_groups/%.90s/devices/%.90s/vfio-dev", groups[i], devices[j]);
			if (list(path, own, 1))
				snprintf(nodes[node_count++], NAME, "/dev/vfio/devices/%.50s", own[0]);
		}
	}
	strcpy(nodes[node_count++], "/dev/vfio/vfio");
	if (access("/dev/iommu", F_OK) == 0)
		strcpy(nodes[node_count++], "/dev/iommu");
}

void keep(int fd)
{
	if (fd < 0)
		return;
	unsigned slot = __atomic_fetch_add(&kept, 1, __ATOMIC_RELAXED) % KEPT;
	int old = __atomic_exchange_n(&fds[slot], fd, __ATOMIC_RELAXED);
	if (old > 2)
		close(old);
}

int some_fd(void)
{
	static const int odd[] = { -1, 0, 2, 99, 1023, 5000 };
	if (below(20) == 0)
		return odd[below(6)];
	return fds[below(KEPT)];
}

void open_node(void)
{
	static const int flags[] = { O_RDWR, O_RDWR, O_RDWR, O_RDWR | O_CLOEXEC, O_RDWR | O_CLOEXEC, O_RDONLY, O_WRONLY, O_RDWR | O_PATH };
	const char *name = nodes[below(node_count)];
	uint64_t how[3] = { flags[below(8)], 0, below(4) ? 0 : 1 << below(6) };
	char of_fd[40];
	switch (below(10)) {
	case 0:
		keep(syscall(SYS_openat2, AT_FDCWD, name, how, sizeof how));
		break;
	case 1:
		snprintf(of_fd, sizeof of_fd, "/proc/self/fd/%d", some_fd());
		keep(open(of_fd, (int)how[0]));
		break;
	case 2: {
		int folder = open("/dev/vfio", O_PATH | O_DIRECTORY);
		keep(openat(folder, strlen(name) > 10 ? name + 10 : "vfio", (int)how[0]));
		close(folder);
		break;
	}
	case 3:
		put(address(16), name, strlen(name) + 1);
		keep(open((void *)address(16), (int)how[0]));
		break;
	default:
		keep(open(name, (int)how[0]));
	}
}

void close_some(void)
{
	int fd = some_fd();
	if (fd > 2 && (fd < KEEP_CLEAR_FIRST || fd > KEEP_CLEAR_LAST))
		close(fd);
}

/* Descriptors change their meaning while other threads make calls with them. */
void move_some(void)
{
	int from = some_fd(), to = some_fd();
	unsigned first;
	switch (below(6)) {
	case 0:
		if (to > 2 && (to < KEEP_CLEAR_FIRST || to > KEEP_CLEAR_LAST))
			dup2(from, to);
		break;
	case 1:
		keep(fcntl(from, F_DUPFD_CLOEXEC, below(2) ? 960 + below(64) : 3 + below(800)));
		break;
	case 2:
		first = below(2) ? 920 + below(120) : 4 + below(40);
		close_range(first, first + below(8), below(3) ? 0 : CLOSE_RANGE_CLOEXEC);
		break;
	case 3:
		dup2(from, 960 + below(64));
		break;
	case 4:
		/* a table of descriptors of this thread's own, without what it has there */
		first = 920 + below(100);
		if (below(20) == 0)
			close_range(first, first + 2, CLOSE_RANGE_UNSHARE);
		break;
	default:
		keep(below(2) ? eventfd(0, EFD_NONBLOCK) : memfd_create("calls", 0));
	}
}

void make_socket_pair(int at)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair))
		return;
	dup2(pair[0], at);
	dup2(pair[1], at + 1);
	close(pair[0]);
	close(pair[1]);
}

/* Hands a descriptor to whoever of the same user takes it, or takes one. */
void pass_some(void)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	int at = SOCKET_FD + 2 * user;
	if (below(2)) {
		int fd = some_fd();
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		*header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(header), &fd, sizeof(int));
		sendmsg(at, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else if (recvmsg(at + 1, &message, MSG_DONTWAIT | (below(2) ? MSG_CMSG_CLOEXEC : 0)) > 0) {
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		int fd;
		if (header && header->cmsg_type == SCM_RIGHTS) {
			memcpy(&fd, CMSG_DATA(header), sizeof(int));
			keep(fd);
		}
	}
}
