import type { TableMemory } from "./table-memory.ts";

const PAGE = 4096;

interface Page {
  readonly bytes: Uint8Array;
  readonly words: BigUint64Array;
}

/** Physical memory of the host: zeros until written, every address reachable. The host's own tables lie in it. */
export class HostMemory implements TableMemory {
  /** By page number. */
  readonly #pages = new Map<number, Page>();
  #nextFree = 0x10_0000n;

  /** A page of zeros that nobody else has; its address. */
  allocatePage(): bigint {
    return this.allocatePages(1);
  }

  /** Pages one after the other; the address of the first. */
  allocatePages(count: number): bigint {
    const first = this.#nextFree;
    this.#nextFree += BigInt(count * PAGE);
    return first;
  }

  /** The page is zeros again and takes no room. No address is given out twice, so that a stale pointer finds zeros. */
  freePage(address: bigint): void {
    this.#pages.delete(pageOf(address));
  }

  /** How many pages hold anything: for leak checks. */
  get residentPages(): number {
    return this.#pages.size;
  }

  load(address: bigint): bigint {
    return this.#pages.get(pageOf(address))?.words[wordOf(address)] ?? 0n;
  }

  store(address: bigint, value: bigint): boolean {
    this.#page(pageOf(address)).words[wordOf(address)] = value;
    return true;
  }

  read(page: number, within: number, into: Uint8Array): void {
    this.#each(page, within, into.length, (number, offset, done, count) => {
      const bytes = this.#pages.get(number)?.bytes;
      if (bytes) into.set(bytes.subarray(offset, offset + count), done);
      else into.fill(0, done, done + count);
    });
  }

  write(page: number, within: number, from: Uint8Array): void {
    this.#each(page, within, from.length, (number, offset, done, count) => {
      this.#page(number).bytes.set(from.subarray(done, done + count), offset);
    });
  }

  #page(number: number): Page {
    let page = this.#pages.get(number);
    if (!page) {
      const bytes = new Uint8Array(PAGE);
      page = { bytes, words: new BigUint64Array(bytes.buffer) };
      this.#pages.set(number, page);
    }
    return page;
  }

  #each(
    page: number,
    within: number,
    length: number,
    each: (number: number, offset: number, done: number, count: number) => void,
  ): void {
    let number = page;
    let offset = within;
    for (let done = 0; done < length; number++, offset = 0) {
      const count = Math.min(length - done, PAGE - offset);
      each(number, offset, done, count);
      done += count;
    }
  }
}

function pageOf(address: bigint): number {
  return Number(address >> 12n);
}

/** Tables are words of 64 bits, little-endian as the hosts that the model runs on. */
function wordOf(address: bigint): number {
  return Number(address & 0xfffn) >> 3;
}
