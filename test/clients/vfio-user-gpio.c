/*
 * Drives libvfio-user's gpio-pci-idio-16 through VFIO: its identity, and pins that count how often they were raised.
 * Usage: vfio-user-gpio BDF
 */
#include "device-file.h"
#include "type1-group.h"

#define CONFIG ((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40)
#define BAR2 ((off_t)2 << 40)

int main(int argc, char **argv)
{
	int container, group;
	if (argc < 2)
		return 2;
	device = open_pci_device(argv[1], &container, &group);
	uint32_t ids;
	uint16_t command = 3;
	get(CONFIG, &ids, 4);
	put(CONFIG + 4, &command, 2);
	printf("ids %08x\n", ids);
	struct vfio_region_info info = {.argsz = sizeof info, .index = 2};
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		die("GET_REGION_INFO");
	printf("bar 2: %llu bytes, flags %x\n", (unsigned long long)info.size, info.flags);
	for (int i = 0; i < 4; i++) {
		uint8_t in, out = 0x11;
		get(BAR2 + 1, &in, 1);
		printf("in %02x\n", in);
		put(BAR2, &out, 1);
	}
	puts("done");
}
