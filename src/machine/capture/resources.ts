import type { SourceTree } from "./source-tree.ts";

/** A line of /proc/iomem: who has reserved a range inside of another. */
interface Range {
  readonly start: bigint;
  readonly last: bigint;
  readonly name: string;
  readonly depth: number;
}

/**
 * Who has reserved memory inside of devices' BARs, beside their own drivers: a BAR that is so claimed cannot be given
 * to a guest. Others than root see zeros for addresses.
 */
export class IoMemory {
  readonly #ranges: readonly Range[];

  constructor(tree: SourceTree) {
    this.#ranges = (tree.text("proc/iomem") ?? "").split("\n").flatMap((line): Range[] => {
      const match = /^( *)([0-9a-f]+)-([0-9a-f]+) : (.+)$/.exec(line);
      if (!match) return [];
      const [, indent, start, last, name] = match;
      return [{ start: BigInt(`0x${start}`), last: BigInt(`0x${last}`), name: name!, depth: indent!.length }];
    });
    if (this.#ranges.length > 0 && this.#ranges.every(({ last }) => last === 0n))
      tree.miss("who has BARs reserved (/proc/iomem) can be read only by root (left out)");
  }

  /** The name of somebody else who has a part of the BAR that begins at `start`; undefined for nobody. */
  claimant(bdf: string, start: bigint, driver: string | undefined): string | undefined {
    if (start === 0n) return undefined;
    const at = this.#ranges.findIndex((range) => range.name === bdf && range.start === start);
    if (at < 0) return undefined;
    for (const { name, depth } of this.#ranges.slice(at + 1)) {
      if (depth <= this.#ranges[at]!.depth) return undefined;
      if (name !== driver && !name.startsWith("vfio") && name !== bdf && !isAddress(name)) return name;
    }
    return undefined;
  }
}

function isAddress(name: string): boolean {
  return /^[0-9a-f]{4,8}:[0-9a-f]{2}/.test(name);
}

/** Who has handlers on an interrupt line beside the device itself (/proc/interrupts). */
export function lineUsers(tree: SourceTree, irq: number, bdf: string, driver: string | undefined): string | undefined {
  const line = (tree.text("proc/interrupts") ?? "").split("\n").find((text) => text.trim().startsWith(`${irq}:`));
  const names = line
    ?.trim()
    .split(/\s{2,}/)
    .at(-1);
  const others = (names ?? "")
    .split(/,\s*/)
    .map((name) => name.replace(/^.*-(?:fasteoi|edge|level)\s+/, "").trim())
    .filter((name) => name !== "" && name !== driver && !name.includes(bdf));
  return line === undefined || others.length === 0 ? undefined : others.join(", ");
}
