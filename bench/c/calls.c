/*
 * Makes one kind of call again and again and writes the time of each, in nanoseconds, as 32-bit numbers to stdout.
 *
 *      calls CALL COUNT [BDF]      BDF: a device to set a type1 v2 container up with; without it /dev/null stands for the container and the device
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "clock.h"

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)
#define WARM_UP 10000

static int container, device, event = -1, null, zero;
static uint64_t registers;
static void *page;
static unsigned mapped;

static void set_up(const char *bdf)
{
	char path[256], target[256];
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", bdf);
	ssize_t length = readlink(path, target, sizeof target - 1);
	CHECK(length > 0);
	target[length] = 0;
	snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(target, '/') + 1);
	int group = open(path, O_RDWR);
	CHECK(group >= 0 && !ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	CHECK(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	struct vfio_region_info region = { .argsz = sizeof region, .index = VFIO_PCI_BAR0_REGION_INDEX };
	CHECK((device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf)) >= 0 && !ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region));
	registers = region.offset;
}

static void map(uint64_t iova)
{
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof map, .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, .vaddr = (uintptr_t)page, .iova = iova, .size = 4096 };
	CHECK(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
}

static void unmap(uint64_t iova)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .iova = iova, .size = 4096 };
	CHECK(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) && unmap.size == 4096);
}

static void version(void) { CHECK(ioctl(container, VFIO_GET_API_VERSION) == 0); }
static void map_unmap(void) { map(0x10000); unmap(0x10000); }
static void map_next(void) { map(0x10000 + 4096ull * mapped++); }
static void info(void)
{
	struct vfio_iommu_type1_info info = { .argsz = sizeof info };
	CHECK(!ioctl(container, VFIO_IOMMU_GET_INFO, &info));
}

static void read_register(void)
{
	uint32_t value;
	CHECK(pread(device, &value, sizeof value, registers) == sizeof value);
}

static void irq(int fd)
{
	struct { struct vfio_irq_set set; int fd; } irq = { { sizeof irq, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1 }, fd };
	if (fd < 0)
		irq.set.flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE;
	CHECK(!ioctl(device, VFIO_DEVICE_SET_IRQS, &irq));
}

static void interrupt(void)
{
	uint64_t raised;
	if (event < 0) {
		CHECK((event = eventfd(0, EFD_NONBLOCK)) >= 0);
		irq(event);
	}
	irq(-1);
	CHECK(read(event, &raised, sizeof raised) == sizeof raised && raised == 1);
}

static void other_ioctl(void) { ioctl(null, 0x1234, 0); }
static void read_file(void) { char c; CHECK(read(zero, &c, 1) == 1); }
static void read_at(void) { char word[8]; CHECK(pread(zero, word, sizeof word, 0) == sizeof word); }
static void seek(void) { CHECK(lseek(zero, 0, SEEK_SET) == 0); }
static void parent(void) { syscall(SYS_getppid); }
static void open_file(void) { int fd = open("/dev/null", O_RDONLY); CHECK(fd >= 0); close(fd); }

static const struct { const char *name; void (*make)(void); unsigned warm_up; } calls[] = {
	{ "version", version, WARM_UP }, { "info", info, WARM_UP }, { "map-unmap", map_unmap, WARM_UP }, { "map", map_next, 0 },
	{ "register", read_register, WARM_UP }, { "interrupt", interrupt, WARM_UP },
	{ "ioctl", other_ioctl, WARM_UP }, { "read", read_file, WARM_UP }, { "getppid", parent, WARM_UP }, { "pread", read_at, WARM_UP }, { "lseek", seek, WARM_UP }, { "open", open_file, WARM_UP },
};

int main(int argc, char **argv)
{
	CHECK(argc > 2);
	unsigned count = atoi(argv[2]), call = 0;
	while (strcmp(calls[call].name, argv[1]))
		CHECK(++call < sizeof calls / sizeof *calls);
	CHECK((null = open("/dev/null", O_RDONLY)) >= 0 && (zero = open("/dev/zero", O_RDONLY)) >= 0);
	container = device = open(argc > 3 ? "/dev/vfio/vfio" : "/dev/null", O_RDWR);
	CHECK(container >= 0);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	if (argc > 3)
		set_up(argv[3]);
	uint32_t *times = malloc(count * sizeof *times);
	CHECK(times);
	memset(times, 0, count * sizeof *times);
	for (unsigned i = 0; i < calls[call].warm_up; i++)
		calls[call].make();
	for (unsigned i = 0; i < count; i++) {
		uint64_t start = nanoseconds();
		calls[call].make();
		times[i] = nanoseconds() - start;
	}
	CHECK(fwrite(times, sizeof *times, count, stdout) == count);
	return 0;
}
