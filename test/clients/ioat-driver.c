/*
 * Drives Intel's DMA engine (ioat, 8086:2021) through its mapped registers, as a driver in a kernel does: reset, a ring of
 * descriptors, completion write-back, MSI-X, errors and their recovery.
 *
 *      ioat-driver TYPE BDF [BDF...]      TYPE: 1 (type1) or 3 (type1 v2); a thread for each device, all in one container
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)

enum { CHANCTRL = 0x80, CHANCMD = 0x84, DMACOUNT = 0x86, CHANSTS = 0x88, CHAINADDR = 0x90, CHANCMP = 0x98, CHANERR = 0xa8, INTRCTRL = 3, VER = 8 };
enum { ACTIVE, DONE, SUSPENDED, HALTED };
enum { CTL_INT = 1, CTL_COMPLETION = 8 };

struct descriptor { uint32_t size, control; uint64_t source, target, next, unused[4]; };

#define RING 1024
#define ARENA (4u << 20)

struct device {
	const char *name;
	int fd, event;
	volatile uint8_t *bar;
	uint8_t *memory; /* ARENA bytes: ring, completion, source, target */
	uint64_t iova;
	struct descriptor *ring;
	volatile uint64_t *completion;
	uint8_t *source, *target;
};

static int container;

static uint64_t read64(struct device *d, unsigned at) { return *(volatile uint64_t *)(d->bar + at); }
static uint64_t iova_of(struct device *d, const volatile void *p) { return d->iova + ((const volatile uint8_t *)p - d->memory); }
static int status(struct device *d) { return read64(d, CHANSTS) & 7; }

/*
 * Microseconds. Where doorbells are exact nothing is waited for. Elsewhere two threads that only read registers would
 * leave uvfio little time to look.
 */
#define PAUSE 20

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void wait_status(struct device *d, int wanted)
{
	double end = seconds() + 20;
	while (status(d) != wanted) {
		CHECK(seconds() < end);
		usleep(PAUSE);
	}
}

static void reset(struct device *d)
{
	*(volatile uint32_t *)(d->bar + CHANERR) = *(volatile uint32_t *)(d->bar + CHANERR);
	*(d->bar + CHANCMD) = 0x20;
	double end = seconds() + 20;
	while (*(d->bar + CHANCMD) & 0x20) {
		CHECK(seconds() < end);
		usleep(PAUSE);
	}
	CHECK(status(d) == HALTED);
	*(d->bar + INTRCTRL) = 8; /* MSI-X */
	*(volatile uint64_t *)(d->bar + CHANCMP) = iova_of(d, d->completion);
}

/* Sets the chain up from its head and lets `count` descriptors run. A chain is set up while the channel stands still. */
static void start(struct device *d, unsigned count)
{
	if (status(d) != HALTED) {
		*(d->bar + CHANCMD) = 4;
		wait_status(d, SUSPENDED);
	}
	*d->completion = 0;
	*(volatile uint64_t *)(d->bar + CHAINADDR) = iova_of(d, d->ring);
	*(volatile uint16_t *)(d->bar + CHANCTRL) = 0x19; /* rearm, stop on errors, interrupt on errors */
	*(volatile uint16_t *)(d->bar + DMACOUNT) = count;
}

static void describe(struct device *d, unsigned i, uint64_t source, uint64_t target, uint32_t size, unsigned next, uint32_t control)
{
	d->ring[i] = (struct descriptor){ .size = size, .control = control, .source = source, .target = target, .next = iova_of(d, &d->ring[next]) };
}

static void interrupts(struct device *d, uint64_t wanted)
{
	uint64_t count = 0;
	CHECK(read(d->event, &count, 8) == 8);
	CHECK(count == wanted);
}

static int map(void *vaddr, uint64_t iova, uint64_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof map, .flags = flags, .vaddr = (uintptr_t)vaddr, .iova = iova, .size = size };
	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

static void copies(struct device *d)
{
	/* a ring of small copies, the last one reports completion and interrupts */
	for (unsigned i = 0; i < RING; i++)
		describe(d, i, iova_of(d, d->source + 512 * i), iova_of(d, d->target + 512 * i), 512, (i + 1) % RING, i == RING - 1 ? CTL_INT | CTL_COMPLETION : 0);
	start(d, RING);
	wait_status(d, DONE);
	interrupts(d, 1);
	CHECK(*d->completion == (iova_of(d, &d->ring[RING - 1]) | DONE));
	CHECK(!memcmp(d->source, d->target, 512 * RING));

	/* 65,535 copies by one descriptor that follows itself */
	memset(d->target, 0, 64);
	describe(d, 0, iova_of(d, d->source), iova_of(d, d->target), 64, 0, 0);
	start(d, 65535);
	wait_status(d, DONE);
	CHECK(!memcmp(d->source, d->target, 64));
}

static void errors(struct device *d, uint64_t unmapped, uint64_t read_only)
{
	struct { uint64_t source, target; uint32_t error; } cases[] = {
		{ unmapped, iova_of(d, d->target), 0x100 },
		{ iova_of(d, d->source), unmapped, 0x200 },
		{ iova_of(d, d->source), read_only, 0x200 },
	};
	for (unsigned i = 0; i < 3; i++) {
		memset(d->target, 0x5a, 4096);
		describe(d, 0, cases[i].source, cases[i].target, 4096, 0, 0);
		start(d, 1);
		wait_status(d, HALTED);
		interrupts(d, 1);
		CHECK(*(volatile uint32_t *)(d->bar + CHANERR) == cases[i].error);
		CHECK(d->target[0] == 0x5a && d->target[4095] == 0x5a);
		reset(d);
		describe(d, 0, iova_of(d, d->source), iova_of(d, d->target), 4096, 0, 0);
		start(d, 1);
		wait_status(d, DONE);
		CHECK(!memcmp(d->source, d->target, 4096));
	}
}

static void *drive(void *arg)
{
	struct device *d = arg;
	uint64_t far = d->iova + (1ull << 32);
	CHECK(*(d->bar + VER) == 0x33);
	reset(d);
	copies(d);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(!map(page, far, 4096, VFIO_DMA_MAP_FLAG_READ));
	errors(d, far + (1 << 20), far);
	CHECK(((uint8_t *)page)[0] == 0);
	/* the rest of the program goes on mapping meanwhile */
	for (unsigned i = 0; i < 200; i++) {
		struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .iova = far, .size = 4096 };
		CHECK(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) && unmap.size == 4096);
		CHECK(!map(page, far, 4096, VFIO_DMA_MAP_FLAG_READ));
	}
	copies(d);
	printf("%s: ok\n", d->name);
	return NULL;
}

static int group_of(const char *name)
{
	char path[256], target[256];
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", name);
	ssize_t length = readlink(path, target, sizeof target - 1);
	CHECK(length > 0);
	target[length] = 0;
	return atoi(strrchr(target, '/') + 1);
}

static void set_up(struct device *d, const char *name, unsigned index, int type)
{
	char node[64];
	snprintf(node, sizeof node, "/dev/vfio/%d", group_of(name));
	int group = open(node, O_RDWR);
	CHECK(group >= 0 && !ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	if (index == 0)
		CHECK(!ioctl(container, VFIO_SET_IOMMU, type));
	d->name = name;
	d->iova = 0x100000000ull * 4 * (index + 1);
	d->memory = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(!map(d->memory, d->iova, ARENA, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE));
	d->ring = (void *)d->memory;
	d->completion = (void *)(d->memory + RING * 64);
	d->source = d->memory + (1 << 20);
	d->target = d->memory + (2 << 20);
	for (unsigned i = 0; i < 1 << 20; i++)
		d->source[i] = i * 7 + (i >> 8) + index;

	d->fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	CHECK(d->fd >= 0);
	struct vfio_region_info config = { .argsz = sizeof config, .index = VFIO_PCI_CONFIG_REGION_INDEX };
	struct vfio_region_info bar = { .argsz = sizeof bar, .index = VFIO_PCI_BAR0_REGION_INDEX };
	CHECK(!ioctl(d->fd, VFIO_DEVICE_GET_REGION_INFO, &config) && !ioctl(d->fd, VFIO_DEVICE_GET_REGION_INFO, &bar));
	uint16_t command = 6;
	CHECK(pwrite(d->fd, &command, 2, config.offset + 4) == 2);
	CHECK(bar.flags & VFIO_REGION_INFO_FLAG_MMAP);
	d->bar = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, bar.offset);
	CHECK(d->bar != MAP_FAILED);
	d->event = eventfd(0, EFD_CLOEXEC);
	struct { struct vfio_irq_set set; int fd; } irq = { { sizeof irq, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1 }, d->event };
	CHECK(!ioctl(d->fd, VFIO_DEVICE_SET_IRQS, &irq));
}

int main(int argc, char **argv)
{
	CHECK(argc > 2);
	static struct device devices[8];
	pthread_t threads[8];
	container = open("/dev/vfio/vfio", O_RDWR);
	CHECK(container >= 0);
	for (int i = 0; i < argc - 2; i++)
		set_up(&devices[i], argv[i + 2], i, atoi(argv[1]));
	for (int i = 0; i < argc - 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, drive, &devices[i]));
	for (int i = 0; i < argc - 2; i++)
		CHECK(!pthread_join(threads[i], NULL));
	return 0;
}
