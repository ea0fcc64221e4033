import { describe, expect, test } from "vitest";
import { Host } from "../../../src/host/host.ts";
import { FaultSpecError, parseFault } from "../../../src/inspect/fault/fault-spec.ts";
import { FaultInjector } from "../../../src/inspect/fault/injector.ts";
import { watchKernel } from "../../../src/inspect/watch/watch-kernel.ts";
import { lab } from "../../../src/machine/hosts/lab.ts";
import { Program } from "../../vfio/program.ts";

/** A program on a host with faults, and a container for it. */
function faulty(...specs: string[]) {
  const injector = new FaultInjector(specs.map((text) => parseFault(text)));
  const host = new Host(lab, { watch: injector.model });
  watchKernel(host, [injector]);
  const program = new Program(host);
  const { container } = program.container(3);
  const memory = program.memory(0x1000);
  const map = (iova: number) => program.map(container, BigInt(iova), memory, 0x1000n);
  return { program, map, injector };
}

const MAP = "VFIO_IOMMU_MAP_DMA";

describe("faults", () => {
  test.each([
    [`${MAP}=ENOSPC`, [1, 2, 3, 4, 5, 6]],
    [`${MAP}#3=ENOMEM`, [3]],
    [`${MAP}#3-=ENOMEM`, [3, 4, 5, 6]],
    [`${MAP}#2-4=ENOMEM`, [2, 3, 4]],
    [`${MAP}#/2=ENOMEM`, [2, 4, 6]],
    [`${MAP}@0x2000-0x3fff=ENOMEM`, [2, 3]],
    [`${MAP}#2@0x2000+0x2000=ENOMEM`, [3]],
    ["VFIO_IOMMU_UNMAP_DMA=ENOMEM", []],
  ])("%s fails calls %j", (spec, failing) => {
    const { program, map } = faulty(spec);
    const failed: number[] = [];
    for (let call = 1; call <= 6; call++) {
      if (map(call * 0x1000) === 0) continue;
      failed.push(call);
      expect(program.reason).toContain(`injected by --fault ${spec}`);
    }
    expect(failed).toEqual(failing);
  });

  test("by chance are the same ones for the same seed", () => {
    const run = (seed: number) => {
      const { map } = faulty(`${MAP}#50%:${seed}=EAGAIN`);
      return Array.from({ length: 64 }, (_, i) => map((i + 1) * 0x1000));
    };
    expect(run(7)).toEqual(run(7));
    expect(run(7)).not.toEqual(run(8));
    const failed = run(7).filter((result) => result === "EAGAIN").length;
    expect(failed).toBeGreaterThan(16);
    expect(failed).toBeLessThan(48);
  });

  test("leave the model as it was: the same call works afterwards", () => {
    const { map, program } = faulty(`${MAP}#1=ENOMEM`);
    expect(map(0x1000)).toBe("ENOMEM");
    expect(program.task.memory.lockedPages).toBe(0);
    expect(map(0x1000)).toBe(0);
  });

  test("count what they met", () => {
    const { map, injector } = faulty(`${MAP}#2=ENOMEM`);
    for (const iova of [0x1000, 0x2000, 0x3000]) map(iova);
    expect(injector.faults[0]).toMatchObject({ matched: 3, injected: 1 });
  });

  test.each([
    ["VFIO_IOMMU_MAP_DMA", /no = with the failure behind it/],
    ["MAP_DMA=ENOMEM", /"MAP_DMA" is no request.*perhaps VFIO_IOMMU_MAP_DMA/],
    ["VFIO_IOMMU_MAP_DMA=ENOTHING", /"ENOTHING" is no errno/],
    ["VFIO_IOMMU_MAP_DMA=fault", /"fault" is no errno/],
    ["VFIO_IOMMU_MAP_DMA#0=ENOMEM", /"#0" does not say which calls/],
    ["VFIO_IOMMU_MAP_DMA#4-2=ENOMEM", /ends before it begins/],
    ["VFIO_IOMMU_MAP_DMA#101%=ENOMEM", /does not say which/],
    ["VFIO_IOMMU_MAP_DMA@x=ENOMEM", /no range of IOVAs/],
    ["VFIO_IOMMU_MAP_DMA@0x2000-0x1000=ENOMEM", /holds no IOVA/],
    ["VFIO_IOMMU_MAP_DMA@0xffffffffffffffff+2=ENOMEM", /beyond 64 bits/],
    ["dma:0000:00:1b.0=EIO", /write =fault/],
    ["dma:0000:99:00.0=fault", /no PCI device "0000:99:00.0" on this host; there are: 0000:00:1b.0/],
  ])("%s is refused with a cure", (text, message) => {
    expect(() => parseFault(text, ["0000:00:1b.0"])).toThrow(FaultSpecError);
    expect(() => parseFault(text, ["0000:00:1b.0"])).toThrow(message);
  });
});
