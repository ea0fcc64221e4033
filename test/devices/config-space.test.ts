import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { capabilities, extendedCapabilities } from "../../src/devices/pci/capabilities.ts";
import { ConfigSpace } from "../../src/devices/pci/config-space.ts";
import type { PciDeviceDescription } from "../../src/machine/host-description.ts";
import { readBundle } from "../recordings/bundle.ts";

const devices = readBundle("intel39").host.groups.flatMap(({ devices }) => devices);
const configOf = (name: string) => (devices.find((device) => device.name === name) as PciDeviceDescription).config!;

describe("capability lists", () => {
  test("of a recorded network card", () => {
    expect(capabilities(configOf("D")).map(({ id, offset }) => [id, offset])).toEqual([
      [0x01, 0xc8],
      [0x05, 0xd0],
      [0x10, 0xe0],
      [0x11, 0xa0],
    ]);
    expect(extendedCapabilities(configOf("D")).map(({ id, offset }) => [id, offset])).toEqual([
      [1, 0x100],
      [3, 0x140],
    ]);
  });

  test("any bytes end", () => {
    fc.assert(
      fc.property(fc.constantFrom(256, 512, 4096), fc.infiniteStream(fc.nat(255)), (size, stream) => {
        const bytes = Uint8Array.from({ length: size }, () => stream.next().value);
        expect(capabilities(bytes).length).toBeLessThanOrEqual(256);
        expect(extendedCapabilities(bytes).length).toBeLessThanOrEqual(4096);
        new ConfigSpace(bytes);
      }),
      { numRuns: 50 },
    );
  });

  test.each([0x01, 0x05, 0x09, 0x10, 0x11])("capability %i may lie at the very end of 256 bytes", (id) => {
    for (let at = 0xe0; at <= 0xff; at++) {
      const bytes = new Uint8Array(256);
      bytes[0x06] = 0x10;
      bytes[0x34] = at;
      bytes[at] = id;
      if (at + 2 < bytes.length) bytes[at + 2] = 0xff;
      expect(new ConfigSpace(bytes).read(0x34, 1)).toBe(at);
    }
  });

  test.each([0x0001, 0x0003, 0x000b])("extended capability %i may lie at the very end of 4096 bytes", (id) => {
    for (let at = 0xf80; at < 0x1000; at += 4) {
      const bytes = new Uint8Array(4096);
      const view = new DataView(bytes.buffer);
      view.setUint32(0x100, (at << 20) | (1 << 16), true);
      view.setUint32(at, (1 << 16) | id, true);
      expect(new ConfigSpace(bytes).read(at, 2)).toBe(id);
    }
  });
});

describe("writing config space as software on the bus", () => {
  test.each(["A", "C", "D", "F"])(
    "%s: what is written of all ones and of zeros is what the masks allow, twice",
    (name) => {
      const space = new ConfigSpace(configOf(name));
      const write = (value: number) => {
        for (let at = 0; at < space.size; at += 4) space.write(at, 4, value);
        return space.bytes.slice();
      };
      const ones = write(0xffff_ffff);
      const zeros = write(0);
      expect(write(0xffff_ffff)).toEqual(ones);
      expect(write(0)).toEqual(zeros);
      expect(ones.slice(0, 4)).toEqual(configOf(name).slice(0, 4));
      expect(space.read(4, 2)).toBe(0);
      expect(new DataView(ones.buffer).getUint16(4, true)).toBe(0x507);
    },
  );

  test("bytes, words and dwords come to the same", () => {
    fc.assert(
      fc.property(fc.nat(1023), fc.nat(0xffff_ffff), (dword, value) => {
        const at = dword * 4;
        const one = new ConfigSpace(configOf("D"));
        const other = new ConfigSpace(configOf("D"));
        one.write(at, 4, value);
        for (let i = 0; i < 4; i++) other.write(at + i, 1, (value >>> (i * 8)) & 0xff);
        expect(other.bytes).toEqual(one.bytes);
        expect(one.read(at, 4)).toBe(one.read(at, 2) + one.read(at + 2, 2) * 0x1_0000);
      }),
    );
  });
});
