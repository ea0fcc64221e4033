/*
 * Binds a page table that it writes itself to a PASID (vSVA v1), lets a device read through it, changes the table, sees the old data, invalidates,
 * sees the new.
 *
 *      vsva edu|mdev|refused GROUP DEVICE      the kind decides which registers the device has; "refused" expects the bind to fail with ENODEV
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)

/* The proposal's v1 and <linux/iommu.h> of 5.10, neither of which any installed header has. */
#define NESTING_IOMMU 6
#define PASID_REQUEST _IO(VFIO_TYPE, VFIO_BASE + 22)
#define BIND _IO(VFIO_TYPE, VFIO_BASE + 23)
#define CACHE_INVALIDATE _IO(VFIO_TYPE, VFIO_BASE + 24)

struct pasid_request { uint32_t argsz, flags, min, max, result; };

struct bind {
	uint32_t argsz, flags;
	struct {
		uint32_t argsz, version, format, addr_width;
		uint64_t flags, gpgd, hpasid, gpasid;
		uint8_t padding[8];
		struct { uint64_t flags; uint32_t pat, emt; } vtd;
	} data;
};

struct invalidate {
	uint32_t argsz, flags;
	struct {
		uint32_t argsz, version;
		uint8_t cache, granularity, padding[6];
		struct { uint32_t flags, archid; uint64_t pasid, addr, granule_size, nb_granules; } addr_info;
	} info;
};

#define PAGE 4096u
#define GPA 0x100000ull
#define VIRTUAL 0x7f0000201000ull
enum { ROOT, POINTERS, DIRECTORY, TABLE, OLD, NEW, PAGES };
enum { PRESENT = 1, WRITE = 2, USER = 4, ACCESSED = 0x20 };

static int container, device;
static uint8_t *memory;
static uint64_t registers, buffer;

static uint64_t *page(int index) { return (uint64_t *)(memory + index * PAGE); }
static uint64_t entry(int index) { return (GPA + index * PAGE) | PRESENT | WRITE | USER; }

static void put(uint64_t at, uint64_t value, int width) { CHECK(pwrite(device, &value, width, registers + at) == width); }

/* What the device reads at VIRTUAL with a PASID; 0 where nothing is. */
static uint64_t edu_read(uint32_t pasid)
{
	uint64_t value = 0;
	put(0xa0, 1u << 31 | pasid, 8);
	put(0x80, VIRTUAL, 8);
	put(0x88, 0x40000, 8);
	put(0x90, 8, 8);
	put(0x98, 1, 8);
	/* the buffer is the device's: it goes to memory without a PASID */
	put(0xa0, 0, 8);
	put(0x80, 0x40000, 8);
	put(0x88, GPA + OLD * PAGE + 64, 8);
	put(0x98, 3, 8);
	value = page(OLD)[8];
	return value;
}

static uint64_t mdev_read(uint32_t pasid)
{
	uint64_t value = 0;
	CHECK(pwrite(device, &value, 8, buffer) == 8);
	put(0x34, 1u << 31 | pasid, 4);
	put(0x10, (uint32_t)VIRTUAL, 4);
	put(0x14, VIRTUAL >> 32, 4);
	put(0x18, 8, 4);
	put(0x20, 0, 4);
	put(0x08, 8, 4);
	CHECK(pread(device, &value, 8, buffer) == 8);
	return value;
}

int main(int argc, char **argv)
{
	CHECK(argc == 4);
	int refused = !strcmp(argv[1], "refused");
	uint64_t (*read_through)(uint32_t) = strcmp(argv[1], "edu") ? mdev_read : edu_read;
	char node[64];
	snprintf(node, sizeof node, "/dev/vfio/%s", argv[2]);
	container = open("/dev/vfio/vfio", O_RDWR);
	int group = open(node, O_RDWR);
	CHECK(container >= 0 && group >= 0);
	CHECK(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	CHECK(ioctl(container, VFIO_CHECK_EXTENSION, NESTING_IOMMU) == 1);
	CHECK(!ioctl(container, VFIO_SET_IOMMU, NESTING_IOMMU));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[3]);
	CHECK(device >= 0);
	struct vfio_region_info region = { .argsz = sizeof region, .index = VFIO_PCI_CONFIG_REGION_INDEX };
	CHECK(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region));
	uint16_t command = 6;
	CHECK(pwrite(device, &command, 2, region.offset + 4) == 2);
	region.index = 0;
	CHECK(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region));
	registers = region.offset;
	region.index = 2;
	CHECK(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region));
	buffer = region.offset;

	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof map, .flags = 3, .vaddr = (uintptr_t)memory, .iova = GPA, .size = PAGES * PAGE };
	CHECK(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map));

	page(ROOT)[VIRTUAL >> 39 & 511] = entry(POINTERS);
	page(POINTERS)[VIRTUAL >> 30 & 511] = entry(DIRECTORY);
	page(DIRECTORY)[VIRTUAL >> 21 & 511] = entry(TABLE);
	page(TABLE)[VIRTUAL >> 12 & 511] = entry(OLD);
	page(OLD)[0] = 0x1111;
	page(NEW)[0] = 0x2222;

	struct pasid_request pasid = { .argsz = sizeof pasid, .flags = 1, .min = 1, .max = 0xfffff };
	CHECK(!ioctl(container, PASID_REQUEST, &pasid));
	struct bind bind = { .argsz = sizeof bind, .flags = 1 };
	bind.data.argsz = sizeof bind.data;
	bind.data.version = bind.data.format = 1;
	bind.data.addr_width = 48;
	bind.data.gpgd = GPA;
	bind.data.hpasid = pasid.result;
	int result = ioctl(container, BIND, &bind);
	if (refused) {
		CHECK(result == -1 && errno == ENODEV);
		CHECK(read_through(pasid.result) == 0);
		printf("refused: ok\n");
		return 0;
	}
	CHECK(!result);

	CHECK(read_through(pasid.result) == 0x1111);
	CHECK(page(TABLE)[VIRTUAL >> 12 & 511] == (entry(OLD) | ACCESSED));
	page(TABLE)[VIRTUAL >> 12 & 511] = entry(NEW);
	CHECK(read_through(pasid.result) == 0x1111);

	struct invalidate invalidate = { .argsz = sizeof invalidate };
	invalidate.info.argsz = sizeof invalidate.info;
	invalidate.info.version = 1;
	invalidate.info.cache = 1;
	invalidate.info.granularity = 2;
	invalidate.info.addr_info.flags = 1 | 4;
	invalidate.info.addr_info.pasid = pasid.result;
	invalidate.info.addr_info.addr = VIRTUAL;
	invalidate.info.addr_info.granule_size = PAGE;
	invalidate.info.addr_info.nb_granules = 1;
	CHECK(!ioctl(container, CACHE_INVALIDATE, &invalidate));
	CHECK(read_through(pasid.result) == 0x2222);

	bind.flags = 2;
	CHECK(!ioctl(container, BIND, &bind));
	CHECK(read_through(pasid.result) == 0);
	CHECK(!ioctl(container, BIND, &bind));
	printf("%s: ok\n", argv[1]);
	return 0;
}
