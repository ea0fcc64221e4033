/**
 * Commands of vfio-user 0.0 (QEMU's docs/interop/vfio-user.rst, libvfio-user's include/vfio-user.h): what a message
 * asks for. Those of 11 and 12 go from the server to the client, the others the other way.
 */
export const VFIO_USER_VERSION = 1;
export const VFIO_USER_DMA_MAP = 2;
export const VFIO_USER_DMA_UNMAP = 3;
export const VFIO_USER_DEVICE_GET_INFO = 4;
export const VFIO_USER_DEVICE_GET_REGION_INFO = 5;
export const VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6;
export const VFIO_USER_DEVICE_GET_IRQ_INFO = 7;
export const VFIO_USER_DEVICE_SET_IRQS = 8;
export const VFIO_USER_REGION_READ = 9;
export const VFIO_USER_REGION_WRITE = 10;
export const VFIO_USER_DMA_READ = 11;
export const VFIO_USER_DMA_WRITE = 12;
export const VFIO_USER_DEVICE_RESET = 13;
export const VFIO_USER_REGION_WRITE_MULTI = 15;
export const VFIO_USER_DEVICE_FEATURE = 16;
export const VFIO_USER_MIG_DATA_READ = 17;
export const VFIO_USER_MIG_DATA_WRITE = 18;

const NAMES: ReadonlyMap<number, string> = new Map([
  [VFIO_USER_VERSION, "VERSION"],
  [VFIO_USER_DMA_MAP, "DMA_MAP"],
  [VFIO_USER_DMA_UNMAP, "DMA_UNMAP"],
  [VFIO_USER_DEVICE_GET_INFO, "DEVICE_GET_INFO"],
  [VFIO_USER_DEVICE_GET_REGION_INFO, "DEVICE_GET_REGION_INFO"],
  [VFIO_USER_DEVICE_GET_REGION_IO_FDS, "DEVICE_GET_REGION_IO_FDS"],
  [VFIO_USER_DEVICE_GET_IRQ_INFO, "DEVICE_GET_IRQ_INFO"],
  [VFIO_USER_DEVICE_SET_IRQS, "DEVICE_SET_IRQS"],
  [VFIO_USER_REGION_READ, "REGION_READ"],
  [VFIO_USER_REGION_WRITE, "REGION_WRITE"],
  [VFIO_USER_DMA_READ, "DMA_READ"],
  [VFIO_USER_DMA_WRITE, "DMA_WRITE"],
  [VFIO_USER_DEVICE_RESET, "DEVICE_RESET"],
  [VFIO_USER_REGION_WRITE_MULTI, "REGION_WRITE_MULTI"],
  [VFIO_USER_DEVICE_FEATURE, "DEVICE_FEATURE"],
  [VFIO_USER_MIG_DATA_READ, "MIG_DATA_READ"],
  [VFIO_USER_MIG_DATA_WRITE, "MIG_DATA_WRITE"],
]);

/** For messages: "REGION_READ", "command 99". */
export function commandName(command: number): string {
  return NAMES.get(command) ?? `command ${command}`;
}
