/*
 * A driver in user space for QEMU's edu device through /dev/iommu: DMA to and from files that are memory (IOMMU_IOAS_MAP_FILE), and which pages the
 * device wrote (IOMMU_HWPT_GET_DIRTY_BITMAP). Nothing in it knows of uvfio.
 *      cc -o iommufd-edu iommufd-edu.c && uvfio run -m lab -- ./iommufd-edu 0000:03:00.0 files|dirty
 */
#define _GNU_SOURCE
#include "iommufd-cdev.h"

enum { SOURCE = 0x80, DESTINATION = 0x88, COUNT = 0x90, COMMAND = 0x98, BUFFER = 0x40000 };
enum { RUN = 1, TO_MEMORY = 2 };

static off_t registers;

static void dma(uint64_t from, uint64_t to, uint64_t count, uint64_t command)
{
	put(registers + SOURCE, &from, sizeof from);
	put(registers + DESTINATION, &to, sizeof to);
	put(registers + COUNT, &count, sizeof count);
	put(registers + COMMAND, &command, sizeof command);
	do
		get(registers + COMMAND, &command, sizeof command);
	while (command & RUN);
}

static void from_memory(uint64_t iova, uint64_t count)
{
	dma(iova, BUFFER, count, RUN);
}

static void to_memory(uint64_t iova, uint64_t count)
{
	dma(BUFFER, iova, count, RUN | TO_MEMORY);
}

static int map_file(uint32_t ioas, uint64_t iova, int fd, uint64_t start, uint64_t length, uint32_t flags)
{
	struct ioas_map_file map = { .size = sizeof map, .flags = flags | MAP_FIXED_IOVA, .ioas_id = ioas,
				     .fd = fd, .start = start, .length = length, .iova = iova };
	return ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &map);
}

/* Copies a text from one page of the file's mapping by the device to another, and shows both sides. */
static void try_file(const char *what, uint32_t ioas, int fd, int prot)
{
	if (ftruncate(fd, 8 * PAGE))
		die("ftruncate");
	char *bytes = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		die("mmap");
	/* the mapping begins at the file's second page */
	printf("%s: map %s", what, answer(map_file(ioas, BASE, fd, PAGE, 6 * PAGE, prot)));
	strcpy(bytes + 2 * PAGE - 4, "through the device");
	from_memory(BASE + PAGE - 4, 19);
	to_memory(BASE + 3 * PAGE, 19);
	printf(", seen \"%s\"", bytes + 4 * PAGE);
	printf(", unmapped 0x%llx\n", (unsigned long long)unmap(ioas, BASE, 6 * PAGE));
	munmap(bytes, 8 * PAGE);
}

static void files(uint32_t ioas)
{
	int memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int shared = open("/dev/shm/iommufd-edu", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int reading = open("/dev/shm/iommufd-edu", O_RDONLY | O_CLOEXEC);
	unlink("/dev/shm/iommufd-edu");
	/* held by the mapping from here on, not by the descriptor */
	if (attach(ioas))
		die("VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	try_file("memfd", ioas, memfd, MAP_READABLE | MAP_WRITEABLE);
	try_file("tmpfs", ioas, shared, MAP_READABLE | MAP_WRITEABLE);

	/* a mapping outlives the descriptor; a descriptor for reading does not keep the device from writing */
	char *bytes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
	printf("read-only descriptor: map %s", answer(map_file(ioas, BASE, reading, 0, PAGE, MAP_WRITEABLE)));
	close(reading);
	close(shared);
	to_memory(BASE, 19);
	printf(", seen \"%s\"\n", bytes);
	unmap(ioas, BASE, PAGE);

	int pipes[2];
	if (pipe(pipes))
		die("pipe");
	int file = open("/proc/self/exe", O_RDONLY), null = open("/dev/null", O_RDWR), shm = open("/dev/shm", O_RDONLY);
	printf("a program's file: %s\n", answer(map_file(ioas, BASE, file, 0, PAGE, MAP_READABLE)));
	printf("a character device: %s\n", answer(map_file(ioas, BASE, null, 0, PAGE, MAP_READABLE)));
	printf("a directory: %s\n", answer(map_file(ioas, BASE, shm, 0, PAGE, MAP_READABLE)));
	printf("a pipe: %s\n", answer(map_file(ioas, BASE, pipes[0], 0, PAGE, MAP_READABLE)));
	printf("the iommufd: %s\n", answer(map_file(ioas, BASE, iommufd, 0, PAGE, MAP_READABLE)));
	printf("no file: %s\n", answer(map_file(ioas, BASE, 999, 0, PAGE, MAP_READABLE)));
	printf("beyond its end: %s\n", answer(map_file(ioas, BASE, memfd, 7 * PAGE, 2 * PAGE, MAP_READABLE)));
	printf("its last page: %s\n", answer(map_file(ioas, BASE, memfd, 7 * PAGE, PAGE, MAP_READABLE | MAP_WRITEABLE)));

	/* a file that is cut loses the device's writes, and does not grow by them */
	if (ftruncate(memfd, 4 * PAGE))
		die("ftruncate");
	to_memory(BASE, 19);
	printf("cut to 4 pages: %lld bytes\n", (long long)lseek(memfd, 0, SEEK_END));
	if (ftruncate(memfd, 8 * PAGE))
		die("ftruncate");
	to_memory(BASE, 19);
	char again[19];
	if (pread(memfd, again, sizeof again, 7 * PAGE) != sizeof again)
		die("pread");
	printf("grown again: \"%s\"\n", again);
	unmap(ioas, BASE, PAGE);
}

static uint64_t dirty_pages(uint32_t hwpt, uint32_t flags)
{
	uint64_t bits = 0;
	struct get_dirty_bitmap get = { .size = sizeof get, .hwpt_id = hwpt, .flags = flags, .iova = BASE,
					.length = 64 * PAGE, .page_size = PAGE, .data = (uintptr_t)&bits };
	if (ioctl(iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get))
		die("IOMMU_HWPT_GET_DIRTY_BITMAP");
	return bits;
}

static int track(uint32_t hwpt, uint32_t flags)
{
	struct set_dirty_tracking set = { .size = sizeof set, .flags = flags, .hwpt_id = hwpt };
	return ioctl(iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set);
}

static void dirty(uint32_t ioas, uint32_t id)
{
	struct hw_info info = { .size = sizeof info, .dev_id = id };
	if (ioctl(iommufd, IOMMU_GET_HW_INFO, &info))
		die("IOMMU_GET_HW_INFO");
	printf("capabilities: dirty tracking %s\n", info.out_capabilities & HW_CAP_DIRTY_TRACKING ? "yes" : "no");
	struct hwpt_alloc alloc = { .size = sizeof alloc, .flags = HWPT_ALLOC_DIRTY_TRACKING, .dev_id = id, .pt_id = ioas };
	int made = ioctl(iommufd, IOMMU_HWPT_ALLOC, &alloc);
	printf("page table: %s\n", answer(made));
	if (made < 0)
		exit(1);
	uint32_t hwpt = alloc.out_hwpt_id;
	if (attach(hwpt))
		die("VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	void *memory = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map(ioas, BASE, memory, 64 * PAGE, MAP_READABLE | MAP_WRITEABLE))
		die("IOMMU_IOAS_MAP");
	to_memory(BASE, 8);
	printf("start: %s, ", answer(track(hwpt, DIRTY_TRACKING_ENABLE)));
	printf("dirty 0x%llx\n", (unsigned long long)dirty_pages(hwpt, 0));
	to_memory(BASE + 4 * PAGE - 4, 8);
	from_memory(BASE + 9 * PAGE, 8);
	to_memory(BASE + 63 * PAGE, 1);
	printf("looked at: 0x%llx\n", (unsigned long long)dirty_pages(hwpt, GET_DIRTY_BITMAP_NO_CLEAR));
	printf("taken: 0x%llx\n", (unsigned long long)dirty_pages(hwpt, 0));
	printf("then: 0x%llx\n", (unsigned long long)dirty_pages(hwpt, 0));
	printf("stop: %s\n", answer(track(hwpt, 0)));
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	char folder[256];
	snprintf(folder, sizeof folder, "/sys/bus/pci/devices/%s", argv[1]);
	uint32_t id = bind_device(folder);
	registers = region_info(VFIO_PCI_BAR0_REGION_INDEX).offset;
	uint16_t command = 6;
	put(region_info(VFIO_PCI_CONFIG_REGION_INDEX).offset + 4, &command, sizeof command);
	uint32_t ioas = new_ioas();
	if (!strcmp(argv[2], "files"))
		files(ioas);
	else
		dirty(ioas, id);
	close(device);
	close(iommufd);
	return 0;
}
