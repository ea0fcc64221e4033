/*
 * Drives QEMU's edu through VFIO with reads and writes of its registers alone: an MSI, INTx, DMA to anonymous memory
 * and to a memfd, and DMA to what is not mapped any more.
 * Usage: vfio-user-edu BDF [ROUNDS [BYTES]]: with rounds, so many register reads and DMA transfers are timed instead
 */
#define _GNU_SOURCE
#include <poll.h>
#include <time.h>
#include "device-file.h"
#include "type1-group.h"

#define CONFIG ((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40)
#define BUFFER 0x40000ull

static int container;

static void *map(uint64_t iova, int fd)
{
	void *at = mmap(0, PAGE, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, fd < 0 ? 0 : PAGE);
	struct vfio_iommu_type1_dma_map dma = {
		sizeof dma, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, (uintptr_t)at, iova, PAGE};
	if (at == MAP_FAILED || ioctl(container, VFIO_IOMMU_MAP_DMA, &dma))
		die("MAP_DMA");
	return at;
}

static void move(uint64_t from, uint64_t to, uint64_t count, uint32_t command)
{
	put(0x80, &from, 8);
	put(0x88, &to, 8);
	put(0x90, &count, 8);
	put(0x98, &command, 4);
}

static int listen_to(unsigned index)
{
	struct {
		struct vfio_irq_set set;
		int fd;
	} irq = {{sizeof irq, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, 1}, eventfd(0, 0)};
	if (ioctl(device, VFIO_DEVICE_SET_IRQS, &irq))
		die("SET_IRQS");
	return irq.fd;
}

static unsigned long long interrupts(int fd)
{
	uint64_t count = 0;
	struct pollfd wait = {fd, POLLIN, 0};
	if (poll(&wait, 1, 3000) == 1 && read(fd, &count, 8) != 8)
		die("read");
	return count;
}

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	int group;
	if (argc < 2)
		return 2;
	device = open_pci_device(argv[1], &container, &group);
	uint16_t command = 6;
	uint32_t id, value = 5, raise = 0x10;
	put(CONFIG + 4, &command, 2);
	int file = memfd_create("shared", 0);
	if (ftruncate(file, 2 * PAGE))
		die("memfd");
	char *own = map(BASE, -1), *shared = map(BASE + 16 * PAGE, file);
	if (argc > 2) {
		int rounds = atoi(argv[2]);
		uint64_t bytes = argc > 3 ? atoi(argv[3]) : PAGE;
		double start = seconds();
		for (int i = 0; i < rounds; i++)
			get(0, &id, 4);
		printf("read %.2f\n", (seconds() - start) * 1e6 / rounds);
		start = seconds();
		for (int i = 0; i < rounds; i++)
			move(BASE, BUFFER, bytes, 1);
		printf("dma by message %.2f\n", (seconds() - start) * 1e6 / rounds);
		start = seconds();
		for (int i = 0; i < rounds; i++)
			move(BASE + 16 * PAGE, BUFFER, bytes, 1);
		printf("dma by shared memory %.2f\n", (seconds() - start) * 1e6 / rounds);
		return 0;
	}
	get(0, &id, 4);
	printf("id %08x\n", id);
	put(8, &value, 4);
	get(8, &value, 4);
	printf("factorial %u\n", value);
	struct vfio_irq_set off = {sizeof off, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSI_IRQ_INDEX, 0, 0};
	int msi = listen_to(VFIO_PCI_MSI_IRQ_INDEX);
	put(0x60, &raise, 4);
	printf("msi %llu\n", interrupts(msi));
	put(0x64, &raise, 4);
	if (ioctl(device, VFIO_DEVICE_SET_IRQS, &off))
		die("MSI off");
	int line = listen_to(VFIO_PCI_INTX_IRQ_INDEX);
	for (int i = 0; i < 2; i++) {
		put(0x60, &raise, 4);
		printf("intx %llu\n", interrupts(line));
		put(0x64, &raise, 4);
		struct vfio_irq_set unmask = {sizeof unmask, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1};
		if (ioctl(device, VFIO_DEVICE_SET_IRQS, &unmask))
			die("unmask");
	}
	strcpy(own, "by message");
	move(BASE, BUFFER, 64, 1);
	move(BUFFER, BASE + 16 * PAGE, 64, 3);
	printf("shared has: %s\n", shared);
	strcpy(shared, "by memory");
	move(BASE + 16 * PAGE, BUFFER, 64, 1);
	move(BUFFER, BASE + 512, 64, 3);
	printf("own has: %s\n", own + 512);
	struct vfio_iommu_type1_dma_unmap unmap = {sizeof unmap, 0, BASE, PAGE};
	if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		die("UNMAP_DMA");
	strcpy(own, "untouched");
	move(BUFFER, BASE, 64, 3);
	printf("unmapped has: %s\n", own);
	if (ioctl(device, VFIO_DEVICE_RESET))
		puts("no reset");
	puts("done");
}
