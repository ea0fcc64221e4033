import { fail, hex } from "../../kernel/errors.ts";
import {
  FileDescription,
  type MappedObject,
  type MmapRequest,
  type RegisterPage,
  type SharedMemory,
} from "../../kernel/file-description.ts";
import { finish, type RequestSteps } from "../../kernel/request-steps.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import type { RequestDialect } from "../../uapi/requests/dialect.ts";
import { DEVICE_DIALECT } from "../../uapi/requests/dialects.ts";
import {
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_ROM_REGION_INDEX,
} from "../../uapi/vfio-device.ts";
import { VFIO_DEVICE_FEATURE } from "../../uapi/vfio-feature.ts";
import {
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_PCI_HOT_RESET,
} from "../../uapi/vfio-pci.ts";
import { commonRequest } from "./common-requests.ts";
import { deviceFeature } from "./feature.ts";
import { getHotResetInfo, type HotResetSurroundings, hotReset } from "./hot-reset.ts";
import { ioeventfd } from "./ioeventfd.ts";
import { MappedRegion } from "./mapped-region.ts";
import type { OpenDevice } from "./open-device.ts";
import { isMappable, msixTable, refuseClaimed, regionOffset, splitOffset } from "./region.ts";
import { accessRegion, accessRegionInSteps } from "./region-access.ts";
import { SharedRegions } from "./shared-regions.ts";

/** An open PCI device. All files that are open for it show the same device. */
export class PciDeviceFile extends FileDescription {
  override readonly kind = "device";
  override readonly label: string;
  readonly #device: OpenDevice;
  readonly #around: HotResetSurroundings;
  readonly #released: () => void;
  #shared: SharedRegions | undefined;
  #configKnown = false;

  constructor(device: OpenDevice, around: HotResetSurroundings, released: () => void) {
    super();
    this.label = `device ${device.target.name}`;
    this.#device = device;
    this.#around = around;
    this.#released = released;
  }

  override get dialect(): RequestDialect {
    return DEVICE_DIALECT;
  }

  override get memorySize(): number {
    return regionOffset(VFIO_PCI_NUM_REGIONS);
  }

  override attachMemory(memory: SharedMemory): void {
    this.#shared = new SharedRegions(this.#device, memory);
    this.#device.shared.add(this.#shared);
  }

  override hasNewWrites(): boolean {
    return this.#shared?.hasNewWrites() ?? false;
  }

  override get registerPages(): readonly RegisterPage[] | undefined {
    return this.#shared ? this.#shared.registerPages : [];
  }

  override expectWrite(offset: number): boolean {
    return this.#shared?.expectWrite(offset) ?? false;
  }

  override isExpected(offset: number): boolean {
    return this.#shared?.isExpected(offset) ?? false;
  }

  override carryOutWrite(offset: number): void {
    this.#shared?.poll(offset);
  }

  override forgetWrites(): void {
    this.#shared?.forgetWrites();
  }

  override pollMemory(): boolean {
    return this.#device.pollShared();
  }

  override ioctl(task: Task, request: number, arg: Word): number {
    return finish(this.#serve(task, request, arg));
  }

  override ioctlInSteps(task: Task, request: number, arg: Word): number | RequestSteps {
    return this.#serve(task, request, arg);
  }

  /** Not one of the two methods above: who watches calls replaces those. */
  #serve(task: Task, request: number, arg: Word): number | RequestSteps {
    const device = this.#device;
    device.pollShared();
    try {
      const outcome = this.#request(device, task, request, arg);
      return typeof outcome === "number" ? outcome : shownAfter(device, outcome);
    } finally {
      device.showShared();
    }
  }

  override read(task: Task, address: Word, count: number, offset: Word): number {
    return accessRegion(this.#device, task, address, count, offset, false);
  }

  override write(task: Task, address: Word, count: number, offset: Word): number {
    return accessRegion(this.#device, task, address, count, offset, true);
  }

  override readInSteps(task: Task, address: Word, count: number, offset: Word): number | RequestSteps {
    return accessRegionInSteps(this.#device, task, address, count, offset, false);
  }

  override writeInSteps(task: Task, address: Word, count: number, offset: Word): number | RequestSteps {
    return accessRegionInSteps(this.#device, task, address, count, offset, true);
  }

  /** vfio_pci_core.c:vfio_pci_core_mmap */
  override mmap(_task: Task, { offset, length, shared }: MmapRequest): void {
    const { target, context } = this.#device;
    const place = splitOffset(offset);
    if (!place || place.index >= VFIO_PCI_NUM_REGIONS)
      fail("EINVAL", `${target.name} has no region at offset ${hex(offset)}`);
    if (!shared) fail("EINVAL", "registers can only be mapped with MAP_SHARED");
    const { index, at } = place;
    if (index >= VFIO_PCI_ROM_REGION_INDEX || !isMappable(target, index, context)) {
      fail("EINVAL", `region ${index} of ${target.name} cannot be mapped (GET_REGION_INFO has no flag MMAP)`);
    }
    const size = Math.ceil(target.bar(index)!.size / context.pageSize) * context.pageSize;
    if (at + length > size) {
      fail(
        "EINVAL",
        `region ${index} of ${target.name} has ${hex(size)} bytes to map; ${hex(at)} plus ${hex(length)} is beyond`,
      );
    }
    const areas = target.model.mappableAreas?.(index);
    if (areas && !areas.some((area) => at >= area.offset && at + length <= area.offset + area.size)) {
      fail(
        "EINVAL",
        `region ${index} of ${target.name} can be mapped in the parts that GET_REGION_INFO lists; ${hex(at)} plus ${hex(length)} is in none`,
      );
    }
    refuseClaimed(target, index);
    // without such memory each access of a mapping is seen (mappedObject)
    target.isMapped ||= this.#shared !== undefined;
    const table = msixTable(target);
    if (context.release.has("msixTableMappable") || table?.bar !== index) return;
    if (at + length > table.start && at < table.end) {
      fail(
        "EINVAL",
        `region ${index} of ${target.name} has its MSI-X table at ${hex(table.start)}-${hex(table.end - 1)}, which kernels before 4.16 do not let be mapped; map around it`,
      );
    }
  }

  override mappedObject({ offset }: MmapRequest): MappedObject {
    const { index, at } = splitOffset(offset)!;
    return { object: new MappedRegion(this.#device, index, this.#device.context.pageSize), offset: at };
  }

  /**
   * For recordings, which begin in the middle of a machine's life: the register at `offset` into the file holds what an
   * earlier program left there. Ignored where the device has no such register or it was written since.
   */
  adopt(offset: number, value: bigint): void {
    const place = splitOffset(offset);
    if (place) this.#device.target.model.adopt?.(place.index, place.at, value);
  }

  /**
   * The same for config space that the host's description does not have: what firmware chose, as the first read shows
   * it.
   */
  adoptConfig(offset: number, bytes: Uint8Array): void {
    const { target, config } = this.#device;
    const place = splitOffset(offset);
    if (place?.index !== VFIO_PCI_CONFIG_REGION_INDEX || target.description.config || this.#configKnown) return;
    this.#configKnown = true;
    config.adopt(place.at, bytes);
  }

  override release(): void {
    if (this.#shared) {
      this.#shared.end();
      this.#device.shared.delete(this.#shared);
    }
    if (this.#device.shared.size === 0) this.#device.target.isMapped = false;
    this.#released();
  }

  #request(device: OpenDevice, task: Task, request: number, arg: Word): number | RequestSteps {
    const { release } = device.context;
    switch (request) {
      case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
        if (release.has("hotReset")) return getHotResetInfo(device, this.#around, task, arg);
        break;
      case VFIO_DEVICE_PCI_HOT_RESET:
        if (release.has("hotReset")) return hotReset(device, this.#around, task, arg);
        break;
      case VFIO_DEVICE_IOEVENTFD:
        if (release.has("ioeventfd")) return ioeventfd(device, task, arg);
        break;
      case VFIO_DEVICE_FEATURE:
        if (release.has("deviceFeature")) return deviceFeature(device, task, arg);
        break;
    }
    const answer = commonRequest(device, task, request, arg);
    if (answer !== undefined) return answer;
    fail("ENOTTY", `${this.label} knows no request ${hex(request)} (kernel ${release.name})`);
  }
}

/** A request in steps, after which programs see what it has changed. */
function* shownAfter(device: OpenDevice, steps: RequestSteps): RequestSteps {
  try {
    return yield* steps;
  } finally {
    device.showShared();
  }
}
