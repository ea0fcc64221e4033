import { closeSync } from "node:fs";
import type { MappedRange, MappingListener } from "../../../iommu/mapping-feed.ts";
import { ERRNO } from "../../../uapi/errno.ts";
import {
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_READ,
  VFIO_USER_DMA_UNMAP,
  VFIO_USER_DMA_WRITE,
} from "../../../vfio-user/commands.ts";
import * as layout from "../../../vfio-user/layouts.ts";
import type { Message } from "../../../vfio-user/message.ts";
import type { DeviceBus } from "../../device-model.ts";
import { RefusedError, type RemoteDevice } from "./remote-device.ts";
import { RemoteWrites, type SharedRange } from "./remote-writes.ts";

/** A mapping that the server knows. */
interface Told {
  readonly size: bigint;
  /** The server has its descriptor, and may write. */
  readonly isWritten: boolean;
  /** It is there no more, and the server does not know yet. */
  isOver: boolean;
}

/**
 * The memory of a program as a device elsewhere reaches it: by descriptors of what is shared already, by messages for
 * all else. A message reaches what is mapped when it comes, whatever the server was told.
 */
export class RemoteDma implements MappingListener {
  readonly #bus: DeviceBus;
  readonly #remote: RemoteDevice;
  /** What it writes by itself. */
  readonly writes: RemoteWrites;
  /** What the server was told of, by address. */
  readonly #told = new Map<bigint, Told>();
  /** What it is told when its device goes on, by address; undefined while that runs. */
  #later: Map<bigint, MappedRange> | undefined;

  constructor(bus: DeviceBus, remote: RemoteDevice) {
    this.#bus = bus;
    this.#remote = remote;
    this.writes = new RemoteWrites(remote, () => this.#written());
  }

  /** The device rests: there are servers that hear of no mapping then. */
  hold(): void {
    this.#later ??= new Map();
  }

  /** It goes on, and is told what came and went. */
  goOn(): void {
    const later = this.#later ?? new Map<bigint, MappedRange>();
    this.#later = undefined;
    for (const [iova, told] of [...this.#told]) if (told.isOver) this.#forget(iova, told);
    for (const range of later.values()) this.mapped(range);
  }

  mapped(range: MappedRange): void {
    if (this.#later) {
      this.#later.set(range.iova, range);
      return;
    }
    this.#remote.attempt(() => {
      if (this.#told.size >= this.#remote.abilities.maxDmaMaps) {
        this.#bus.report?.(`its server takes ${this.#told.size} mappings: it does not reach further ones`);
        return;
      }
      const file = range.handOver();
      try {
        const isShared = file !== undefined && this.#tell(range, file);
        if (isShared || this.#tell(range, undefined))
          this.#told.set(range.iova, { size: range.size, isWritten: isShared && range.write, isOver: false });
        else this.#bus.report?.("its server refuses DMA_MAP: it does not reach all that is mapped");
      } finally {
        if (file) closeSync(file.fd);
      }
    });
  }

  /** A server that goes on using what it must not is not kept. */
  unmapped(iova: bigint): void {
    if (this.#later?.delete(iova)) return;
    const told = this.#told.get(iova);
    if (!told) return;
    if (this.#later) told.isOver = true;
    else this.#forget(iova, told);
  }

  cleared(): void {
    this.#later?.clear();
    for (const iova of [...this.#told.keys()]) this.unmapped(iova);
  }

  #forget(iova: bigint, { size, isWritten }: Told): void {
    if (isWritten) this.writes.leave({ iova, size });
    this.#told.delete(iova);
    this.#remote.attempt(() => {
      const body = layout.DmaUnmapBody.encode({ argsz: layout.DmaUnmapBody.size, address: iova, size });
      this.#remote.ask(VFIO_USER_DMA_UNMAP, [body]);
    });
  }

  *#written(): Generator<SharedRange> {
    for (const [iova, { size, isWritten }] of this.#told) if (isWritten) yield { iova, size };
  }

  /** Answers what the server asks for. @throws PeerError */
  answer(message: Message): void {
    const { connection } = this.#remote;
    try {
      const answer = this.#access(message);
      if (typeof answer === "number") connection?.refuse(message, answer);
      else connection?.reply(message, answer);
    } finally {
      message.dispose();
    }
  }

  /** @returns what the answer consists of, or an errno */
  #access({ command, body }: Message): readonly Uint8Array[] | number {
    const { size } = layout.DmaAccessBody;
    if (body.length < size) return ERRNO.EINVAL;
    const { address, count } = layout.DmaAccessBody.decode(body);
    if (count > BigInt(layout.DEFAULT_TRANSFER)) return ERRNO.EINVAL;
    const head = body.subarray(0, size);
    const data = body.subarray(size);
    if (command === VFIO_USER_DMA_READ) {
      const bytes = Buffer.alloc(Number(count));
      return this.#bus.dmaRead(address, bytes) ? [head, bytes] : ERRNO.EFAULT;
    }
    if (command !== VFIO_USER_DMA_WRITE || BigInt(data.length) !== count) return ERRNO.EINVAL;
    return this.#bus.dmaWrite(address, data) ? [head] : ERRNO.EFAULT;
  }

  /** @returns false when the server refuses it */
  #tell(
    { iova, size, read, write }: MappedRange,
    file: { readonly fd: number; readonly offset: number } | undefined,
  ): boolean {
    const flags = (read ? layout.DMA_REGION_READ : 0) | (write ? layout.DMA_REGION_WRITE : 0);
    const body = layout.DmaMapBody.encode({
      argsz: layout.DmaMapBody.size,
      flags,
      offset: BigInt(file?.offset ?? 0),
      address: iova,
      size,
    });
    try {
      this.#remote.ask(VFIO_USER_DMA_MAP, [body], file ? [file.fd] : []);
      return true;
    } catch (error) {
      if (error instanceof RefusedError) return false;
      throw error;
    }
  }
}
