import type { MappedWindow } from "../iommu/virtual-iommu.ts";
import { fail } from "../kernel/errors.ts";
import { faultPoint } from "../kernel/fault-points.ts";
import type { MappedObject, MmapRequest, SharedMemory } from "../kernel/file-description.ts";
import { AnonymousMemory } from "../kernel/model-anonymous.ts";
import type { IommufdObject } from "./object-table.ts";

/** Bytes of an iommufd's file that windows may lie in. Nothing of it takes memory before somebody writes there. */
export const WINDOWS_SIZE = 2 ** 30;

interface Window {
  readonly offset: number;
  readonly length: number;
  readonly owner: IommufdObject;
  /** For programs of this process. */
  readonly object: AnonymousMemory;
}

/** Memory of drivers that a program maps through an iommufd (struct iommufd_mmap, iommufd_ctx.mt_mmap). */
export class MmapWindows {
  readonly #pageSize: number;
  /** In order of their offsets. */
  readonly #windows: Window[] = [];
  /** A transport's memory behind the file, where it has one. */
  #memory: SharedMemory | undefined;

  constructor(pageSize: number) {
    this.#pageSize = pageSize;
  }

  attachMemory(memory: SharedMemory): void {
    this.#memory = memory;
  }

  /** driver.c:_iommufd_alloc_mmap: the lowest free offset, never 0. ENOMEM. */
  add(length: number, owner: IommufdObject): MappedWindow {
    faultPoint("fail_page_alloc");
    let offset = this.#pageSize;
    let index = 0;
    for (; index < this.#windows.length; index++) {
      const next = this.#windows[index]!;
      if (offset + length <= next.offset) break;
      offset = next.offset + next.length;
    }
    if (offset + length > WINDOWS_SIZE) fail("ENOMEM", "the memory that this iommufd lets programs map is used up");
    const window = { offset, length, owner, object: new AnonymousMemory(this.#pageSize, true) };
    this.#windows.splice(index, 0, window);
    this.#memory?.write(offset, new Uint8Array(length));
    return {
      offset,
      length,
      write: (at, bytes) => {
        if (this.#memory) this.#memory.write(offset + at, bytes);
        else window.object.write(at, bytes);
      },
      release: () => void this.#windows.splice(this.#windows.indexOf(window), 1),
    };
  }

  /** main.c:iommufd_fops_mmap: a window is mapped as a whole. EINVAL, ENXIO. */
  check({ shared, offset, length }: MmapRequest): void {
    if (!shared) fail("EINVAL", "an iommufd can only be mapped with MAP_SHARED");
    if (this.#at(Number(offset), length)) return;
    fail("ENXIO", "an iommufd is mapped at an offset that a driver gave out, and with the length that it gave");
  }

  objectOf({ offset, length }: MmapRequest): MappedObject | undefined {
    const window = this.#at(Number(offset), length);
    return window && { object: window.object, offset: 0 };
  }

  /** Whether a program maps memory of an object. */
  isMapped(owner: IommufdObject): boolean {
    return this.#windows.some(
      (window) => window.owner === owner && (this.#memory?.isMapped?.(window.offset, window.length) ?? false),
    );
  }

  #at(offset: number, length: number): Window | undefined {
    return this.#windows.find((window) => window.offset === offset && window.length === length);
  }
}
