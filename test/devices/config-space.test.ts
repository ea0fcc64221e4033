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
      fc.property(fc.uint8Array({ minLength: 4096, maxLength: 4096 }), (bytes) => {
        expect(capabilities(bytes).length).toBeLessThanOrEqual(256);
        expect(extendedCapabilities(bytes).length).toBeLessThanOrEqual(4096);
        new ConfigSpace(bytes);
      }),
      { numRuns: 50 },
    );
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
