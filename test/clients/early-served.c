/*
 * Makes a request often enough to be looked ahead for, then puts a file of /sys, which uvfio serves itself, where the structure was, and makes
 * it once more: whoever reads the page must not wait for itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include "type1-group.h"

#define PAGE 4096

int main(int argc, char **argv)
{
	int container, group;
	char path[256];
	if (argc != 2)
		return 2;
	open_pci_device(argv[1], &container, &group);
	/* a mapping of one page, as the file's will be */
	char *around = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *page = mmap(around + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	struct vfio_iommu_type1_info *info = (void *)page;
	for (int i = 0; i < 100; i++) {
		info->argsz = 24;
		if (ioctl(container, VFIO_IOMMU_GET_INFO, info))
			return 1;
	}
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%.200s/config", argv[1]);
	int file = open(path, O_RDONLY);
	if (file < 0 || mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0) != page) {
		perror(path);
		return 2;
	}
	/* what follows another call at once is what is looked ahead for */
	for (int i = 0; i < 3; i++)
		ioctl(container, VFIO_GET_API_VERSION);
	/* vendor and device are the size that the structure says it has */
	int result = ioctl(container, VFIO_IOMMU_GET_INFO, info);
	printf("%s, argsz %u\n", result ? strerror(errno) : "done", info->argsz);
	return 0;
}
