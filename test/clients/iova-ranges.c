/*
 * An ordinary VFIO program: asks which IOVAs a device can use, maps a page inside them and one outside.
 * Nothing in it knows of uvfio.      cc -o iova-ranges iova-ranges.c && uvfio run -- ./iova-ranges 0000:00:1b.0
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* The number behind the device's iommu_group link is the group's. */
static int group_of(const char *device)
{
	char path[256], target[256];
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", device);
	ssize_t length = readlink(path, target, sizeof target - 1);
	if (length < 0)
		die(path);
	target[length] = 0;
	return atoi(strrchr(target, '/') + 1);
}

static int map(int container, void *page, unsigned long long iova)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof map, .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (unsigned long)page, .iova = iova, .size = 4096,
	};
	int result = ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
	printf("map iova 0x%llx: %s\n", iova, result ? strerror(errno) : "ok");
	return result ? -errno : 0;
}

int main(int argc, char **argv)
{
	const char *device = argc > 1 ? argv[1] : "0000:00:1b.0";
	char node[64];
	snprintf(node, sizeof node, "/dev/vfio/%d", group_of(device));
	int container = open("/dev/vfio/vfio", O_RDWR);
	int group = open(node, O_RDWR);
	if (container < 0 || group < 0)
		die(node);
	if (ioctl(container, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
		die("VFIO_GET_API_VERSION");
	struct vfio_group_status status = { .argsz = sizeof status };
	if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) || !(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		die("VFIO_GROUP_GET_STATUS");
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		die("VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		die("VFIO_SET_IOMMU");

	/* The first call says how much room the capabilities take, the second one gets them. */
	struct vfio_iommu_type1_info *info = calloc(1, sizeof *info);
	info->argsz = sizeof *info;
	if (ioctl(container, VFIO_IOMMU_GET_INFO, info))
		die("VFIO_IOMMU_GET_INFO");
	unsigned int size = info->argsz;
	info = realloc(info, size);
	memset(info, 0, size);
	info->argsz = size;
	if (ioctl(container, VFIO_IOMMU_GET_INFO, info))
		die("VFIO_IOMMU_GET_INFO");
	printf("%s: page sizes 0x%llx, info of %u bytes\n", device, (unsigned long long)info->iova_pgsizes, size);
	for (unsigned int at = info->cap_offset; at;) {
		struct vfio_info_cap_header *header = (void *)((char *)info + at);
		if (header->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
			struct vfio_iommu_type1_info_cap_iova_range *ranges = (void *)header;
			for (unsigned int i = 0; i < ranges->nr_iovas; i++)
				printf("valid iova %016llx - %016llx\n", (unsigned long long)ranges->iova_ranges[i].start,
				       (unsigned long long)ranges->iova_ranges[i].end);
		}
		at = header->next;
	}

	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int inside = map(container, page, 0x10000);
	int outside = map(container, page, 0xfee00000); /* where interrupts are written to */
	close(group);
	close(container);
	return inside == 0 && outside == -EINVAL ? 0 : 1;
}
