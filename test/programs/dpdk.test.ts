import { existsSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { finished, UVFIO, uvfio } from "../cli/uvfio.ts";

const TESTPMD = "/usr/bin/dpdk-testpmd";
const DMA_DRIVER = "librte_dma_ioat.so";
const hasDriver = existsSync("/usr/lib/x86_64-linux-gnu") && findDriver();
const EAL = ["--no-huge", "-m", "128", "--iova-mode=va", "-l", "0,1", "--no-shconf"];

function findDriver(): boolean {
  return readdirSync("/usr/lib/x86_64-linux-gnu", { recursive: true, encoding: "utf8" }).some((file) =>
    file.includes("librte_dma_ioat.so"),
  );
}

describe.skipIf(!existsSync(TESTPMD))("DPDK (needs Debian's dpdk and dpdk-dev)", () => {
  test("dpdk-devbind lists the devices with their driver", () => {
    const { stdout } = uvfio("run", "-m", "lab", "--", "dpdk-devbind.py", "--status");
    expect(stdout).toMatch(/0000:01:00\.0 .*drv=vfio-pci/);
    expect(stdout).toMatch(/0000:02:00\.0 .*drv=vfio-pci/);
  });

  test.skipIf(!hasDriver)("testpmd probes the device through VFIO (needs librte-dma-ioat)", () => {
    const args = [...EAL, "-d", DMA_DRIVER, "-d", "librte_mempool_ring.so", "-a", "0000:01:00.0"];
    const run = uvfio("run", "-m", "lab", "--", "timeout", "20", TESTPMD, ...args, "--", "--total-num-mbufs=2048");
    const output = run.stdout + run.stderr;
    expect(output).toContain("EAL: Using IOMMU type 1 (Type 1)");
    expect(output).toContain("Probe PCI driver: dmadev_ioat (8086:2021) device: 0000:01:00.0");
  });

  test.skipIf(!hasDriver)(
    "its own test of DMA devices passes: 85,000 copies, bursts, fills (needs librte-dma-ioat)",
    () => {
      const args = [...EAL, "-d", DMA_DRIVER, "-d", "librte_mempool_ring.so", "-a", "0000:01:00.0", "dmadev_autotest"];
      const run = finished(process.execPath, [UVFIO, "run", "-m", "lab", "--", "dpdk-test", ...args]);
      const output = run.stdout + run.stderr;
      expect(output).toContain("### Test dmadev instance 0 [0000:01:00.0]");
      expect(output).toContain("DMA Dev 0: Running burst capacity Tests");
      expect(output).toContain("Test OK");
      expect(output).not.toContain("Test Failed");
    },
  );
});
