/*
 * How a device's group is opened and put into a container of its own, with type1 v2.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Takes the device's folder in /sys; returns the group and sets the container. */
static int open_group(const char *folder, int *container)
{
	char path[300], target[256];
	snprintf(path, sizeof path, "%s/iommu_group", folder);
	ssize_t length = readlink(path, target, sizeof target - 1);
	if (length < 0) {
		perror(path);
		exit(2);
	}
	target[length] = 0;
	snprintf(path, sizeof path, "/dev/vfio/%.200s", strrchr(target, '/') + 1);
	*container = open("/dev/vfio/vfio", O_RDWR);
	int group = open(path, O_RDWR);
	if (*container < 0 || group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, container) ||
	    ioctl(*container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)) {
		perror(path);
		exit(2);
	}
	return group;
}

/* The same for a function of PCI, whose file it opens. */
__attribute__((unused)) static int open_pci_device(const char *bdf, int *container, int *group)
{
	char folder[256];
	snprintf(folder, sizeof folder, "/sys/bus/pci/devices/%.200s", bdf);
	*group = open_group(folder, container);
	int device = ioctl(*group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (device < 0) {
		perror("VFIO_GROUP_GET_DEVICE_FD");
		exit(2);
	}
	return device;
}
