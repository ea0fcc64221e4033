/**
 * The library: boot a host in this process and use it through raw bytes or the typed client; or use a real kernel's VFIO through
 * the same client. docs/library.md has examples.
 */
export * from "./client/client.ts";
export { Host } from "./iommufd/host.ts";
export { KernelError } from "./kernel/errors.ts";
export { FileDescription } from "./kernel/file-description.ts";
export { PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE } from "./kernel/model-areas.ts";
export { ModelMemory } from "./kernel/model-memory.ts";
export { ModelTask, type ModelTaskOptions } from "./kernel/model-task.ts";
export type { Word } from "./kernel/word.ts";
export type { HostDescription } from "./machine/host-description.ts";
export { HostDescriptionError } from "./machine/host-description-error.ts";
export { loadHost } from "./machine/load-host.ts";
export { READY_MADE_HOSTS } from "./machine/ready-made-hosts.ts";
export type { HostOptions } from "./vfio/host.ts";
export { LiveFiles } from "./vfio/sysfs/live-files.ts";
