/*
 * Has libvfio-user's `server` sample note what it writes, and moves its state to another one. Parts of BAR 1 are mapped: the server
 * sees what is written there, and the mapping shows what the server writes.
 * Usage: vfio-user-states BDF BDF
 */
#define _GNU_SOURCE
#include <poll.h>
#include <time.h>
#include "device-file.h"
#include "type1-group.h"

#define CONFIG ((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40)
#define BAR1 ((off_t)1 << 40)
#define SECOND (BASE + 16 * PAGE)
enum { RUNNING = 2, STOP_COPY = 3, RESUMING = 4, STATE = 2, LOG_START = 6, LOG_STOP = 7, LOG_REPORT = 8 };

struct log_range { uint64_t iova, length; };
struct log_control { uint64_t page_size; uint32_t count, reserved; uint64_t ranges; };
struct log_report { uint64_t iova, length, page_size, bitmap; };
struct state { uint32_t state; int32_t file; };

static void feature(uint32_t flags, void *data, uint32_t size)
{
	uint64_t room[8] = {0};
	struct vfio_device_feature *request = (void *)room;
	request->argsz = sizeof *request + size;
	request->flags = flags;
	memcpy(request->data, data, size);
	if (ioctl(device, VFIO_DEVICE_FEATURE, request))
		die("VFIO_DEVICE_FEATURE");
	memcpy(data, request->data, size);
}

static int go(uint32_t wanted)
{
	struct state state = {wanted, -1};
	feature(STATE | VFIO_DEVICE_FEATURE_SET, &state, sizeof state);
	return state.file;
}

static void *map(int container, uint64_t iova, int fd)
{
	void *at = mmap(0, PAGE, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	struct vfio_iommu_type1_dma_map dma = {
		sizeof dma, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, (uintptr_t)at, iova, PAGE};
	if (at == MAP_FAILED || ioctl(container, VFIO_IOMMU_MAP_DMA, &dma))
		die("MAP_DMA");
	return at;
}

static void written(void)
{
	uint64_t bits = 0;
	struct log_report report = {BASE, 64 * PAGE, PAGE, (uintptr_t)&bits};
	feature(LOG_REPORT | VFIO_DEVICE_FEATURE_GET, &report, sizeof report);
	printf("written %llx\n", (unsigned long long)bits);
}

/* Its timer raises INTx, and then it writes to both mappings. */
static void ring(int event, char *first, char *second)
{
	int64_t when = time(0) + 1;
	uint64_t count = 0;
	put(0, &when, 8);
	struct pollfd wait = {event, POLLIN, 0};
	if (poll(&wait, 1, 5000) != 1 || read(event, &count, 8) != 8)
		die("no interrupt");
	for (int i = 0; i < 1000 && (first[3 * 1024] != 'D' || second[3 * 1024] != 'D'); i++)
		usleep(1000);
	/* it reads back what it has written */
	usleep(200000);
}

static volatile char *open_mapped(const char *bdf, int *container)
{
	int group;
	uint16_t command = 7;
	device = open_pci_device(bdf, container, &group);
	put(CONFIG + 4, &command, 2);
	union {
		struct vfio_region_info region;
		char room[256];
	} info = {{.argsz = sizeof info, .index = 1}};
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		die("GET_REGION_INFO");
	struct vfio_region_info_cap_sparse_mmap *sparse = (void *)(info.room + info.region.cap_offset);
	printf("flags %x cap %d:", info.region.flags, sparse->header.id);
	for (unsigned i = 0; i < sparse->nr_areas; i++)
		printf(" %llx+%llx", sparse->areas[i].offset, sparse->areas[i].size);
	char *at = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device, BAR1);
	if (at == MAP_FAILED)
		die("mmap");
	printf(" whole: %s\n", mmap(0, 4 * PAGE, PROT_READ, MAP_SHARED, device, BAR1) == MAP_FAILED ? strerror(errno) : "mapped");
	return at;
}

int main(int argc, char **argv)
{
	static char state[1 << 20];
	int container, other;
	if (argc < 3)
		return 2;
	volatile char *mapped = open_mapped(argv[1], &container);
	int from = device, memory = memfd_create("shared", 0);
	if (ftruncate(memory, PAGE))
		die("memfd");
	char *first = map(container, BASE, -1), *second = map(container, SECOND, memory);
	struct {
		struct vfio_irq_set set;
		int fd;
	} irq = {{sizeof irq, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_INTX_IRQ_INDEX, 0, 1}, eventfd(0, 0)};
	if (ioctl(device, VFIO_DEVICE_SET_IRQS, &irq))
		die("SET_IRQS");
	memcpy((char *)mapped, "mapped", 7);
	/* the sample reads the beginning of BAR 1 wherever a message is for */
	char word[8] = "";
	for (int i = 0; i < 1000 && strcmp(word, "mapped"); i++)
		get(BAR1 + PAGE, word, 8);
	printf("server has: %s\n", word);
	struct log_range range = {BASE, 64 * PAGE};
	struct log_control control = {PAGE, 1, 0, (uintptr_t)&range};
	feature(LOG_START | VFIO_DEVICE_FEATURE_SET, &control, sizeof control);
	written();
	ring(irq.fd, first, second);
	written();
	written();
	feature(LOG_STOP | VFIO_DEVICE_FEATURE_SET, &range, 0);
	int64_t later = time(0) + 1000;
	put(0, &later, 8);
	int file = go(STOP_COPY);
	ssize_t size = 0, count;
	while ((count = read(file, state + size, sizeof state - size)) > 0)
		size += count;
	close(file);
	volatile char *shown = open_mapped(argv[2], &other);
	printf("before: %.8s\n", (char *)shown);
	file = go(RESUMING);
	for (ssize_t done = 0; done < size; done += count)
		if ((count = write(file, state + done, size - done)) <= 0)
			die("write");
	close(file);
	go(RUNNING);
	for (int i = 0; i < 1000 && strcmp((char *)shown, "mapped"); i++)
		usleep(1000);
	printf("moved %s: %.8s\n", size > (ssize_t)(4 * PAGE) ? "all" : "less", (char *)shown);
	device = from;
	go(RUNNING);
	puts("done");
}
