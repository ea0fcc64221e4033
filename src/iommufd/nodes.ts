import { fail } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { DeviceNode } from "../kernel/host-kernel.ts";
import { CAP_DAC_OVERRIDE, type Task } from "../kernel/task.ts";
import type { HostDescription } from "../machine/host-description.ts";
import type { IommufdHost, IommufdNodes } from "../vfio/iommufd.ts";
import { CdevFile } from "./cdev-file.ts";
import { IommufdContext } from "./context.ts";
import { IommufdFile } from "./iommufd-file.ts";
import type { IommufdModule } from "./module.ts";
import { PasidHardware } from "./nesting/pasid-hardware.ts";

const IOMMU_NODE = "/dev/iommu";
const CONTAINER_NODE = "/dev/vfio/vfio";
const DEVICE_NODE = /^\/dev\/vfio\/devices\/vfio(\d+)$/;

/** The nodes of a host that has iommufd (main.c: iommu_misc_dev, vfio_misc_dev; device_cdev.c). */
export class IommufdModuleNodes implements IommufdNodes {
  readonly #host: IommufdHost;
  readonly #module: IommufdModule;
  /** /dev/vfio/vfio is iommufd's too. */
  readonly #isContainer: boolean;

  constructor(description: HostDescription, host: IommufdHost) {
    this.#host = host;
    this.#module = {
      context: host.context,
      lockedByUser: new Map(),
      noIommuBuilt: description.modules.vfio.enableUnsafeNoiommuMode !== undefined,
      requesters: host.requesters,
      pasidHardware: description.iommu.nesting ? new PasidHardware(host.nestingIommus) : undefined,
    };
    this.#isContainer = description.vfioContainer === "iommufd";
  }

  open(task: Task, path: string): FileDescription | undefined {
    // opened as a container, pinned pages are counted as VFIO counts them
    if (path === CONTAINER_NODE && this.#isContainer) return this.#newFile(task, "process");
    if (path === IOMMU_NODE) {
      requireRoot(task, path, "0660");
      return this.#newFile(task, "user");
    }
    const match = DEVICE_NODE.exec(path);
    if (!match) return undefined;
    const found = this.#host.deviceAt(Number(match[1])) ?? fail("ENOENT", `${path} is not on this host`);
    requireRoot(task, path, "0600");
    return new CdevFile(this.#host.context, found.device, found.group);
  }

  isThere(node: DeviceNode): boolean {
    const match = DEVICE_NODE.exec(node.path);
    return !match || this.#host.deviceAt(Number(match[1])) !== undefined;
  }

  #newFile(task: Task, accountMode: "user" | "process"): IommufdFile {
    return new IommufdFile(new IommufdContext(this.#module, accountMode, task));
  }
}

function requireRoot(task: Task, path: string, mode: string): void {
  if (task.euid === 0 || task.capable(CAP_DAC_OVERRIDE)) return;
  fail("EACCES", `${path} has mode ${mode} and is root's`);
}
