// A program in Go uses VFIO: its runtime makes system calls itself, without a C library, from threads that it starts and
// moves goroutines between at any moment, and interrupts its threads by signals all the time.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

const (
	typeAndBase   = ';'<<8 | 100
	getAPIVersion = typeAndBase + 0
	setIOMMU      = typeAndBase + 2
	setContainer  = typeAndBase + 4
	getDeviceFd   = typeAndBase + 6
	getRegionInfo = typeAndBase + 8
	mapDMA        = typeAndBase + 13
	unmapDMA      = typeAndBase + 14
	type1v2       = 3
	page          = 4096
	mappers       = 16
	mapsOfEach    = 200
	firstBar      = 0
	readAndWrite  = 3
)

func ioctl(fd uintptr, request uintptr, argument unsafe.Pointer) (uintptr, error) {
	result, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument))
	if errno != 0 {
		return 0, errno
	}
	return result, nil
}

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func words(values ...uint64) []byte {
	bytes := make([]byte, 0, 8*len(values))
	for _, value := range values {
		bytes = binary.LittleEndian.AppendUint64(bytes, value)
	}
	return bytes
}

func main() {
	container, err := os.OpenFile("/dev/vfio/vfio", os.O_RDWR, 0)
	must("open the container", err)
	group, err := os.OpenFile("/dev/vfio/"+os.Args[1], os.O_RDWR, 0)
	must("open the group", err)
	version, err := ioctl(container.Fd(), getAPIVersion, nil)
	must("VFIO_GET_API_VERSION", err)
	number := int32(container.Fd())
	_, err = ioctl(group.Fd(), setContainer, unsafe.Pointer(&number))
	must("VFIO_GROUP_SET_CONTAINER", err)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, container.Fd(), setIOMMU, type1v2)
	if errno != 0 {
		must("VFIO_SET_IOMMU", errno)
	}
	name := append([]byte(os.Args[2]), 0)
	device, err := ioctl(group.Fd(), getDeviceFd, unsafe.Pointer(&name[0]))
	must("VFIO_GROUP_GET_DEVICE_FD", err)

	// argsz and flags, index and cap_offset, size, offset
	region := words(32, firstBar, 0, 0)
	_, err = ioctl(device, getRegionInfo, unsafe.Pointer(&region[0]))
	must("VFIO_DEVICE_GET_REGION_INFO", err)
	size, offset := binary.LittleEndian.Uint64(region[16:]), binary.LittleEndian.Uint64(region[24:])
	registers, err := syscall.Mmap(int(device), int64(offset), int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must("mmap of the BAR", err)
	var read [8]byte
	_, err = syscall.Pread(int(device), read[:], int64(offset))
	must("pread of the BAR", err)
	agree := *(*uint64)(unsafe.Pointer(&registers[0])) == binary.LittleEndian.Uint64(read[:])

	memory, err := syscall.Mmap(-1, 0, mappers*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS)
	must("mmap", err)
	var all sync.WaitGroup
	for mapper := 0; mapper < mappers; mapper++ {
		all.Add(1)
		go func(mapper int) {
			defer all.Done()
			vaddr := uint64(uintptr(unsafe.Pointer(&memory[mapper*page])))
			for round := 0; round < mapsOfEach; round++ {
				iova := uint64(0x100000 + (mapper*mapsOfEach+round)*page)
				mapping := words(32|readAndWrite<<32, vaddr, iova, page)
				_, err := ioctl(container.Fd(), mapDMA, unsafe.Pointer(&mapping[0]))
				must("VFIO_IOMMU_MAP_DMA", err)
				// the garbage collector stops all threads meanwhile
				_ = make([]byte, 1<<16)
				if round%2 == 0 {
					gone := words(24, iova, page)
					_, err = ioctl(container.Fd(), unmapDMA, unsafe.Pointer(&gone[0]))
					must("VFIO_IOMMU_UNMAP_DMA", err)
				}
			}
		}(mapper)
	}
	all.Wait()
	rest := words(24, 0, 1<<40)
	_, err = ioctl(container.Fd(), unmapDMA, unsafe.Pointer(&rest[0]))
	must("VFIO_IOMMU_UNMAP_DMA of the rest", err)
	fmt.Printf("version %d, registers agree %t, unmapped %d pages\n", version, agree, binary.LittleEndian.Uint64(rest[16:])/page)
}
