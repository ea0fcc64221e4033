export { deviceNodes, type VfioDevice, vfioDevices } from "./device-nodes.ts";
export { allDevices, deviceName, type FoundDevice, findDevice, findGroup } from "./find-device.ts";
export * from "./host-description.ts";
export { HostDescriptionError } from "./host-description-error.ts";
export { type HostOverrides, loadHost } from "./load-host.ts";
export { configSpace } from "./pci-config.ts";
export { DEFAULT_HOST, HOSTS_TO_COME, READY_MADE_HOSTS, readyMadeHost } from "./ready-made-hosts.ts";
export { sysfsTree } from "./sysfs-tree.ts";
export { toYaml } from "./write-host.ts";
