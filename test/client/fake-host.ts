import { fail } from "../../src/kernel/errors.ts";
import { FileDescription, type FileKind } from "../../src/kernel/file-description.ts";
import { FileIndex } from "../../src/kernel/file-index.ts";
import type { DeviceNode, HostKernel } from "../../src/kernel/host-kernel.ts";
import type { Task } from "../../src/kernel/task.ts";
import type { Word } from "../../src/kernel/word.ts";
import { viewOf } from "../../src/uapi/layout.ts";
import { StructView } from "../../src/uapi/struct-view.ts";
import * as vfio from "../../src/uapi/vfio.ts";
import * as device from "../../src/uapi/vfio-device.ts";
import * as type1 from "../../src/uapi/vfio-type1.ts";

/** A device of the fake host. */
export interface FakeDevice {
  name: string;
  bus: "pci" | "mdev";
  group: number;
}

/** What GET_INFO answers while these groups are in the container: the whole structure with its capabilities. */
export type InfoFor = (groups: readonly number[]) => Uint8Array;

/** The smallest host that a client can talk to: enough of VFIO to see what the client sends, and none of its rules. */
export class FakeHost implements HostKernel {
  readonly files: FileIndex;
  /** Files that are open. */
  readonly opened = new Set<FileDescription>();
  /** What the client asked the container for, decoded. */
  readonly mapped: Record<string, unknown>[] = [];
  readonly unmapped: Record<string, unknown>[] = [];
  readonly dirtyFlags: number[] = [];
  /** Extensions that the container has. */
  extensions: readonly number[] = [vfio.VFIO_TYPE1_IOMMU, vfio.VFIO_TYPE1v2_IOMMU, vfio.VFIO_UNMAP_ALL];
  readonly iommuTypes: number[] = [];
  private readonly devices: readonly FakeDevice[];
  private readonly infoFor: InfoFor;

  constructor(devices: readonly FakeDevice[], infoFor: InfoFor) {
    this.devices = devices;
    this.infoFor = infoFor;
    const links = new Map<string, string>();
    for (const { name, bus, group } of devices) {
      links.set(`/sys/bus/${bus}/devices/${name}`, `../../../devices/fake/${name}`);
      links.set(`/sys/devices/fake/${name}/iommu_group`, `../../../kernel/iommu_groups/${group}`);
    }
    const groups = devices.map(({ group }) => `/sys/kernel/iommu_groups/${group}/devices`);
    const orphan = "/sys/devices/fake/0000:ff:00.0";
    links.set("/sys/bus/pci/devices/0000:ff:00.0", "../../../devices/fake/0000:ff:00.0");
    this.files = FileIndex.of({ grafts: [], directories: [...groups, orphan], files: new Map(), links });
  }

  deviceNodes(): DeviceNode[] {
    const groups = [...new Set(this.devices.map(({ group }) => group))];
    const paths = ["/dev/vfio/vfio", ...groups.map((group) => `/dev/vfio/${group}`)];
    return paths.map((path, minor) => ({ path, major: 10, minor, mode: 0o600 }));
  }

  open(_task: Task, path: string): FileDescription {
    if (!this.deviceNodes().some((node) => node.path === path)) fail("ENOENT", `this host has no ${path}`);
    const last = path.slice("/dev/vfio/".length);
    return this.add(last === "vfio" ? new FakeContainer(this, this.infoFor) : new FakeGroup(this, Number(last)));
  }

  add<T extends FakeFile>(file: T): T {
    this.opened.add(file);
    return file;
  }

  find(name: string): FakeDevice | undefined {
    return this.devices.find((device) => device.name === name);
  }
}

abstract class FakeFile extends FileDescription {
  protected readonly host: FakeHost;

  constructor(host: FakeHost) {
    super();
    this.host = host;
  }

  override release(): void {
    this.host.opened.delete(this);
  }
}

function load(task: Task, arg: Word, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  task.memory.copyIn(arg, bytes, size);
  return bytes;
}

function store(task: Task, arg: Word, bytes: Uint8Array): void {
  task.memory.copyOut(arg, bytes, bytes.length);
}

class FakeContainer extends FakeFile {
  override readonly kind: FileKind = "container";
  override readonly label = "container";
  readonly groups: number[] = [];
  private readonly infoFor: InfoFor;

  constructor(host: FakeHost, infoFor: InfoFor) {
    super(host);
    this.infoFor = infoFor;
  }

  override ioctl(task: Task, request: number, arg: Word): number {
    switch (request) {
      case vfio.VFIO_GET_API_VERSION:
        return vfio.VFIO_API_VERSION;
      case vfio.VFIO_CHECK_EXTENSION:
        return this.host.extensions.includes(Number(arg)) ? 1 : 0;
      case vfio.VFIO_SET_IOMMU:
        this.host.iommuTypes.push(Number(arg));
        return 0;
      case type1.VFIO_IOMMU_GET_INFO:
        return this.getInfo(task, arg);
      case type1.VFIO_IOMMU_MAP_DMA: {
        const map = type1.VfioIommuType1DmaMap.decode(load(task, arg, type1.VfioIommuType1DmaMap.size));
        if (map.iova === 0xfee00000n) fail("EINVAL", "iova 0xfee00000 is reserved");
        this.host.mapped.push(map);
        return 0;
      }
      case type1.VFIO_IOMMU_UNMAP_DMA: {
        const bytes = load(task, arg, type1.VfioIommuType1DmaUnmap.size);
        const unmap = type1.VfioIommuType1DmaUnmap.decode(bytes);
        this.host.unmapped.push(unmap);
        type1.VfioIommuType1DmaUnmap.write(new StructView(bytes, true), 0, { size: 0x3000n });
        store(task, arg, bytes);
        return 0;
      }
      case type1.VFIO_IOMMU_DIRTY_PAGES:
        return this.dirtyPages(task, arg);
      default:
        return super.ioctl(task, request, arg);
    }
  }

  private getInfo(task: Task, arg: Word): number {
    const { argsz } = type1.VfioIommuType1Info.decode(load(task, arg, type1.VfioIommuType1Info.size));
    const answer = this.infoFor(this.groups).slice();
    if (argsz < answer.length) type1.VfioIommuType1Info.write(new StructView(answer, true), 0, { cap_offset: 0 });
    store(task, arg, answer.subarray(0, argsz < answer.length ? type1.VfioIommuType1Info.size : answer.length));
    return 0;
  }

  private dirtyPages(task: Task, arg: Word): number {
    const { size } = type1.VfioIommuType1DirtyBitmap;
    const { argsz, flags } = type1.VfioIommuType1DirtyBitmap.decode(load(task, arg, size));
    this.host.dirtyFlags.push(flags);
    if (argsz === size) return 0;
    const bytes = load(task, arg, argsz).subarray(size);
    const { bitmap } = type1.VfioIommuType1DirtyBitmapGet.decode(bytes);
    // Pages 1 and 9.
    store(task, Number(bitmap.data), Uint8Array.of(0b10, 0b10));
    return 0;
  }
}

class FakeGroup extends FakeFile {
  override readonly kind: FileKind = "group";
  override readonly label: string;
  private readonly number: number;
  private container: FakeContainer | undefined;

  constructor(host: FakeHost, number: number) {
    super(host);
    this.number = number;
    this.label = `group ${number}`;
  }

  override ioctl(task: Task, request: number, arg: Word): number {
    switch (request) {
      case vfio.VFIO_GROUP_GET_STATUS: {
        const flags = vfio.VFIO_GROUP_FLAGS_VIABLE | (this.container ? vfio.VFIO_GROUP_FLAGS_CONTAINER_SET : 0);
        store(task, arg, vfio.VfioGroupStatus.encode({ argsz: 8, flags }));
        return 0;
      }
      case vfio.VFIO_GROUP_SET_CONTAINER: {
        const file = task.files.get(viewOf(load(task, arg, 4)).getInt32(0, true));
        if (!(file instanceof FakeContainer)) fail("EINVAL", "this is no container");
        file.groups.push(this.number);
        this.container = file;
        return 0;
      }
      case vfio.VFIO_GROUP_UNSET_CONTAINER:
        this.container?.groups.splice(this.container.groups.indexOf(this.number), 1);
        this.container = undefined;
        return 0;
      case vfio.VFIO_GROUP_GET_DEVICE_FD: {
        const name = task.memory.copyString(arg, 4096);
        if (this.host.find(name)?.group !== this.number) fail("ENODEV", `group ${this.number} has no ${name}`);
        return task.files.install(this.host.add(new FakeDeviceFile(this.host)), true);
      }
      default:
        return super.ioctl(task, request, arg);
    }
  }
}

/** A device whose region i is 0x100 bytes at i << 40; region 2 has a capability. */
class FakeDeviceFile extends FakeFile {
  override readonly kind: FileKind = "device";
  override readonly label = "device";
  readonly bytes = new Uint8Array(0x100);
  resets = 0;

  override ioctl(task: Task, request: number, arg: Word): number {
    switch (request) {
      case device.VFIO_DEVICE_GET_INFO:
        store(task, arg, device.VfioDeviceInfo.encode({ argsz: 24, flags: 3, num_regions: 9, num_irqs: 5 }));
        return 0;
      case device.VFIO_DEVICE_GET_REGION_INFO: {
        const { argsz, index } = device.VfioRegionInfo.decode(load(task, arg, device.VfioRegionInfo.size));
        if (index > 8) fail("EINVAL", `there is no region ${index}`);
        const offset = BigInt(index) << 40n;
        const withCapability = index === 2;
        const fits = argsz >= 48;
        const info = { argsz: withCapability ? 48 : 32, flags: withCapability ? 0xf : 3, index, size: 0x100n, offset };
        const bytes = device.VfioRegionInfo.encode({ ...info, cap_offset: withCapability && fits ? 32 : 0 });
        store(task, arg, bytes);
        const capability = device.VfioRegionInfoCapType.encode({
          header: { id: device.VFIO_REGION_INFO_CAP_TYPE, version: 1, next: 0 },
          type: 7,
          subtype: 8,
        });
        if (withCapability && fits) store(task, Number(arg) + 32, capability);
        return 0;
      }
      case device.VFIO_DEVICE_GET_IRQ_INFO: {
        const { index } = device.VfioIrqInfo.decode(load(task, arg, device.VfioIrqInfo.size));
        store(task, arg, device.VfioIrqInfo.encode({ argsz: 16, flags: 7, index, count: index + 1 }));
        return 0;
      }
      case device.VFIO_DEVICE_RESET:
        this.resets++;
        this.bytes.fill(0);
        return 0;
      default:
        return super.ioctl(task, request, arg);
    }
  }

  override read(task: Task, address: Word, count: number, offset: Word): number {
    const at = Number(offset) % 2 ** 40;
    const some = this.bytes.subarray(at, at + count);
    store(task, address, some);
    return some.length;
  }

  override write(task: Task, address: Word, count: number, offset: Word): number {
    this.bytes.set(load(task, address, count), Number(offset) % 2 ** 40);
    return count;
  }
}
