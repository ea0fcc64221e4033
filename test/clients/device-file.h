/*
 * The file of a device that a client drives, however it was opened: bytes at an offset, and where regions lie.
 */
#pragma once
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
#include <unistd.h>

#define PAGE 4096ul
#define BASE 0x100000ull

static int device;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void put(off_t at, const void *bytes, size_t size)
{
	if (pwrite(device, bytes, size, at) != (ssize_t)size)
		die("pwrite");
}

static void get(off_t at, void *bytes, size_t size)
{
	if (pread(device, bytes, size, at) != (ssize_t)size)
		die("pread");
}

static struct vfio_region_info region_info(unsigned int index)
{
	struct vfio_region_info region = { .argsz = sizeof region, .index = index };
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region))
		die("VFIO_DEVICE_GET_REGION_INFO");
	return region;
}
