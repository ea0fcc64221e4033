/** For a request that meets a function in zPCI's error state. */
export function errorState(device: string): string {
  return `${device} is in the error state since a DMA request of it faulted; write 1 to /sys/bus/pci/devices/${device}/recover`;
}
