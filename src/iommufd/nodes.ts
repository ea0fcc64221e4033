import { unitOf } from "../iommu/describe-unit.ts";
import { kindOf } from "../iommu/kinds.ts";
import { fail } from "../kernel/errors.ts";
import { FailNthFile } from "../kernel/fail-nth-file.ts";
import { FaultPoints, faultPoint } from "../kernel/fault-points.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import { CAP_DAC_OVERRIDE, type Task } from "../kernel/task.ts";
import type { HostGround, HostPart } from "../vfio/host-part.ts";
import type { LiveSpace } from "../vfio/space-view.ts";
import { CdevFile } from "./cdev-file.ts";
import { IommufdContext } from "./context.ts";
import { IommufdFile } from "./iommufd-file.ts";
import { PinAccounts } from "./memory/pin-account.ts";
import type { IommufdModule } from "./module.ts";
import { PasidHardware } from "./nesting/pasid-hardware.ts";
import { SelftestGround } from "./selftest/ground.ts";
import { iommufdSpaces } from "./space-view.ts";

const IOMMU_NODE = "/dev/iommu";
const CONTAINER_NODE = "/dev/vfio/vfio";
const DEVICE_NODE = /^\/dev\/vfio\/devices\/vfio(\d+)$/;

/**
 * /dev/iommu, and with it the nodes of VFIO's devices and perhaps /dev/vfio/vfio (main.c: iommu_misc_dev,
 * vfio_misc_dev; device_cdev.c).
 */
export class IommufdNodes implements HostPart {
  readonly #ground: HostGround;
  readonly #module: IommufdModule;
  readonly #isServed: boolean;
  /** /dev/vfio/vfio is iommufd's too. */
  readonly #isContainer: boolean;

  constructor(ground: HostGround) {
    const { description, context, requesters, iommus, parameters } = ground;
    this.#ground = ground;
    this.#module = {
      context,
      accounts: new PinAccounts(),
      noIommuBuilt: description.modules.vfio.enableUnsafeNoiommuMode !== undefined,
      requesters,
      pasidHardware: description.iommu.nesting ? new PasidHardware(iommus()) : undefined,
      contexts: new Set(),
      selftest: selftestGround(ground),
      faults: kindOf(description.iommu.model).isForSelftests ? new FaultPoints(parameters, context.warn) : undefined,
    };
    this.#isServed = description.iommufd && context.release.has("iommufd");
    this.#isContainer = description.vfioContainer === "iommufd";
    if (description.iommufd) {
      const { allowUnsafeInterrupts } = description.modules.iommufd;
      parameters.define("iommufd/allow_unsafe_interrupts", "bool", allowUnsafeInterrupts, true);
    }
  }

  open(task: Task, path: string): FileDescription | undefined {
    if (!this.#isServed) return undefined;
    // opened as a container, pinned pages are counted as VFIO counts them
    if (path === CONTAINER_NODE && this.#isContainer) return this.#newFile(task, "process");
    if (path === IOMMU_NODE) {
      requireRoot(task, path, "0660");
      return this.#newFile(task, "user");
    }
    const match = DEVICE_NODE.exec(path);
    if (!match) return undefined;
    const found = this.#ground.vfio.deviceAt(Number(match[1])) ?? fail("ENOENT", `${path} is not on this host`);
    requireRoot(task, path, "0600");
    return new CdevFile(this.#ground.context, found.device, found.group);
  }

  hasNode(path: string): boolean {
    if (!this.#isServed) return false;
    if (path === IOMMU_NODE || (path === CONTAINER_NODE && this.#isContainer)) return true;
    const match = DEVICE_NODE.exec(path);
    return match !== null && this.#ground.vfio.deviceAt(Number(match[1])) !== undefined;
  }

  spaces(): LiveSpace[] {
    return [...this.#module.contexts].flatMap((context) => iommufdSpaces(context));
  }

  /** The order in which a thread has its calls fail. */
  procFile(task: Task, thread: number, name: string): FileDescription | undefined {
    const { faults } = this.#module;
    if (!faults || name !== "fail-nth") return undefined;
    requireRoot(task, `/proc/${thread}/fail-nth`, "0644");
    return new FailNthFile(faults, thread);
  }

  #newFile(task: Task, accountMode: "user" | "process"): IommufdFile {
    const make = () => {
      faultPoint("failslab");
      return new IommufdFile(new IommufdContext(this.#module, accountMode, task));
    };
    return this.#module.faults?.run(task.tid, make) ?? make();
  }
}

function requireRoot(task: Task, path: string, mode: string): void {
  if (task.euid === 0 || task.capable(CAP_DAC_OVERRIDE)) return;
  fail("EACCES", `${path} has mode ${mode} and is root's`);
}

/** What the kernel's own tests use, where the host's IOMMU was made for them. */
function selftestGround({ description, context, iommus }: HostGround): SelftestGround | undefined {
  if (!description.iommu.nesting || !context.release.has("selftestCommand")) return undefined;
  const { selftest } = iommus();
  const unit = unitOf(description.iommu, context.release);
  if (!selftest || !unit) return undefined;
  const firstGroup = Math.max(-1, ...description.groups.map(({ id }) => id)) + 1;
  return new SelftestGround(selftest, unit, firstGroup);
}
