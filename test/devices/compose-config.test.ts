import { describe, expect, test } from "vitest";
import { capabilities, extendedCapabilities } from "../../src/devices/pci/capabilities.ts";
import {
  ADVANCED_ERRORS,
  msi,
  msix,
  pciExpress,
  placedAt,
  powerManagement,
  serialNumber,
} from "../../src/devices/pci/capability-kit.ts";
import { type ConfigLayout, composeConfig } from "../../src/devices/pci/compose-config.ts";
import { writeMasks } from "../../src/devices/pci/write-mask.ts";

const IDENTITY = {
  vendor: 0x1b36,
  device: 0x10,
  class: 0x010802,
  revision: 2,
  subsystemVendor: 0x1af4,
  subsystemDevice: 1,
};
const BARS = [
  { index: 0, size: 0x4000, type: "memory64", address: 0x38_0000_0000n },
  { index: 2, size: 0x20, type: "io", address: 0x1000n },
  { index: 6, size: 0x800, type: "rom", address: 0xc000_0000n },
] as const;

function compose(layout: Partial<ConfigLayout>, identity = IDENTITY) {
  const bytes = composeConfig(identity, BARS, { interruptPin: true, capabilities: [], ...layout });
  return { bytes, view: new DataView(bytes.buffer) };
}

describe("the header", () => {
  test("has ids, class, BARs with their kinds, and what decodes them", () => {
    const { bytes, view } = compose({});
    expect(bytes).toHaveLength(256);
    expect([view.getUint16(0, true), view.getUint16(2, true)]).toEqual([0x1b36, 0x10]);
    expect(view.getUint32(8, true)).toBe(0x01080202);
    expect([0x10, 0x14, 0x18, 0x30].map((at) => view.getUint32(at, true))).toEqual([4, 0x38, 0x1001, 0xc000_0000]);
    expect(view.getUint16(4, true)).toBe(3);
    expect([view.getUint16(0x2c, true), view.getUint16(0x2e, true)]).toEqual([0x1af4, 1]);
    expect([bytes[0x3c], bytes[0x3d]]).toEqual([11, 1]);
  });

  test("without INTx and capabilities says so", () => {
    const { bytes, view } = compose({ interruptPin: false });
    expect([bytes[0x3c], bytes[0x3d], bytes[0x34], view.getUint16(6, true)]).toEqual([0, 0, 0, 0]);
  });

  test("is all that a bridge has", () => {
    const { bytes } = compose({ capabilities: [msi({ vectors: 1 })] }, { ...IDENTITY, class: 0x060400 });
    expect(bytes[0x0e]).toBe(1);
    expect(bytes.subarray(0x10).every((byte) => byte === 0)).toBe(true);
  });
});

describe("capabilities", () => {
  test("lie behind each other, or where they are put, in the order of their list", () => {
    const { bytes } = compose({
      capabilities: [
        msi({ vectors: 1 }),
        placedAt(0x80, pciExpress({ port: "endpoint", functionLevelReset: true })),
        placedAt(0x60, powerManagement({ version: 3, resetsInD3: false })),
        msix({ vectors: 65, table: { bar: 0, offset: 0x2000 }, pending: { bar: 0, offset: 0x3000 } }),
      ],
    });
    expect(capabilities(bytes).map(({ id, offset }) => [id, offset])).toEqual([
      [0x05, 0x40],
      [0x10, 0x80],
      [0x01, 0x60],
      [0x11, 0x68],
    ]);
  });

  test("say what they were told", () => {
    const { view } = compose({
      capabilities: [
        placedAt(0x40, msi({ vectors: 16, maskable: true })),
        placedAt(0x60, msix({ vectors: 65, table: { bar: 4, offset: 0x2000 }, pending: { bar: 4, offset: 0x3000 } })),
        placedAt(0x80, pciExpress({ port: "endpoint", functionLevelReset: true })),
      ],
    });
    expect(view.getUint16(0x42, true)).toBe(0x188);
    expect([0x62, 0x64, 0x68].map((at) => view.getUint16(at, true))).toEqual([64, 0x2004, 0x3004]);
    expect([view.getUint16(0x82, true), view.getUint32(0x84, true)]).toEqual([2, 0x1000_0000]);
  });

  test("have the sizes that software is kept from writing to", () => {
    const facts = [msi({ vectors: 1 }), msi({ vectors: 2, maskable: true })];
    for (const capability of facts) {
      const { bytes } = compose({ capabilities: [capability] });
      const writable = writeMasks(bytes).write;
      expect([writable[0x40], writable[0x40 + capability.size]]).toEqual([0, 0xff]);
    }
  });

  test("of PCI Express's extended space make it 4096 bytes", () => {
    const { bytes, view } = compose({ extended: [ADVANCED_ERRORS, serialNumber(0x0102_0304_a5a6_a7a8n)] });
    expect(bytes).toHaveLength(4096);
    const found = extendedCapabilities(bytes);
    expect(found.map(({ id, offset }) => [id, offset])).toEqual([
      [0x01, 0x100],
      [0x03, 0x12c],
    ]);
    expect(view.getBigUint64(0x130, true)).toBe(0x0102_0304_a5a6_a7a8n);
  });

  test.each([
    [
      "over another",
      [msi({ vectors: 1 }), placedAt(0x48, powerManagement({ version: 3, resetsInD3: true }))],
      /0x1 of/,
    ],
    [
      "beyond the end",
      [placedAt(0xf8, msix({ vectors: 1, table: { bar: 0, offset: 0 }, pending: { bar: 0, offset: 0 } }))],
      /0x11/,
    ],
    ["in the header", [placedAt(0x3c, msi({ vectors: 1 }))], /0x3c/],
  ] as const)("cannot lie %s", (_where, list, message) => {
    expect(() => compose({ capabilities: list })).toThrow(message);
  });

  test.each([0, 3, 64, 1.5])("MSI has no %s vectors", (vectors) => {
    expect(() => msi({ vectors })).toThrow(RangeError);
  });
});
