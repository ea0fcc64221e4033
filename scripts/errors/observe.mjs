// Watches the model's files while programs call them: which request failed with which errno, on what, and why.

/** Modules below src/ (or dist/) whose classes take calls. */
export const WATCHED = {
  FileDescription: "kernel/file-description",
  Container: "vfio/container",
  GroupFile: "vfio/group-file",
  PciDeviceFile: "vfio/pci/device-file",
  MediatedDeviceFile: "vfio/mediated/device-file",
  CdevFile: "iommufd/cdev-file",
  IommufdFile: "iommufd/iommufd-file",
  FaultQueueFile: "iommufd/events/fault-queue-file",
  Host: "host/host",
  LiveFiles: "host/sysfs/live-files",
  KernelError: "kernel/errors",
  NestingBackend: "vfio/nesting/nesting-backend",
};

const FILES = [
  "FileDescription",
  "Container",
  "GroupFile",
  "PciDeviceFile",
  "MediatedDeviceFile",
  "CdevFile",
  "IommufdFile",
  "FaultQueueFile",
];
const CDEV_REQUESTS = /^VFIO_DEVICE_(BIND_IOMMUFD|ATTACH_IOMMUFD_PT|DETACH_IOMMUFD_PT)$/;
const UNKNOWN_REQUEST = "ioctl of an unknown number";

/** What observe() needs, from the modules of WATCHED. `load(path)` imports one, its path without suffix. */
export async function watchedClasses(load) {
  const modules = await Promise.all(Object.entries(WATCHED).map(async ([name, path]) => [name, await load(path)]));
  return Object.fromEntries(modules.map(([name, module]) => [name, module[name]]));
}

/**
 * From now on `onError` hears of every call that a program's file, or an open, refuses.
 * @returns ends it
 */
export function observe(classes, onError) {
  const { CdevFile, Container, FaultQueueFile, GroupFile, Host, IommufdFile, KernelError, LiveFiles } = classes;
  const { MediatedDeviceFile, NestingBackend, PciDeviceFile } = classes;
  const undo = [];
  let depth = 0;

  /** Calls inside of calls (a bound cdev asks the device's file) are one call. */
  function wrap(prototype, method, facts) {
    if (!Object.hasOwn(prototype, method)) return;
    const original = prototype[method];
    prototype[method] = function (...args) {
      if (depth > 0) return original.apply(this, args);
      // a call may change what the file is
      const told = facts(this, args);
      depth++;
      try {
        return original.apply(this, args);
      } catch (error) {
        if (told && error instanceof KernelError) onError({ ...told, errno: error.code, reason: error.reason });
        throw error;
      } finally {
        depth--;
      }
    };
    undo.push(() => {
      prototype[method] = original;
    });
  }

  function deviceBackend(file, request) {
    const opened = file instanceof CdevFile ? file.opened : file;
    if (!opened || CDEV_REQUESTS.test(request)) return "device cdev";
    if (opened instanceof MediatedDeviceFile) return "device mediated";
    return opened instanceof PciDeviceFile ? "device pci" : undefined;
  }

  function backendOf(file, request) {
    if (file instanceof Container) {
      if (file.backend instanceof NestingBackend) return "type1 nesting";
      const name = file.backend?.name ?? "container";
      return name === "noiommu" ? "no-IOMMU" : name;
    }
    if (file instanceof IommufdFile) return request.startsWith("VFIO_") ? "iommufd compat" : "iommufd";
    if (file instanceof GroupFile) return "group";
    if (file instanceof FaultQueueFile) return "iommufd fault queue";
    return deviceBackend(file, request);
  }

  /** The request as its file's dialect calls it, with the proposal that has it. */
  function named(file, request) {
    const row = file.dialect.row(request);
    if (!row) return UNKNOWN_REQUEST;
    return row.proposal === undefined ? row.name : `${row.name} (${row.proposal})`;
  }

  const factsOf = (file, request) => {
    const backend = backendOf(file, request);
    return backend && { request, backend };
  };
  for (const name of FILES) {
    const { prototype } = classes[name];
    wrap(prototype, "ioctl", (file, [, request]) => factsOf(file, named(file, request)));
    wrap(prototype, "read", (file) => factsOf(file, "read, pread"));
    wrap(prototype, "write", (file) => factsOf(file, "write, pwrite"));
    wrap(prototype, "mmap", (file) => factsOf(file, "mmap"));
  }
  wrap(Host.prototype, "open", (_, [, path]) => ({ request: "open", backend: nodeBackend(path) }));
  wrap(LiveFiles.prototype, "write", () => ({ request: "write to a file of sysfs", backend: "sysfs" }));
  return () => {
    for (const each of undo.reverse()) each();
  };
}

function nodeBackend(path) {
  if (path === "/dev/iommu") return "iommufd";
  if (path === "/dev/vfio/vfio") return "container";
  if (path.startsWith("/dev/vfio/devices/")) return "device cdev";
  if (path.startsWith("/dev/vfio/noiommu-")) return "no-IOMMU";
  return /^\/dev\/vfio\/\d+$/.test(path) ? "group" : "other path";
}
