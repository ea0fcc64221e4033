/*
 * Does with a container what QEMU does for a guest on POWER, with the request numbers of this machine's headers: takes version 2,
 * registers the guest's RAM, removes the default window, makes one that covers the RAM, maps all of it, and takes everything back.
 * Prints one line a step. argv: group, MiB of RAM, log2 of the window's page.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGN (64UL << 20)

static int failed;

static int step(const char *what, int result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %d\n", what, result);
	failed |= result != 0;
	return result;
}

int main(int argc, char **argv)
{
	const char *group_path = argc > 1 ? argv[1] : "/dev/vfio/0";
	uint64_t size = (argc > 2 ? strtoull(argv[2], NULL, 0) : 256) << 20;
	unsigned int shift = argc > 3 ? atoi(argv[3]) : 16;
	int container = open("/dev/vfio/vfio", O_RDWR);
	int group = open(group_path, O_RDWR);

	if (container < 0 || group < 0) {
		perror("open");
		return 1;
	}
	step("version 2", ioctl(container, VFIO_CHECK_EXTENSION, VFIO_SPAPR_TCE_v2_IOMMU) - 1);
	step("container", ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	step("iommu", ioctl(container, VFIO_SET_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU));

	struct vfio_iommu_spapr_tce_info info = { .argsz = sizeof(info) };

	step("info", ioctl(container, VFIO_IOMMU_SPAPR_TCE_GET_INFO, &info));
	printf("window %#x + %#x, flags %u, page sizes %#llx, windows %u, levels %u\n", info.dma32_window_start,
	       info.dma32_window_size, info.flags, (unsigned long long)info.ddw.pgsizes,
	       info.ddw.max_dynamic_windows_supported, info.ddw.levels);

	/* guest RAM is aligned far beyond the page of any kernel */
	char *raw = mmap(NULL, size + ALIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t ram = ((uintptr_t)raw + ALIGN - 1) & ~(ALIGN - 1);

	struct vfio_iommu_spapr_register_memory memory = { .argsz = sizeof(memory), .vaddr = ram, .size = size };

	step("register", ioctl(container, VFIO_IOMMU_SPAPR_REGISTER_MEMORY, &memory));

	struct vfio_iommu_spapr_tce_remove remove = { .argsz = sizeof(remove), .start_addr = info.dma32_window_start };

	step("remove the default window", ioctl(container, VFIO_IOMMU_SPAPR_TCE_REMOVE, &remove));

	struct vfio_iommu_spapr_tce_create create = {
		.argsz = sizeof(create), .page_shift = shift, .window_size = size, .levels = 1
	};

	step("create a window", ioctl(container, VFIO_IOMMU_SPAPR_TCE_CREATE, &create));
	printf("window at %#llx\n", (unsigned long long)create.start_addr);

	/* as the guest's H_STUFF_TCE and H_PUT_TCE_INDIRECT come: in pieces, not all at once */
	uint64_t piece = size / 16;
	int mapped = 0;

	for (uint64_t at = 0; at < size; at += piece) {
		struct vfio_iommu_type1_dma_map map = {
			.argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
			.vaddr = ram + at, .iova = create.start_addr + at, .size = piece
		};
		int result = ioctl(container, VFIO_IOMMU_MAP_DMA, &map);

		if (result != 0) {
			step("map", result);
			break;
		}
		mapped++;
	}
	printf("mapped %d pieces\n", mapped);

	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = create.start_addr, .size = size
	};

	step("unmap", ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap));
	remove.start_addr = create.start_addr;
	step("remove the window", ioctl(container, VFIO_IOMMU_SPAPR_TCE_REMOVE, &remove));
	step("unregister", ioctl(container, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, &memory));
	step("leave", ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
	close(group);
	close(container);
	return failed;
}
