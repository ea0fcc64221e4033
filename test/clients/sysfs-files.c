/*
 * What a program can do with the files of /sys while it uses a device: have them written while the device is open, have them in its memory, and be in
 * their directories.
 *
 *     sysfs-files unbind BDF     another process unbinds the device while it is open
 *     sysfs-files interrupt BDF  the same, and that process is sent a signal
 *     sysfs-files memory BDF     requests whose structures lie in a mapped file of /sys
 *     sysfs-files inside BDF     opens from within the device's directory
 */
#include "type1-group.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

static int container, group, device;

static const char *name_of(int error)
{
	return error == 0 ? "0" : error == EINTR ? "EINTR" : error == ENODEV ? "ENODEV" : strerror(error);
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	if (fd < 0)
		return errno;
	ssize_t done = write(fd, text, strlen(text));
	int error = done < 0 ? errno : 0;
	close(fd);
	return error;
}

static int request_eventfd(void)
{
	struct { struct vfio_irq_set set; int fd; } irq = {
		.set = { .argsz = sizeof irq, .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			 .index = VFIO_PCI_REQ_IRQ_INDEX, .count = 1 },
		.fd = eventfd(0, EFD_CLOEXEC),
	};
	if (ioctl(device, VFIO_DEVICE_SET_IRQS, &irq)) {
		perror("VFIO_DEVICE_SET_IRQS");
		exit(2);
	}
	return irq.fd;
}

static void on_signal(int signal)
{
	(void)signal;
}

static void unbind(const char *bdf, int interrupt)
{
	struct pollfd asked = { .fd = request_eventfd(), .events = POLLIN };
	pid_t child = fork();
	if (child == 0) {
		struct sigaction action = { .sa_handler = on_signal };
		sigaction(SIGUSR1, &action, NULL);
		close(device);
		close(group);
		close(container);
		_exit(write_file("/sys/bus/pci/drivers/vfio-pci/unbind", bdf));
	}
	printf("asked=%d\n", poll(&asked, 1, 10000));
	int status;
	usleep(100000);
	printf("finished=%d\n", waitpid(child, &status, WNOHANG) != 0);
	if (interrupt)
		kill(child, SIGUSR1);
	else
		close(device);
	waitpid(child, &status, 0);
	printf("write=%s\n", name_of(WEXITSTATUS(status)));
	char path[256];
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%.200s/driver", bdf);
	printf("driver=%d\n", access(path, F_OK) == 0);
}

static void memory(const char *bdf)
{
	char path[256];
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%.200s/config", bdf);
	int fd = open(path, O_RDONLY);
	printf("shared=%d\n", mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? errno : 0);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	if (page == MAP_FAILED)
		return;
	/* argsz is the device's ids, and its command register the flags */
	printf("status=%d\n", ioctl(group, VFIO_GROUP_GET_STATUS, page) ? errno : 0);
	madvise(page, 4096, MADV_DONTNEED);
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof map, .flags = 3, .vaddr = (uintptr_t)page, .iova = 0x10000, .size = 4096 };
	printf("map=%d\n", ioctl(container, VFIO_IOMMU_MAP_DMA, &map) ? errno : 0);
	struct vfio_device_info info = { .argsz = sizeof info };
	printf("info=%d\n", ioctl(device, VFIO_DEVICE_GET_INFO, &info) ? errno : 0);
}

static void inside(const char *bdf)
{
	char path[256];
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%.200s", bdf);
	if (chdir(path))
		perror(path);
	printf("config=%d\n", open("config", O_RDWR) >= 0);
	printf("vendor=%d\n", open("./vendor", O_RDWR) < 0 ? errno : 0);
	char up[256] = "", cwd[256];
	getcwd(cwd, sizeof cwd);
	for (char *at = cwd; *at; at++)
		if (*at == '/')
			strcat(up, "../");
	strcat(up, "dev/vfio/vfio");
	printf("node=%d\n", open(up, O_RDWR) >= 0);
	printf("link=%d\n", open("subsystem/../../../dev/vfio/vfio", O_RDWR) >= 0);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	device = open_pci_device(argv[2], &container, &group);
	if (!strcmp(argv[1], "unbind"))
		unbind(argv[2], 0);
	else if (!strcmp(argv[1], "interrupt"))
		unbind(argv[2], 1);
	else if (!strcmp(argv[1], "memory"))
		memory(argv[2]);
	else
		inside(argv[2]);
	return 0;
}
