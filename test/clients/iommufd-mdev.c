/*
 * A driver in user space for the mediated sample device (docs/sample-mdev.md) through its own node and /dev/iommu, as sample-mdev.c is one through a
 * container. Nothing in it knows of uvfio.
 *      cc -o iommufd-mdev iommufd-mdev.c && uvfio run -m lab -- ./iommufd-mdev UUID
 */
#include "iommufd-cdev.h"

#include "sample-mdev.h"

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	char folder[256];
	snprintf(folder, sizeof folder, "/sys/bus/mdev/devices/%s", argv[1]);
	bind_device(folder);
	registers = region_info(VFIO_PCI_BAR0_REGION_INDEX).offset;
	buffer = region_info(VFIO_PCI_BAR2_REGION_INDEX).offset;
	int event = interrupts(IRQ_TAKEN);

	uint32_t ioas = new_ioas();
	unsigned char *memory = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map(ioas, BASE, memory, 6 * PAGE, MAP_READABLE | MAP_WRITEABLE) ||
	    map(ioas, BASE + 6 * PAGE, memory + 6 * PAGE, PAGE, MAP_READABLE))
		die("IOMMU_IOAS_MAP");
	printf("pin before it is attached: %s\n", run(PIN, BASE, 1, 0));
	printf("attach: %s\n", answer(attach(ioas)));
	use_pages(BASE, memory, PAGE);
	char text[32] = { 0 };
	printf("write page 5 without pinning: %s, ", run(WRITE, BASE + 5 * PAGE, 17, 0));
	printf("memory has \"%s\"\n", (char *)memory + 5 * PAGE);
	strcpy((char *)memory + 4 * PAGE, "read at once");
	printf("read page 4 without pinning: %s, ", run(READ, BASE + 4 * PAGE, 13, 0));
	get(buffer, text, 13);
	printf("the device has \"%s\"\n", text);
	printf("pin what is mapped read-only: %s\n", run(PIN, BASE + 6 * PAGE, 1, FLAG_WRITE));
	printf("pin what is not mapped: %s\n", run(PIN, BASE + 7 * PAGE, 1, 0));
	printf("write what is mapped read-only: %s\n", run(WRITE, BASE + 6 * PAGE, 1, 0));
	printf("read what is not mapped: %s\n", run(READ, BASE + 7 * PAGE - 1, 2, 0));

	uint64_t size = unmap(ioas, BASE, 6 * PAGE), events = 0;
	if (read(event, &events, sizeof events) != sizeof events)
		events = 0;
	printf("unmapped 0x%llx bytes: %u held, %u taken, %llu interrupt\n", (unsigned long long)size, reg(PINNED),
	       reg(TAKEN), (unsigned long long)events);
	close(device);
	close(iommufd);
	return 0;
}
