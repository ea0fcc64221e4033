import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CpuVendor, LayoutRequest } from "../../src/inspect/fit/layout.ts";
import { chooseVmm } from "../../src/inspect/fit/layouts/index.ts";
import { GIB, MIB } from "../../src/inspect/fit/sizes.ts";
import { amount } from "../amount.ts";

const QEMU = "/usr/bin/qemu-system-x86_64";
const CPUS: Readonly<Record<string, CpuVendor>> = { EPYC: "amd", "Skylake-Server": "intel" };
const MACHINES = [
  "pc-q35-2.9",
  "pc-q35-5.2",
  "pc-q35-7.0",
  "pc-q35-7.1",
  "pc-q35-7.2",
  "pc-i440fx-2.4",
  "pc-i440fx-7.2",
];
const GUEST_STARTS = amount("UVFIO_QEMU_GUESTS", 3, 12);

interface Guest {
  readonly machine: string;
  readonly memory: bigint;
  readonly cpu: string;
}

/** Where QEMU says that its RAM is: `info mtree -f` of a guest that does not run. Each piece as [start, last], merged where they touch. */
function ramOf({ machine, memory, cpu }: Guest): [bigint, bigint][] {
  const size = `${memory / MIB}M`;
  const args = ["-accel", "tcg", "-M", `${machine},memory-backend=ram0`, "-cpu", `${cpu},phys-bits=48`, "-m", size];
  const backend = ["-object", `memory-backend-ram,id=ram0,size=${size},reserve=off`];
  const rest = ["-nodefaults", "-display", "none", "-S", "-monitor", "stdio"];
  const { stdout, stderr } = spawnSync(QEMU, [...args, ...backend, ...rest], {
    input: "info mtree -f\nquit\n",
    encoding: "utf8",
    timeout: 60_000,
  });
  const view = /FlatView #\d+\r?\n(?: AS [^\n]*\n)* AS "memory"[\s\S]*?(?=\r?\n\r?\n)/.exec(stdout)?.[0];
  expect(view, stderr).toBeDefined();
  const pieces = [...view!.matchAll(/^\s+([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ram\): ram0/gm)].map(
    ([, start, last]): [bigint, bigint] => [BigInt(`0x${start}`), BigInt(`0x${last}`)],
  );
  const merged: [bigint, bigint][] = [];
  for (const [start, last] of pieces) {
    const before = merged.at(-1);
    // the VGA window and the firmware's shadow lie in the first MiB, which fit takes for RAM as a whole
    if (before && (start === before[1] + 1n || start <= MIB)) before[1] = last;
    else merged.push([start, last]);
  }
  return merged;
}

function said({ machine, memory, cpu }: Guest): [bigint, bigint][] {
  const { vmm, version } = chooseVmm(machine, undefined);
  const request: LayoutRequest = {
    memory,
    maxMemory: memory,
    slots: 0,
    cpuVendor: CPUS[cpu]!,
    bars64: 0n,
    version: version!,
  };
  const ram = vmm.layout(request).ranges.filter(({ kind }) => kind === "ram");
  return ram.map(({ start, last }) => [start, last]);
}

describe.skipIf(!existsSync(QEMU))("fit's layouts of a PC (needs qemu-system-x86)", () => {
  test("are those that QEMU itself shows, of random guests", { timeout: 300_000 }, () => {
    const gibs = (least: number, most: number) => fc.integer({ min: least, max: most }).map((n) => BigInt(n) * GIB);
    const guests = fc.record({
      machine: fc.constantFrom(...MACHINES),
      // where the rules change: around 3 GiB, and around 1 TiB
      memory: fc.oneof(
        fc.integer({ min: 64, max: 6000 }).map((n) => BigInt(n) * MIB),
        gibs(6, 960),
        gibs(960, 1100),
      ),
      cpu: fc.constantFrom(...Object.keys(CPUS)),
    });
    fc.assert(
      fc.property(guests, (guest) => {
        expect(ramOf(guest)).toEqual(said(guest));
      }),
      { numRuns: GUEST_STARTS },
    );
  });
});
