/*
 * The registers of the mediated sample device (docs/sample-mdev.md) and how its commands are run.
 */
#include "device-file.h"

enum { ID = 0x00, COMMAND = 0x08, STATUS = 0x0c, IOVA = 0x10, COUNT = 0x18, FLAGS = 0x1c, OFFSET = 0x20,
       IRQ_ENABLE = 0x24, IRQ_STATUS = 0x28, PINNED = 0x2c, TAKEN = 0x30 };
enum { PIN = 1, UNPIN, UNPIN_ALL, READ_PINNED, WRITE_PINNED, READ, WRITE };
enum { FLAG_WRITE = 1, IRQ_DONE = 1, IRQ_TAKEN = 2 };

static off_t registers, buffer;

static void set(int reg, uint32_t value)
{
	put(registers + reg, &value, sizeof value);
}

static uint32_t reg(int at)
{
	uint32_t value;
	get(registers + at, &value, sizeof value);
	return value;
}

static const char *run(int command, uint64_t iova, uint32_t count, uint32_t flags)
{
	put(registers + IOVA, &iova, sizeof iova);
	set(COUNT, count);
	set(FLAGS, flags);
	set(COMMAND, command);
	uint32_t status = reg(STATUS);
	return status ? strerror(status) : "ok";
}

/* Has an eventfd told of what happens; returns it. */
static int interrupts(uint32_t which)
{
	int event = eventfd(0, EFD_NONBLOCK);
	struct {
		struct vfio_irq_set head;
		int fd;
	} irqs = {
		.head = { .argsz = sizeof irqs, .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			  .index = VFIO_PCI_MSI_IRQ_INDEX, .count = 1 },
		.fd = event,
	};
	if (ioctl(device, VFIO_DEVICE_SET_IRQS, &irqs))
		die("VFIO_DEVICE_SET_IRQS");
	set(IRQ_ENABLE, which);
	return event;
}

/* Pins pages 1 and 2 of what is mapped at `base`, and has the device write and read them. */
static void use_pages(uint64_t base, unsigned char *memory, uint64_t page)
{
	char text[32] = { 0 };
	printf("pin pages 1 and 2: %s, ", run(PIN, base + page, 2, FLAG_WRITE));
	printf("%u held\n", reg(PINNED));
	put(buffer, "from the device", 16);
	printf("write what is held: %s, ", run(WRITE_PINNED, base + 2 * page - 4, 16, 0));
	printf("memory has \"%s\"\n", (char *)memory + 2 * page - 4);
	strcpy((char *)memory + page, "from the program");
	printf("read what is held: %s, ", run(READ_PINNED, base + page, 17, 0));
	get(buffer, text, 17);
	printf("the device has \"%s\"\n", text);
}
