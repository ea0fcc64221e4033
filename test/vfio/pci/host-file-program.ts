import { Host } from "../../../src/host/host.ts";
import { parseHost } from "../../../src/machine/parse-host.ts";
import { VFIO_DEVICE_GET_REGION_INFO, VfioRegionInfo } from "../../../src/uapi/vfio-device.ts";
import { VFIO_DEVICE_FEATURE } from "../../../src/uapi/vfio-feature.ts";
import { Program, type Result } from "../program.ts";

/** A program on a host that a test describes as a file. */
export class HostFileProgram extends Program {
  readonly warnings: readonly string[];
  readonly #buffer: number;

  constructor(yaml: string) {
    const warnings: string[] = [];
    super(new Host(parseHost(yaml, "test.yaml"), { onWarning: (message) => void warnings.push(message) }));
    this.warnings = warnings;
    this.#buffer = this.memory(65536);
  }

  /** One more group in a container. */
  join(container: Result, group: number): Result {
    const fd = this.open(`/dev/vfio/${group}`);
    const result = this.setContainer(fd, container);
    if (result !== 0) throw new Error(`group ${group}: ${result} ${this.reason}`);
    return fd;
  }

  pread(fd: Result, offset: number, length: number): Uint8Array | string {
    const file = this.task.files.get(Number(fd))!;
    const result = this.attempt(() => file.read(this.task, this.#buffer, length, offset));
    if (typeof result === "string") return result;
    const bytes = new Uint8Array(result);
    this.task.memory.copyIn(this.#buffer, bytes, result);
    return bytes;
  }

  pwrite(fd: Result, offset: number, bytes: Uint8Array): Result {
    this.task.memory.copyOut(this.#buffer, bytes, bytes.length);
    const file = this.task.files.get(Number(fd))!;
    return this.attempt(() => file.write(this.task, this.#buffer, bytes.length, offset));
  }

  mmap(fd: Result, offset: number, length: number): Result {
    const file = this.task.files.get(Number(fd))!;
    return this.attempt(() => {
      file.mmap(this.task, { offset, length, read: true, write: true, shared: true });
      return 0;
    });
  }

  /** GET_REGION_INFO's size and flags, or the errno. */
  region(fd: Result, index: number): { readonly size: bigint; readonly flags: number } | string {
    const bytes = VfioRegionInfo.encode({ argsz: VfioRegionInfo.size, index });
    const result = this.ioctlBytes(fd, VFIO_DEVICE_GET_REGION_INFO, bytes);
    if (typeof result === "string") return result;
    const { size, flags } = VfioRegionInfo.decode(bytes);
    return { size, flags };
  }

  feature(fd: Result, flags: number, data: Uint8Array): Result {
    const bytes = new Uint8Array(8 + data.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, bytes.length, true);
    view.setUint32(4, flags, true);
    bytes.set(data, 8);
    return this.ioctlBytes(fd, VFIO_DEVICE_FEATURE, bytes);
  }
}
