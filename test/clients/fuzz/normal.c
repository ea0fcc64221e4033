#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fuzz.h"

/* One group: its container, a mapping, its device's configuration space, and all of it given back. */
static int use_group(const char *path, const char *device, int type)
{
	struct vfio_group_status status = { sizeof status };
	struct vfio_iommu_spapr_register_memory held = { sizeof held, 0, (uint64_t)memory, 1 << 16 };
	int container = open("/dev/vfio/vfio", O_RDWR), group = open(path, O_RDWR), wrong = 0;
	if (container < 0 || group < 0)
		return fprintf(stderr, "normal: %s: open: %m\n", path), 1;
	if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) || !(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return close(group), close(container), 0;
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) || ioctl(container, VFIO_SET_IOMMU, type))
		wrong = fprintf(stderr, "normal: %s: %m\n", path);
	if (!wrong && type == VFIO_SPAPR_TCE_v2_IOMMU && ioctl(container, VFIO_IOMMU_SPAPR_REGISTER_MEMORY, &held))
		wrong = fprintf(stderr, "normal: %s: REGISTER_MEMORY: %m\n", path);
	struct vfio_iommu_type1_dma_map map = { sizeof map, 3, (uint64_t)memory, type == VFIO_SPAPR_TCE_v2_IOMMU ? 0 : 1 << 20, 1 << 16 };
	struct vfio_iommu_type1_dma_unmap unmap = { sizeof unmap, 0, map.iova, map.size };
	if (!wrong && (ioctl(container, VFIO_IOMMU_MAP_DMA, &map) || ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap)))
		wrong = fprintf(stderr, "normal: %s: DMA: %m\n", path);
	int fd = wrong ? -1 : ioctl(group, VFIO_GROUP_GET_DEVICE_FD, device);
	struct vfio_region_info region = { sizeof region, 0, VFIO_PCI_CONFIG_REGION_INDEX };
	uint32_t ids = 0;
	if (!wrong && (fd < 0 || ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &region) || pread(fd, &ids, 4, region.offset) != 4 || !ids))
		wrong = fprintf(stderr, "normal: %s: device: %m\n", device);
	if (fd >= 0)
		close(fd);
	close(group);
	close(container);
	return wrong != 0;
}

int normal_client(void)
{
	static const int types[] = { VFIO_TYPE1v2_IOMMU, VFIO_TYPE1_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU };
	int wrong = 0, type = 0, probe = open("/dev/vfio/vfio", O_RDWR);
	for (int i = 0; i < 3 && type == 0; i++)
		if (ioctl(probe, VFIO_CHECK_EXTENSION, types[i]) > 0)
			type = types[i];
	close(probe);
	/* whole pages of hosts whose pages have 64 KiB */
	memory = mmap((void *)FIXED_MEMORY, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	find_nodes(0, 1);
	if (type == 0 || device_count == 0)
		return fprintf(stderr, "normal: no container and no device\n"), 1;
	for (int i = 0; i < node_count; i++) {
		char path[200];
		for (int j = 0; j < device_count; j++) {
			snprintf(path, sizeof path, "/sys/kernel/iommu_groups/%s/devices/%s", nodes[i] + 10, device_names[j]);
			if (access(path, F_OK) == 0)
				wrong |= use_group(nodes[i], device_names[j], type);
		}
	}
	return wrong;
}
