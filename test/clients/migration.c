/*
 * Migrates devices as a VMM does, with VFIO_DEVICE_FEATURE and the data files. The devices are QEMU's edu.
 *
 *      migration arcs BDF        goes from each state to each other one, and tells what came of it
 *      migration move BDF BDF    takes the state of the first in PRE_COPY and STOP_COPY, and gives it to the second
 *      migration bad BDF BDF     gives the second streams that it must not take
 *      migration log BDF         has the device note what it writes
 *      migration quiet BDF       uses a device that is held
 */
#include "type1-group.h"
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)

enum { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STATES };
/* the compiler does not see that nothing is there */
static void *volatile nowhere = (void *)8;
#define NOWHERE nowhere

static const char *const NAMES[] = { "ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P", "8" };

/* <linux/vfio.h> of older kernels has these not */
struct precopy_info { uint32_t argsz, flags; uint64_t initial, dirty; };
enum { GET_PRECOPY_INFO = 0x3b79, DATA_SIZE_FEATURE = 9, PRECOPY_INFO_V2 = 12, LOG_START = 6, LOG_STOP = 7, LOG_REPORT = 8 };
struct log_range { uint64_t iova, length; };
struct log_control { uint64_t page_size; uint32_t count, reserved; uint64_t ranges; };
struct log_report { uint64_t iova, length, page_size, bitmap; };

#define IOVA 0x100000ull
#define PAGES 16

struct device { int fd, container, group; uint8_t *memory; };

static void write_config(struct device *d, uint64_t at, uint16_t value)
{
	CHECK(pwrite(d->fd, &value, 2, ((uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << 40) + at) == 2);
}

static struct device open_device(const char *bdf)
{
	struct device d;
	d.fd = open_pci_device(bdf, &d.container, &d.group);
	d.memory = mmap(0, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_iommu_type1_dma_map map = { sizeof map, 3, (uintptr_t)d.memory, IOVA, PAGES * 4096 };
	CHECK(ioctl(d.container, VFIO_IOMMU_MAP_DMA, &map) == 0);
	write_config(&d, 4, 6);
	return d;
}

/* edu's registers are in BAR 0, which is at offset 0 */
static void put(struct device *d, unsigned at, uint64_t value, int width) { CHECK(pwrite(d->fd, &value, width, at) == width); }
static uint64_t get(struct device *d, unsigned at, int width) { uint64_t value = 0; CHECK(pread(d->fd, &value, width, at) == width); return value; }
static void dma(struct device *d, uint64_t from, uint64_t to, uint64_t count, uint64_t command)
{
	put(d, 0x80, from, 8);
	put(d, 0x88, to, 8);
	put(d, 0x90, count, 8);
	put(d, 0x98, command, 8);
}

static int feature(struct device *d, uint32_t flags, void *data, uint32_t size)
{
	uint64_t room[8] = { 0 };
	struct vfio_device_feature *request = (void *)room;
	request->argsz = sizeof *request + size;
	request->flags = flags;
	if (size) memcpy(request->data, data, size);
	int result = ioctl(d->fd, VFIO_DEVICE_FEATURE, request);
	if (size) memcpy(data, request->data, size);
	return result;
}

static int state_of(struct device *d)
{
	struct vfio_device_feature_mig_state state = { 99, 99 };
	CHECK(feature(d, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE | VFIO_DEVICE_FEATURE_GET, &state, sizeof state) == 0);
	CHECK(state.data_fd == -1);
	return state.device_state;
}

/* Returns -1 with errno, else 0; the file, if there is one, goes to *file, else -1. */
static int go(struct device *d, int wanted, int *file)
{
	struct vfio_device_feature_mig_state state = { wanted, 99 };
	int result = feature(d, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE | VFIO_DEVICE_FEATURE_SET, &state, sizeof state);
	int error = errno;
	CHECK((int)state.device_state == wanted && (result == 0 || state.data_fd == -1));
	*file = state.data_fd;
	errno = error;
	return result;
}

static void must_go(struct device *d, int wanted) { int file; CHECK(go(d, wanted, &file) == 0 && state_of(d) == wanted); if (file >= 0) close(file); }
static void reset(struct device *d) { CHECK(ioctl(d->fd, VFIO_DEVICE_RESET) == 0 && state_of(d) == RUNNING); write_config(d, 4, 6); }

static void arcs(const char *bdf)
{
	struct device d = open_device(bdf);
	struct vfio_device_feature_migration flags;
	CHECK(feature(&d, VFIO_DEVICE_FEATURE_MIGRATION | VFIO_DEVICE_FEATURE_GET, &flags, sizeof flags) == 0);
	printf("flags %llu\n", (unsigned long long)flags.flags);
	for (int from = STOP; from < STATES; from++) {
		for (int to = 0; to <= STATES; to++) {
			int file;
			reset(&d);
			if (go(&d, from, &file)) {
				printf("%s: %s\n", NAMES[from], strerror(errno));
				break;
			}
			if (file >= 0) close(file);
			int result = go(&d, to, &file);
			printf("%s %s: %s, %s%s\n", NAMES[from], NAMES[to], result ? strerror(errno) : "ok", NAMES[state_of(&d)], file >= 0 ? ", file" : "");
			if (file >= 0) {
				CHECK(fcntl(file, F_GETFD) == FD_CLOEXEC);
				close(file);
			}
		}
	}
	reset(&d);
}

static size_t drain(int file, uint8_t *into, size_t room, size_t portion)
{
	size_t done = 0;
	for (;;) {
		CHECK(done + portion <= room);
		ssize_t count = read(file, into + done, portion);
		if (count < 0) CHECK(errno == ENOMSG);
		if (count <= 0) return done;
		done += count;
	}
}

static int readable(int file)
{
	struct pollfd p = { file, POLLIN };
	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static uint8_t stream[1 << 20];

/* The state of a device in PRE_COPY and STOP_COPY, in portions of odd sizes. */
static size_t save(struct device *d)
{
	int file, none;
	struct precopy_info info = { sizeof info, 0x5a5a };
	CHECK(go(d, PRE_COPY, &file) == 0 && file >= 0);
	CHECK(ioctl(file, GET_PRECOPY_INFO, &info) == 0 && info.initial > 0 && info.dirty == 0 && info.flags == 0x5a5a);
	CHECK(readable(file) == POLLIN);
	size_t length = drain(file, stream, sizeof stream, 7);
	CHECK(length == info.initial && readable(file) == 0);
	CHECK(feature(d, PRECOPY_INFO_V2 | VFIO_DEVICE_FEATURE_SET, 0, 0) == 0 || errno == ENOTTY);
	CHECK(ioctl(file, GET_PRECOPY_INFO, &info) == 0 && info.initial == 0 && info.dirty == 0);
	printf("precopy flags %x\n", info.flags);
	info.argsz = 8;
	CHECK(ioctl(file, GET_PRECOPY_INFO, &info) == -1 && errno == EINVAL);
	CHECK(ioctl(file, GET_PRECOPY_INFO, NOWHERE) == -1 && errno == EFAULT);
	CHECK(ioctl(file, VFIO_DEVICE_RESET) == -1 && errno == ENOTTY);
	CHECK(write(file, stream, 8) == -1 && errno == EBADF);
	CHECK(pread(file, stream + length, 8, 0) == -1 && errno == ESPIPE);
	uint64_t size;
	CHECK(feature(d, DATA_SIZE_FEATURE | VFIO_DEVICE_FEATURE_GET, &size, sizeof size) == 0);
	CHECK(go(d, STOP_COPY, &none) == 0 && none == -1 && readable(file) == POLLIN);
	info.argsz = sizeof info;
	CHECK(ioctl(file, GET_PRECOPY_INFO, &info) == -1 && errno == EINVAL);
	CHECK(read(file, NOWHERE, 100) == -1 && errno == EFAULT);
	size_t rest = drain(file, stream + length, sizeof stream - length, 1001);
	printf("data size %s\n", size == length + rest ? "exact" : "off");
	CHECK(rest > 4096 && readable(file) == POLLIN && read(file, stream, 0) == 0);
	must_go(d, STOP);
	CHECK(readable(file) == POLLIN && read(file, stream, 1) == -1 && errno == ENODEV);
	close(file);
	return length + rest;
}

static void load(struct device *d, size_t length)
{
	int file;
	CHECK(go(d, RESUMING, &file) == 0 && file >= 0);
	CHECK(read(file, stream, 8) == -1 && errno == EBADF);
	CHECK(write(file, NOWHERE, 8) == -1 && errno == EFAULT);
	for (size_t done = 0; done < length; ) {
		size_t portion = length - done < 333 ? length - done : 333;
		CHECK(write(file, stream + done, portion) == (ssize_t)portion);
		done += portion;
	}
	must_go(d, RUNNING);
	CHECK(write(file, stream, 1) == -1 && errno == ENODEV);
	close(file);
}

static void move(const char *one, const char *other)
{
	struct device a = open_device(one), b = open_device(other);
	put(&a, 4, 0x12345678, 4);
	put(&a, 8, 5, 4);
	memset(a.memory, 0x77, 4096);
	dma(&a, IOVA, 0x40000, 4096, 1);
	load(&b, save(&a));
	CHECK(get(&b, 4, 4) == (uint32_t)~0x12345678u && get(&b, 8, 4) == 120);
	dma(&b, 0x40000, IOVA + 4096, 4096, 3);
	CHECK(b.memory[4096] == 0x77 && b.memory[8191] == 0x77 && b.memory[0] == 0);
	reset(&a);
	CHECK(get(&a, 4, 4) == 0 && get(&b, 8, 4) == 120);
	printf("moved\n");
}

static void refuse(const char *what, struct device *d, const uint8_t *bytes, size_t length)
{
	int file, none;
	put(d, 4, 0x1111, 4);
	CHECK(go(d, RESUMING, &file) == 0);
	ssize_t count = write(file, bytes, length);
	int early = count < 0;
	if (early) CHECK(errno == EINVAL && write(file, bytes, 1) == -1 && errno == ENODEV);
	else CHECK(count == (ssize_t)length);
	CHECK(go(d, RUNNING, &none) == -1 && errno == EINVAL && none == -1 && state_of(d) == ERROR);
	CHECK(get(d, 4, 4) == (uint32_t)~0x1111);
	CHECK(go(d, RUNNING, &none) == -1 && errno == EINVAL && state_of(d) == ERROR);
	close(file);
	reset(d);
	CHECK(get(d, 4, 4) == 0);
	printf("%s: refused%s\n", what, early ? " at once" : "");
}

static void bad(const char *one, const char *other)
{
	struct device a = open_device(one), b = open_device(other);
	put(&a, 4, 0x12345678, 4);
	size_t length = save(&a);
	static uint8_t changed[sizeof stream];
	refuse("nothing", &b, stream, 0);
	refuse("cut", &b, stream, length - 1);
	refuse("half", &b, stream, length / 2);
	refuse("no stream", &b, (const uint8_t *)"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n", 32);
	memcpy(changed, stream, length);
	changed[length - 4000] ^= 1;
	refuse("changed", &b, changed, length);
	memcpy(changed, stream, length);
	changed[8] ^= 1;
	refuse("of another device", &b, changed, length);
	memcpy(changed, stream, length);
	changed[length] = 0;
	refuse("too long", &b, changed, length + 1);
	load(&b, length);
	CHECK(get(&b, 4, 4) == (uint32_t)~0x12345678u);
	printf("whole: taken\n");
}

static int start_log(struct device *d, struct log_range *ranges, uint32_t count, uint64_t *page)
{
	struct log_control control = { *page, count, 0, (uintptr_t)ranges };
	int result = feature(d, LOG_START | VFIO_DEVICE_FEATURE_SET, &control, sizeof control);
	*page = control.page_size;
	return result;
}

static int report(struct device *d, uint64_t iova, uint64_t length, uint64_t page, uint64_t *bitmap)
{
	struct log_report r = { iova, length, page, (uintptr_t)bitmap };
	return feature(d, LOG_REPORT | VFIO_DEVICE_FEATURE_GET, &r, sizeof r);
}

static void log_writes(const char *bdf)
{
	struct device d = open_device(bdf);
	struct log_range range = { IOVA, 8 * 4096 }, two[2] = { range, { IOVA + 4096, 4096 } }, odd = { IOVA + 1, 4096 }, far = { -4096ull, 4096 };
	uint64_t page = 4096, bitmap = 0, large = 1 << 20, small = 1;
	CHECK(report(&d, IOVA, 4096, 4096, &bitmap) == -1 && errno == EINVAL);
	CHECK(start_log(&d, &range, 0, &page) == -1 && errno == EINVAL);
	CHECK(start_log(&d, &range, 257, &page) == -1 && errno == E2BIG);
	CHECK(start_log(&d, two, 2, &page) == -1 && errno == EINVAL);
	CHECK(start_log(&d, &odd, 1, &page) == -1 && errno == EINVAL);
	CHECK(start_log(&d, &far, 1, &page) == -1 && errno == EOVERFLOW);
	CHECK(start_log(&d, NOWHERE, 1, &page) == -1 && errno == EFAULT);
	CHECK(start_log(&d, &range, 1, &page) == 0 && page == 4096);
	CHECK(start_log(&d, &range, 1, &page) == -1 && errno == EINVAL);
	dma(&d, 0x40000, IOVA + 4096 + 8, 8, 3);           /* page 1 */
	dma(&d, 0x40000, IOVA + 3 * 4096 - 4, 8, 3);       /* pages 2 and 3 */
	dma(&d, 0x40000, IOVA + 9 * 4096, 8, 3);           /* not in the range */
	dma(&d, IOVA + 5 * 4096, 0x40000, 8, 1);           /* a read */
	CHECK(report(&d, IOVA, 16 * 4096, 4096, &bitmap) == 0 && bitmap == 0xe);
	CHECK(report(&d, IOVA, 16 * 4096, 4096, &bitmap) == 0 && bitmap == 0xe); /* what the caller has set stays */
	bitmap = 0;
	CHECK(report(&d, IOVA, 16 * 4096, 4096, &bitmap) == 0 && bitmap == 0);
	dma(&d, 0x40000, IOVA + 7 * 4096, 8, 3);
	CHECK(report(&d, IOVA + 4 * 4096, 4 * 4096, 8192, &bitmap) == 0 && bitmap == 2);
	CHECK(report(&d, IOVA, 4096, 1024, &bitmap) == -1 && errno == EINVAL);
	CHECK(report(&d, -4096ull, 8192, 4096, &bitmap) == -1 && errno == EOVERFLOW);
	CHECK(feature(&d, LOG_STOP | VFIO_DEVICE_FEATURE_SET, 0, 0) == 0);
	CHECK(feature(&d, LOG_STOP | VFIO_DEVICE_FEATURE_SET, 0, 0) == 0);
	CHECK(feature(&d, LOG_STOP | VFIO_DEVICE_FEATURE_GET, 0, 0) == -1 && errno == EINVAL);
	CHECK(report(&d, IOVA, 4096, 4096, &bitmap) == -1 && errno == EINVAL);
	range.iova = 0;
	range.length = 1ull << 32;
	CHECK(start_log(&d, &range, 1, &large) == 0 && large == 1 << 20);
	CHECK(feature(&d, LOG_STOP | VFIO_DEVICE_FEATURE_SET, 0, 0) == 0);
	CHECK(start_log(&d, &range, 1, &small) == 0 && small == 4096);
	printf("logged\n");
}

static void quiet(const char *bdf)
{
	struct device d = open_device(bdf);
	memset(d.memory, 0x11, 8);
	dma(&d, IOVA, 0x40000, 8, 1);
	struct { struct vfio_irq_set set; int fd; } irq = { { sizeof irq, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSI_IRQ_INDEX, 0, 1 }, eventfd(0, EFD_NONBLOCK) };
	CHECK(ioctl(d.fd, VFIO_DEVICE_SET_IRQS, &irq) == 0);
	uint64_t count;
	must_go(&d, RUNNING_P2P);
	dma(&d, 0x40000, IOVA + 4096, 8, 7);
	CHECK(d.memory[4096] == 0 && read(irq.fd, &count, 8) == -1);
	must_go(&d, STOP);
	dma(&d, 0x40000, IOVA + 8192, 8, 7);
	CHECK(d.memory[4096] == 0 && d.memory[8192] == 0);
	must_go(&d, RUNNING_P2P);
	CHECK(d.memory[4096] == 0);
	must_go(&d, RUNNING);
	CHECK(d.memory[4096] == 0x11 && d.memory[8192] == 0 && read(irq.fd, &count, 8) == 8);
	must_go(&d, STOP);
	reset(&d);
	dma(&d, IOVA, 0x40000, 8, 1);
	dma(&d, 0x40000, IOVA + 8192, 8, 3);
	CHECK(d.memory[8192] == 0x11);
	/* whoever opens it next finds it running */
	must_go(&d, STOP_COPY);
	close(d.fd);
	d.fd = ioctl(d.group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	CHECK(state_of(&d) == RUNNING);
	printf("quiet\n");
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	if (!strcmp(what, "arcs")) arcs(argv[2]);
	else if (!strcmp(what, "log")) log_writes(argv[2]);
	else if (!strcmp(what, "quiet")) quiet(argv[2]);
	else if (!strcmp(what, "move") && argc > 3) move(argv[2], argv[3]);
	else if (!strcmp(what, "bad") && argc > 3) bad(argv[2], argv[3]);
	else return 2;
	return 0;
}
