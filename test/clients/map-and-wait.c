/*
 * Maps a page of memory at each IOVA that is named, says what comes of it, and waits until its stdin ends.
 * uvfio run --view -- ./map-and-wait 0000:00:1b.0 0x10000 0xfee00000 0x10000
 */
#include "type1-group.h"
#include <errno.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	int container, group;
	if (argc < 3)
		return 2;
	open_pci_device(argv[1], &container, &group);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return 2;
	for (int i = 2; i < argc; i++) {
		struct vfio_iommu_type1_dma_map map = {
			.argsz = sizeof map, .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
			.vaddr = (unsigned long)page, .iova = strtoull(argv[i], NULL, 0), .size = 4096,
		};
		int result = ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
		printf("%s: %s\n", argv[i], result ? strerror(errno) : "mapped");
		fflush(stdout);
	}
	while (getchar() != EOF)
		;
	return 0;
}
