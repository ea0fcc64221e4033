import { readFileSync, writeFileSync } from "node:fs";

const PAGE = 4096;
const GIB_PAGES = 2 ** 18;
/** What bench/c/sequence.c calls them. */
const MAP = 0;
const UNMAP = 1;
const UNMAP_ALL = 2;
const MAP_TCES = 3;
/** 64 GiB: above the first 4 GiB, where reserved regions are. */
const BASE = 64 * GIB_PAGES;

/** Runs of calls as programs make them, in pages of 4 KiB. */
export const SEQUENCES = {
  /** A thousand starts and ends. */
  qemu() {
    const trace = readFileSync(new URL("../traces/qemu-start.txt", import.meta.url), "utf8");
    const lines = trace.split("\n").filter((line) => /^(un)?map /.test(line));
    const start = lines.flatMap((line) => {
      const [call, iova, size] = line.split(" ");
      return [call === "map" ? MAP : UNMAP, Number(iova) / PAGE, Number(size) / PAGE];
    });
    return Array.from({ length: 1000 }, () => [...start, UNMAP_ALL, 0, 0]).flat();
  },

  dpdk: () => [...eachRun(65_535, 1, MAP), ...eachRun(65_535, 1, UNMAP)],

  spdk: () => [...eachRun(262_144, 512, MAP), ...eachRun(262_144, 512, UNMAP)],

  s390: () => [...eachRun(500_000, 1, MAP), UNMAP, BASE, 500_000],

  power: () => Array.from({ length: 2 ** 20 }, (_, i) => [MAP_TCES, 16 * i, 16]).flat(),
};

function eachRun(count, pages, kind) {
  return Array.from({ length: count }, (_, i) => [kind, BASE + i * pages, pages]).flat();
}

/** Writes a sequence where both sides read it; returns how many calls it has. */
export function writeSequence(name, path) {
  const numbers = Float64Array.from(SEQUENCES[name]());
  writeFileSync(path, new Uint8Array(numbers.buffer));
  return numbers.length / 3;
}
