import type { TableMemory } from "./table-memory.ts";

const PAGE = 4096;

/** Physical memory of the host: zeros until written, every address reachable. The host's own tables lie in it. */
export class HostMemory implements TableMemory {
  readonly #pages = new Map<bigint, Uint8Array>();
  #nextFree = 0x10_0000n;

  /** A page of zeros that nobody else has; its address. */
  allocatePage(): bigint {
    const page = this.#nextFree;
    this.#nextFree += BigInt(PAGE);
    return page;
  }

  /** The page can be forgotten; its address is not given out again, so that a stale pointer finds zeros. */
  freePage(address: bigint): void {
    this.#pages.delete(address >> 12n);
  }

  /** How many pages hold anything: for leak checks. */
  get residentPages(): number {
    return this.#pages.size;
  }

  load(address: bigint): bigint {
    const bytes = new Uint8Array(8);
    this.read(address, bytes);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  store(address: bigint, value: bigint): boolean {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    this.write(address, bytes);
    return true;
  }

  read(address: bigint, into: Uint8Array): void {
    this.#each(address, into.length, (page, offset, done, count) => {
      const bytes = this.#pages.get(page);
      if (bytes) into.set(bytes.subarray(offset, offset + count), done);
      else into.fill(0, done, done + count);
    });
  }

  write(address: bigint, from: Uint8Array): void {
    this.#each(address, from.length, (page, offset, done, count) => {
      let bytes = this.#pages.get(page);
      if (!bytes) {
        bytes = new Uint8Array(PAGE);
        this.#pages.set(page, bytes);
      }
      bytes.set(from.subarray(done, done + count), offset);
    });
  }

  #each(
    address: bigint,
    length: number,
    each: (page: bigint, offset: number, done: number, count: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const at = address + BigInt(done);
      const offset = Number(at & 0xfffn);
      const count = Math.min(length - done, PAGE - offset);
      each(at >> 12n, offset, done, count);
      done += count;
    }
  }
}
