import { fail, hex } from "../../kernel/errors.ts";
import { FileDescription, type MmapRequest } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import type { RequestDialect } from "../../uapi/requests/dialect.ts";
import { DEVICE_DIALECT } from "../../uapi/requests/dialects.ts";
import { VFIO_DEVICE_FEATURE } from "../../uapi/vfio-feature.ts";
import { commonRequest } from "../pci/common-requests.ts";
import { refuseFeature } from "../pci/feature.ts";
import type { OpenDevice } from "../pci/open-device.ts";
import { accessRegion } from "../pci/region-access.ts";
import type { GroupMemory } from "./group-memory.ts";

/**
 * An open mediated device. It is a PCI function to its user, served as vfio-pci serves one; the requests are those that
 * the drivers of mediated devices have (samples/vfio-mdev/mtty.c:mtty_ioctl, i915/gvt/kvmgt.c:intel_vgpu_ioctl).
 */
export class MediatedDeviceFile extends FileDescription {
  override readonly kind = "device";
  override readonly label: string;
  readonly #device: OpenDevice;
  readonly #memory: GroupMemory;
  readonly #released: () => void;

  constructor(device: OpenDevice, memory: GroupMemory, released: () => void) {
    super();
    this.label = `device ${device.target.name}`;
    this.#device = device;
    this.#memory = memory;
    this.#released = released;
  }

  override get dialect(): RequestDialect {
    return DEVICE_DIALECT;
  }

  override ioctl(task: Task, request: number, arg: Word): number {
    return this.#memory.during(task, () => this.#request(task, request, arg));
  }

  override read(task: Task, address: Word, count: number, offset: Word): number {
    return this.#memory.during(task, () => accessRegion(this.#device, task, address, count, offset, false));
  }

  override write(task: Task, address: Word, count: number, offset: Word): number {
    return this.#memory.during(task, () => accessRegion(this.#device, task, address, count, offset, true));
  }

  override mmap(_task: Task, _request: MmapRequest): void {
    fail("EINVAL", `no region of ${this.#device.target.name} can be mapped (GET_REGION_INFO has no flag MMAP)`);
  }

  override release(): void {
    this.#released();
  }

  #request(task: Task, request: number, arg: Word): number {
    if (request === VFIO_DEVICE_FEATURE && this.#device.context.release.has("deviceFeatureOfAll"))
      return refuseFeature(this.#device, task, arg);
    const answer = commonRequest(this.#device, task, request, arg);
    if (answer !== undefined) return answer;
    fail("ENOTTY", `${this.label} knows no request ${hex(request)}`);
  }
}
