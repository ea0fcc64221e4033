import { MemoryRegion } from "../../devices/memory-region.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import type { PciContext } from "./pci-context.ts";

const VGA_CLASS = 0x0300;
export const VGA_REGION_SIZE = 0xc_0000;

/** Legacy addresses that VGA devices answer at (vfio_pci_rdwr.c:vfio_pci_vga_rw): first, and first behind. */
const WINDOWS = [
  { start: 0xa_0000, end: 0xc_0000 },
  { start: 0x3b0, end: 0x3bc },
  { start: 0x3c0, end: 0x3e0 },
] as const;

/** Whether a device has the VGA region (vdev->has_vga). */
export function hasVga({ class: code }: { readonly class: number }, { vga }: PciContext): boolean {
  return vga && code >>> 8 === VGA_CLASS;
}

/** Why it has none, for who asks. */
export function noVgaReason(name: string, { class: code }: { readonly class: number }): string {
  return code >>> 8 === VGA_CLASS
    ? `${name} is a VGA device, but this vfio-pci serves no VGA access (CONFIG_VFIO_PCI_VGA, disable_vga)`
    : `${name} is no VGA device`;
}

/** What is at the legacy VGA addresses of a device: plain memory. Memory and I/O decoding do not matter there. */
export class VgaRegion {
  readonly #memory = new MemoryRegion();

  /** read() and write(): an access is cut at the end of its window. EINVAL outside of all. */
  access(task: Task, address: Word, count: number, at: number, write: boolean): number {
    const window = WINDOWS.find(({ start, end }) => at >= start && at < end);
    if (!window) fail("EINVAL", `nothing of VGA is at ${hex(at)}: a0000-bffff, 3b0-3bb and 3c0-3df can be accessed`);
    const length = Math.min(count, window.end - at);
    const bytes = new Uint8Array(length);
    if (write) {
      task.memory.copyIn(address, bytes, length);
      this.#memory.writeBytes(at, bytes);
    } else {
      this.#memory.readBytes(at, bytes);
      task.memory.copyOut(address, bytes, length);
    }
    return length;
  }
}
