import fc from "fast-check";
import { expect, it } from "vitest";
import { array, s32, struct, u8, u16, u32, u64 } from "../../src/uapi/layout.ts";

const EVERYTHING = struct("everything", {
  one: u8,
  two: u16,
  four: u32,
  signed: s32,
  many: array(u16, 3),
  eight: u64,
});

const values = fc.record({
  one: fc.nat(0xff),
  two: fc.nat(0xffff),
  four: fc.nat(0xffff_ffff),
  signed: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  many: fc.array(fc.nat(0xffff), { minLength: 3, maxLength: 3 }),
  eight: fc.bigInt(0n, 2n ** 64n - 1n),
});

it("decodes what it encodes in either byte order", () => {
  fc.assert(
    fc.property(values, fc.boolean(), (value, littleEndian) => {
      expect(EVERYTHING.decode(EVERYTHING.encode(value, 0, littleEndian), littleEndian)).toEqual(value);
    }),
  );
});

it("has the bytes of each number in the order that is asked for", () => {
  const value = { one: 1, two: 0x0203, four: 0x0405_0607, signed: -2, many: [8, 9, 10], eight: 0x0b0c_0d0e_0f10_1112n };
  const hex = (littleEndian: boolean) => Buffer.from(EVERYTHING.encode(value, 0, littleEndian)).toString("hex");
  expect(hex(false)).toBe("0100020304050607fffffffe00080009000a0000000000000b0c0d0e0f101112");
  expect(hex(true)).toBe("0100030207060504feffffff080009000a000000000000001211100f0e0d0c0b");
});
