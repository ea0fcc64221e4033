/*
 * Drives libvfio-user's `server` sample through VFIO: a timer that raises INTx, and then has the server write to two
 * mappings, the first by messages, the second by the memory that is shared with it. BAR 1 is memory.
 * Usage: vfio-user-server BDF
 */
#define _GNU_SOURCE
#include <poll.h>
#include <time.h>
#include "device-file.h"
#include "type1-group.h"

#define CONFIG ((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40)
#define BAR1 ((off_t)1 << 40)

static void *map(int container, uint64_t iova, int fd)
{
	void *at = mmap(0, PAGE, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, fd < 0 ? 0 : PAGE);
	struct vfio_iommu_type1_dma_map dma = {
		sizeof dma, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, (uintptr_t)at, iova, PAGE};
	if (at == MAP_FAILED || ioctl(container, VFIO_IOMMU_MAP_DMA, &dma))
		die("MAP_DMA");
	return at;
}

int main(int argc, char **argv)
{
	int container, group;
	if (argc < 2)
		return 2;
	device = open_pci_device(argv[1], &container, &group);
	uint16_t command = 7;
	put(CONFIG + 4, &command, 2);
	if (ioctl(device, VFIO_DEVICE_RESET))
		die("VFIO_DEVICE_RESET");
	put(CONFIG + 4, &command, 2);
	int file = memfd_create("shared", 0);
	if (ftruncate(file, 2 * PAGE))
		die("memfd");
	char *first = map(container, BASE, -1), *second = map(container, BASE + 16 * PAGE, file);
	char word[8] = "", wrote[8] = "written";
	put(BAR1 + 16, wrote, 8);
	put(BAR1, wrote, 8);
	get(BAR1, word, 8);
	printf("bar 1: %s\n", word);
	struct {
		struct vfio_irq_set set;
		int fd;
	} irq = {{sizeof irq, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_INTX_IRQ_INDEX, 0, 1}, eventfd(0, 0)};
	if (ioctl(device, VFIO_DEVICE_SET_IRQS, &irq))
		die("SET_IRQS");
	for (int round = 0; round < 2; round++) {
		int64_t when = time(0) + 1;
		uint64_t count = 0;
		memset(first, 0, PAGE);
		memset(second, 0, PAGE);
		put(0, &when, 8);
		struct pollfd wait = {irq.fd, POLLIN, 0};
		if (poll(&wait, 1, 5000) == 1 && read(irq.fd, &count, 8) == 8)
			printf("interrupts %llu\n", (unsigned long long)count);
		for (int i = 0; i < 1000 && (first[3 * 1024] != 'D' || second[3 * 1024] != 'D'); i++)
			usleep(1000);
		printf("messages %c%c%c%c shared %c%c%c%c\n", first[0], first[1024], first[2048], first[3072], second[0], second[1024],
			   second[2048], second[3072]);
		struct vfio_irq_set unmask = {sizeof unmask, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1};
		if (ioctl(device, VFIO_DEVICE_SET_IRQS, &unmask))
			die("unmask");
		/* it reads back what it has written */
		usleep(200000);
	}
	struct vfio_iommu_type1_dma_unmap unmap = {sizeof unmap, 0, BASE, PAGE};
	if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		die("UNMAP_DMA");
	puts("done");
}
