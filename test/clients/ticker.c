/*
 * Uses the ticker of docs/device.md: its MSI-X vectors, its timer, and its memory through a mapping.
 */
#include "type1-group.h"
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)

int main(void)
{
	int container, group, device = open_pci_device("0000:01:00.0", &container, &group);
	struct vfio_region_info bar0 = { sizeof bar0, .index = 0 }, bar2 = { sizeof bar2, .index = 2 }, config = { sizeof config, .index = VFIO_PCI_CONFIG_REGION_INDEX };
	CHECK(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar0) && !ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar2));
	CHECK(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) && config.size == 4096);
	CHECK(!(bar0.flags & VFIO_REGION_INFO_FLAG_MMAP) && (bar2.flags & VFIO_REGION_INFO_FLAG_MMAP));
	volatile uint8_t *memory = mmap(0, bar2.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, bar2.offset);
	CHECK(memory != MAP_FAILED);
	uint16_t command = 6;
	CHECK(pwrite(device, &command, 2, config.offset + 4) == 2);
	struct vfio_irq_info info = { sizeof info, .index = VFIO_PCI_MSIX_IRQ_INDEX };
	CHECK(!ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &info) && info.count == 2);
	struct { struct vfio_irq_set set; int fds[2]; } irq = {
		{ sizeof irq, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX, 0, 2 },
		{ eventfd(0, EFD_NONBLOCK), eventfd(0, 0) },
	};
	CHECK(!ioctl(device, VFIO_DEVICE_SET_IRQS, &irq));
	memory[100] = 0x55;
	uint32_t one = 1, count;
	CHECK(pwrite(device, &one, 4, 0) == 4);
	struct pollfd wait = { irq.fds[1], POLLIN };
	CHECK(poll(&wait, 1, 20000) == 1);
	CHECK(pread(device, &count, 4, 4) == 4 && count >= 5);
	CHECK(memory[0] >= 5 && memory[100] == 0x55);
	CHECK(pread(device, &count, 4, 8) == 4 && count == 0x55);
	uint64_t other;
	CHECK(read(irq.fds[0], &other, 8) == -1 && errno == EAGAIN);
	puts("ok");
	return 0;
}
