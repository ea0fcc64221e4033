/*
 * The part of <linux/iommufd.h> and of the newer <linux/vfio.h> that the clients here use (Debian 12's headers have neither), and how a device is
 * opened through its own node.
 */
#include <dirent.h>

#include "device-file.h"

#define IOMMUFD(n) _IO(';', 0x80 + (n))
#define IOMMU_IOAS_ALLOC IOMMUFD(0x01)
#define IOMMU_IOAS_MAP IOMMUFD(0x05)
#define IOMMU_IOAS_UNMAP IOMMUFD(0x06)
#define IOMMU_HWPT_ALLOC IOMMUFD(0x09)
#define IOMMU_GET_HW_INFO IOMMUFD(0x0a)
#define IOMMU_HWPT_SET_DIRTY_TRACKING IOMMUFD(0x0b)
#define IOMMU_HWPT_GET_DIRTY_BITMAP IOMMUFD(0x0c)
#define IOMMU_IOAS_MAP_FILE IOMMUFD(0x0f)
#define DEVICE_BIND_IOMMUFD _IO(';', 118)
#define DEVICE_ATTACH_IOMMUFD_PT _IO(';', 119)

enum { MAP_FIXED_IOVA = 1, MAP_WRITEABLE = 2, MAP_READABLE = 4 };
enum { HWPT_ALLOC_DIRTY_TRACKING = 2, DIRTY_TRACKING_ENABLE = 1, GET_DIRTY_BITMAP_NO_CLEAR = 1 };
enum { HW_CAP_DIRTY_TRACKING = 1 };

struct ioas_alloc { uint32_t size, flags, out_ioas_id; };
struct ioas_map { uint32_t size, flags, ioas_id, reserved; uint64_t user_va, length, iova; };
struct ioas_map_file { uint32_t size, flags, ioas_id; int32_t fd; uint64_t start, length, iova; };
struct ioas_unmap { uint32_t size, ioas_id; uint64_t iova, length; };
struct hwpt_alloc { uint32_t size, flags, dev_id, pt_id, out_hwpt_id, reserved, data_type, data_len; uint64_t data_uptr; };
struct hw_info { uint32_t size, flags, dev_id, data_len; uint64_t data_uptr; uint32_t out_data_type, reserved; uint64_t out_capabilities; };
struct set_dirty_tracking { uint32_t size, flags, hwpt_id, reserved; };
struct get_dirty_bitmap { uint32_t size, hwpt_id, flags, reserved; uint64_t iova, length, page_size, data; };
struct bind_iommufd { uint32_t argsz, flags; int32_t iommufd; uint32_t out_devid; };
struct attach_iommufd_pt { uint32_t argsz, flags, pt_id; };

static int iommufd;

/* "ok", or why not. */
static const char *answer(int result)
{
	return result < 0 ? strerror(errno) : "ok";
}

/* Opens the node of a device by its folder in /sys and binds it to the iommufd, the first opens that; returns the device's id. */
static uint32_t bind_device(const char *folder)
{
	char path[512];
	snprintf(path, sizeof path, "%s/vfio-dev", folder);
	DIR *listing = opendir(path);
	if (!listing)
		die(path);
	for (struct dirent *entry; (entry = readdir(listing));)
		if (!strncmp(entry->d_name, "vfio", 4))
			snprintf(path, sizeof path, "/dev/vfio/devices/%.200s", entry->d_name);
	closedir(listing);
	if (!iommufd)
		iommufd = open("/dev/iommu", O_RDWR);
	device = open(path, O_RDWR);
	if (iommufd < 0 || device < 0)
		die(path);
	struct bind_iommufd bind = { .argsz = sizeof bind, .iommufd = iommufd };
	if (ioctl(device, DEVICE_BIND_IOMMUFD, &bind))
		die("VFIO_DEVICE_BIND_IOMMUFD");
	return bind.out_devid;
}

static uint32_t new_ioas(void)
{
	struct ioas_alloc alloc = { .size = sizeof alloc };
	if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc))
		die("IOMMU_IOAS_ALLOC");
	return alloc.out_ioas_id;
}

static int attach(uint32_t id)
{
	struct attach_iommufd_pt attach = { .argsz = sizeof attach, .pt_id = id };
	return ioctl(device, DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

static int map(uint32_t ioas, uint64_t iova, void *memory, uint64_t length, uint32_t flags)
{
	struct ioas_map map = { .size = sizeof map, .flags = flags | MAP_FIXED_IOVA, .ioas_id = ioas,
				.user_va = (uintptr_t)memory, .length = length, .iova = iova };
	return ioctl(iommufd, IOMMU_IOAS_MAP, &map);
}

/* The number of bytes that are unmapped. */
static uint64_t unmap(uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct ioas_unmap unmap = { .size = sizeof unmap, .ioas_id = ioas, .iova = iova, .length = length };
	if (ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap))
		die("IOMMU_IOAS_UNMAP");
	return unmap.length;
}
