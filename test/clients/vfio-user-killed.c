/*
 * Reads a register of QEMU's edu through VFIO before and after its server is killed.
 * Usage: vfio-user-killed BDF PID
 */
#include <signal.h>
#include "device-file.h"
#include "type1-group.h"

#define CONFIG ((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40)

int main(int argc, char **argv)
{
	int container, group;
	if (argc < 3)
		return 2;
	device = open_pci_device(argv[1], &container, &group);
	uint16_t command = 6;
	uint32_t id;
	put(CONFIG + 4, &command, 2);
	get(0, &id, 4);
	printf("id %08x\n", id);
	kill(atoi(argv[2]), SIGKILL);
	usleep(100000);
	for (int i = 0; i < 2; i++) {
		get(0, &id, 4);
		printf("gone %08x\n", id);
	}
	/* the capability's own part is the device's */
	get(CONFIG + 0x90, &command, 2);
	printf("config %04x\n", command);
	puts("done");
}
