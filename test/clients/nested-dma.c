/*
 * A VMM's virtual IOMMU in small, with iommufd: nests page tables that it writes itself on its own mappings, lets devices use them, invalidates,
 * answers page requests, and attaches with a PASID.
 *
 *      nested-dma edu N        everything, with an edu that has PASIDs, ATS and page requests at /dev/vfio/devices/vfioN
 *      nested-dma ioat N       a copy by Intel's DMA engine, whose descriptors and memory it reaches through the nested table
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)
#define FAILS(call, error) do { errno = 0; CHECK((call) == -1); CHECK(errno == (error)); } while (0)

/* <linux/iommufd.h> and <linux/vfio.h> of 6.15, which installed headers may be older than. */
#define IOMMU(number) (0x3b00 | (number))
struct ioas_alloc { uint32_t size, flags, out_id; };
struct ioas_map { uint32_t size, flags, ioas, reserved; uint64_t user_va, length, iova; };
struct hwpt_alloc { uint32_t size, flags, dev, pt, out_id, reserved, data_type, data_len; uint64_t data; uint32_t fault, reserved2; };
struct vtd_s1 { uint64_t flags, root; uint32_t width, reserved; };
struct hwpt_invalidate { uint32_t size, hwpt; uint64_t data; uint32_t type, entry_len, entry_num, reserved; };
struct vtd_invalidate { uint64_t addr, npages; uint32_t flags, reserved; };
struct hw_info { uint32_t size, flags, dev, data_len; uint64_t data; uint32_t type; uint8_t pasid_bits, reserved[3]; uint64_t capabilities; };
struct fault_alloc { uint32_t size, flags, out_id, out_fd; };
struct pgfault { uint32_t flags, dev, pasid, group, perm, reserved; uint64_t addr; uint32_t length, cookie; };
struct response { uint32_t cookie, code; };
struct bind { uint32_t argsz, flags; int32_t iommufd; uint32_t out_devid; };
struct attach { uint32_t argsz, flags, pt, pasid; };
struct detach { uint32_t argsz, flags, pasid; };
struct region { uint32_t argsz, flags, index, cap; uint64_t size, offset; };
enum { NEST_PARENT = 1, FAULT_VALID = 4, ALLOC_PASID = 8, LEAF = 1 };

#define PAGE 4096u
#define GPA 0x100000ull
#define VIRTUAL 0x7f0000201000ull
enum { ROOT, POINTERS, DIRECTORY, TABLE, OLD, NEW, RESULT, CHAIN, PAGES };
enum { PRESENT = 1, WRITE = 2, USER = 4, ACCESSED = 0x20, DIRTY = 0x40 };

static int iommufd, device;
static uint32_t device_id, ioas, parent;
static uint8_t *memory;
static uint64_t registers;

static volatile uint64_t *page(int index) { return (volatile uint64_t *)(memory + index * PAGE); }
static uint64_t entry(int index) { return (GPA + index * PAGE) | PRESENT | WRITE | USER; }
static void put(uint64_t at, uint64_t value, int width) { CHECK(pwrite(device, &value, width, registers + at) == width); }

static uint64_t get(uint64_t at, int width)
{
	uint64_t value = 0;
	CHECK(pread(device, &value, width, registers + at) == width);
	return value;
}

/* Lets page n of the guest's virtual addresses from VIRTUAL on lead to a page of its memory. */
static void point(int n, uint64_t value) { page(TABLE)[(VIRTUAL >> 12 & 511) + n] = value; }

static uint32_t hwpt(uint32_t over, uint32_t flags, struct vtd_s1 *stage1, uint32_t fault)
{
	struct hwpt_alloc alloc = { .size = sizeof alloc, .flags = flags, .dev = device_id, .pt = over, .fault = fault };
	if (stage1) {
		alloc.data_type = 1;
		alloc.data_len = sizeof *stage1;
		alloc.data = (uintptr_t)stage1;
	}
	CHECK(!ioctl(iommufd, IOMMU(0x89), &alloc));
	return alloc.out_id;
}

static void attach(uint32_t pt, uint32_t pasid)
{
	struct attach attach = { .argsz = pasid ? 16 : 12, .flags = pasid ? 1 : 0, .pt = pt, .pasid = pasid };
	CHECK(!ioctl(device, IOMMU(0x77), &attach));
	CHECK(attach.pt == pt);
}

static int invalidate(uint32_t hwpt, struct vtd_invalidate *entries, uint32_t *count)
{
	struct hwpt_invalidate request = { .size = sizeof request, .hwpt = hwpt, .data = (uintptr_t)entries, .entry_len = sizeof *entries, .entry_num = *count };
	int result = ioctl(iommufd, IOMMU(0x8d), &request);
	*count = request.entry_num;
	return result;
}

static void forget(uint32_t hwpt, int n)
{
	struct vtd_invalidate one = { .addr = VIRTUAL + n * PAGE, .npages = 1, .flags = LEAF };
	uint32_t count = 1;
	CHECK(!invalidate(hwpt, &one, &count));
	CHECK(count == 1);
}

static void open_device(const char *number)
{
	char node[64];
	snprintf(node, sizeof node, "/dev/vfio/devices/vfio%s", number);
	iommufd = open("/dev/iommu", O_RDWR);
	device = open(node, O_RDWR);
	CHECK(iommufd >= 0 && device >= 0);
	struct bind bind = { .argsz = sizeof bind, .iommufd = iommufd };
	CHECK(!ioctl(device, IOMMU(0x76), &bind));
	device_id = bind.out_devid;
	struct ioas_alloc alloc = { .size = sizeof alloc };
	CHECK(!ioctl(iommufd, IOMMU(0x81), &alloc));
	ioas = alloc.out_id;
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	struct ioas_map map = { .size = sizeof map, .flags = 7, .ioas = ioas, .user_va = (uintptr_t)memory, .length = PAGES * PAGE, .iova = GPA };
	CHECK(!ioctl(iommufd, IOMMU(0x85), &map));
	parent = hwpt(ioas, NEST_PARENT | ALLOC_PASID, NULL, 0);
	page(ROOT)[VIRTUAL >> 39 & 511] = entry(POINTERS);
	page(POINTERS)[VIRTUAL >> 30 & 511] = entry(DIRECTORY);
	page(DIRECTORY)[VIRTUAL >> 21 & 511] = entry(TABLE);
	struct region region = { .argsz = sizeof region, .index = 7 };
	CHECK(!ioctl(device, IOMMU(0x6c), &region));
	uint16_t command = 6;
	CHECK(pwrite(device, &command, 2, region.offset + 4) == 2);
	region.index = 0;
	CHECK(!ioctl(device, IOMMU(0x6c), &region));
	registers = region.offset;
}

/* Starts a transfer between an address and edu's buffer, which is all it has. */
static void edu_start(uint64_t address, int to_memory, uint64_t pasid)
{
	put(0xa0, pasid, 8);
	put(0x80, to_memory ? 0x40000 : address, 8);
	put(0x88, to_memory ? address : 0x40000, 8);
	put(0x90, 8, 8);
	put(0x98, to_memory ? 3 : 1, 8);
}

static int edu_waits(void) { return get(0x98, 8) & 1; }
static int edu_failed(void) { return get(0xa8, 8) & 1; }

/* What edu has in its buffer: page n leads to RESULT. */
static uint64_t edu_buffer(int n)
{
	page(RESULT)[0] = 0;
	edu_start(VIRTUAL + n * PAGE, 1, 0);
	CHECK(!edu_waits() && !edu_failed());
	return page(RESULT)[0];
}

static uint64_t edu_read(int n, uint64_t pasid)
{
	edu_start(VIRTUAL + n * PAGE, 0, pasid);
	CHECK(!edu_waits());
	return edu_failed() ? 0 : edu_buffer(8);
}

static void *answer_later(void *argument)
{
	int fd = *(int *)argument;
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	CHECK(poll(&wait, 1, 10000) == 1 && wait.revents & POLLIN);
	struct pgfault fault;
	CHECK(read(fd, &fault, sizeof fault) == sizeof fault);
	CHECK(fault.addr == VIRTUAL + 2 * PAGE && fault.perm == 1);
	point(2, entry(NEW));
	struct response response = { .cookie = fault.cookie, .code = 0 };
	CHECK(write(fd, &response, sizeof response) == sizeof response);
	return NULL;
}

static void edu(const char *number)
{
	open_device(number);
	struct hw_info info = { .size = sizeof info, .dev = device_id };
	CHECK(!ioctl(iommufd, IOMMU(0x8a), &info));
	CHECK(info.type == 1 && info.pasid_bits == 20);

	struct fault_alloc queue = { .size = sizeof queue };
	CHECK(!ioctl(iommufd, IOMMU(0x8e), &queue));
	struct stat status;
	CHECK(!fstat(queue.out_fd, &status) && (status.st_mode & S_IFMT) == 0);
	struct vtd_s1 stage1 = { .root = GPA, .width = 48 };
	uint32_t nested = hwpt(parent, FAULT_VALID, &stage1, queue.out_id);
	attach(nested, 0);
	page(OLD)[0] = 0x1111;
	page(NEW)[0] = 0x2222;
	point(0, entry(OLD));
	point(8, entry(RESULT));

	/* two stages of translation, and what is remembered of them */
	CHECK(edu_read(0, 0) == 0x1111);
	CHECK(page(TABLE)[VIRTUAL >> 12 & 511] == (entry(OLD) | ACCESSED));
	point(0, entry(NEW));
	CHECK(edu_read(0, 0) == 0x1111);
	forget(nested, 0);
	CHECK(edu_read(0, 0) == 0x2222);
	struct vtd_invalidate entries[3] = { { .addr = 0, .npages = 1 }, { .addr = 1, .npages = 1 }, { .addr = 0, .npages = 1 } };
	uint32_t count = 3;
	FAILS(invalidate(nested, entries, &count), EINVAL);
	CHECK(count == 1);
	printf("nested: ok\n");

	/* a page that is missing */
	struct pollfd wait = { .fd = queue.out_fd, .events = POLLIN | POLLOUT };
	CHECK(poll(&wait, 1, 0) == 1 && wait.revents == POLLOUT);
	struct pgfault faults[4];
	CHECK(read(queue.out_fd, faults, sizeof faults) == 0);
	FAILS(read(queue.out_fd, faults, 39), ESPIPE);
	FAILS(pread(queue.out_fd, faults, 40, 0), ESPIPE);
	FAILS(lseek(queue.out_fd, 0, SEEK_SET), ESPIPE);
	edu_start(VIRTUAL + PAGE, 0, 0);
	CHECK(edu_waits());
	CHECK(poll(&wait, 1, 0) == 1 && wait.revents == (POLLIN | POLLOUT));
	CHECK(read(queue.out_fd, faults, sizeof faults) == sizeof *faults);
	CHECK(faults->flags == 2 && faults->dev == device_id && faults->pasid == 0 && faults->perm == 1);
	CHECK(faults->addr == VIRTUAL + PAGE && faults->length == 0 && faults->cookie == 1);
	CHECK(poll(&wait, 1, 0) == 1 && wait.revents == POLLOUT);
	point(1, entry(OLD));
	struct response response = { .cookie = 7 };
	FAILS(write(queue.out_fd, &response, sizeof response), EINVAL);
	CHECK(edu_waits());
	response.cookie = faults->cookie;
	struct iovec part = { &response, sizeof response };
	CHECK(writev(queue.out_fd, &part, 1) == sizeof response);
	CHECK(!edu_waits() && !edu_failed() && edu_buffer(8) == 0x1111);

	/* one that another thread brings, and that is waited for with epoll too */
	int epoll = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN }, seen;
	CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, queue.out_fd, &event));
	CHECK(epoll_wait(epoll, &seen, 1, 0) == 0);
	pthread_t thread;
	int fd = queue.out_fd;
	CHECK(!pthread_create(&thread, NULL, answer_later, &fd));
	usleep(20000);
	edu_start(VIRTUAL + 2 * PAGE, 0, 0);
	CHECK(!pthread_join(thread, NULL));
	CHECK(!edu_waits() && edu_buffer(8) == 0x2222);
	CHECK(epoll_wait(epoll, &seen, 1, 0) == 0);

	/* one that another process refuses; its end leaves the queue alone */
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		wait.events = POLLIN;
		CHECK(poll(&wait, 1, 10000) == 1);
		CHECK(read(queue.out_fd, faults, sizeof *faults) == sizeof *faults);
		response = (struct response){ .cookie = faults->cookie, .code = 1 };
		CHECK(write(queue.out_fd, &response, sizeof response) == sizeof response);
		_exit(0);
	}
	wait.events = POLLIN;
	edu_start(VIRTUAL + 3 * PAGE, 0, 0);
	int ended;
	CHECK(waitpid(child, &ended, 0) == child && ended == 0);
	CHECK(!edu_waits() && edu_failed());
	CHECK(poll(&wait, 1, 0) == 0);

	/* one that never comes, and one that the end of the attachment refuses */
	edu_start(VIRTUAL + 3 * PAGE, 1, 0);
	CHECK(epoll_wait(epoll, &seen, 1, 0) == 1);
	CHECK(readv(queue.out_fd, &(struct iovec){ faults, sizeof *faults }, 1) == sizeof *faults);
	CHECK(faults->perm == 2);
	response = (struct response){ .cookie = faults->cookie, .code = 1 };
	CHECK(write(queue.out_fd, &response, sizeof response) == sizeof response);
	CHECK(!edu_waits() && edu_failed());
	edu_start(VIRTUAL + 3 * PAGE, 0, 0);
	CHECK(edu_waits());
	attach(parent, 0);
	CHECK(!edu_waits() && edu_failed());
	CHECK(epoll_wait(epoll, &seen, 1, 0) == 0);
	printf("page requests: ok\n");

	/* requests with a PASID, beside those without */
	uint32_t shared = hwpt(parent, FAULT_VALID | ALLOC_PASID, &stage1, queue.out_id);
	attach(shared, 0x55);
	uint64_t with = 1ull << 31 | 1ull << 30 | 0x55;
	edu_start(VIRTUAL, 0, with);
	CHECK(!edu_waits() && !edu_failed());
	edu_start(GPA + RESULT * PAGE, 1, 0);
	CHECK(page(RESULT)[0] == 0x2222);
	edu_start(VIRTUAL + 3 * PAGE, 0, with);
	CHECK(edu_waits());
	CHECK(read(queue.out_fd, faults, sizeof *faults) == sizeof *faults);
	CHECK((faults->flags & 3) == 3 && faults->pasid == 0x55 && faults->addr == VIRTUAL + 3 * PAGE);
	point(3, entry(OLD));
	response = (struct response){ .cookie = faults->cookie };
	CHECK(write(queue.out_fd, &response, sizeof response) == sizeof response);
	edu_start(GPA + RESULT * PAGE, 1, 0);
	CHECK(page(RESULT)[0] == 0x1111);
	edu_start(VIRTUAL, 0, 1ull << 31 | 0x56);
	CHECK(edu_failed());
	struct detach detach = { .argsz = sizeof detach, .flags = 1, .pasid = 0x55 };
	CHECK(!ioctl(device, IOMMU(0x78), &detach));
	edu_start(VIRTUAL, 0, with);
	CHECK(!edu_waits() && edu_failed());
	printf("PASIDs: ok\n");

	/* the queue is free when its descriptor and its page tables are gone */
	uint32_t destroy[2] = { sizeof destroy, queue.out_id };
	FAILS(ioctl(iommufd, IOMMU(0x80), destroy), EBUSY);
	CHECK(!close(queue.out_fd));
	FAILS(ioctl(iommufd, IOMMU(0x80), destroy), EBUSY);
	for (int i = 0; i < 2; i++) {
		uint32_t table[2] = { sizeof table, i ? shared : nested };
		CHECK(!ioctl(iommufd, IOMMU(0x80), table));
	}
	CHECK(!ioctl(iommufd, IOMMU(0x80), destroy));
}

static void ioat(const char *number)
{
	open_device(number);
	struct vtd_s1 stage1 = { .root = GPA, .width = 48 };
	attach(hwpt(parent, 0, &stage1, 0), 0);
	point(0, entry(OLD));
	point(1, entry(RESULT));
	point(2, entry(CHAIN));
	for (int i = 0; i < 512; i++) page(OLD)[i] = i * 3;
	/* one descriptor (drivers/dma/ioat/hw.h): size, control, source, destination, next */
	volatile uint64_t *descriptor = page(CHAIN);
	descriptor[0] = PAGE | 1ull << 35;
	descriptor[1] = VIRTUAL;
	descriptor[2] = VIRTUAL + PAGE;
	descriptor[3] = VIRTUAL + 2 * PAGE;
	put(0x80 + 0x18, VIRTUAL + 2 * PAGE + 64, 8);
	put(0x80 + 0x10, VIRTUAL + 2 * PAGE, 8);
	put(0x80 + 0x06, 1, 2);
	CHECK((page(CHAIN)[8] & ~7ull) == VIRTUAL + 2 * PAGE);
	CHECK(!memcmp((void *)page(OLD), (void *)page(RESULT), PAGE));
	CHECK(page(TABLE)[(VIRTUAL >> 12 & 511) + 1] == (entry(RESULT) | ACCESSED | DIRTY));
	printf("DMA engine: ok\n");
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(argv[1], "edu")) edu(argv[2]);
	else ioat(argv[2]);
	return 0;
}
