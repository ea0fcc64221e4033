import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  array,
  type FieldType,
  flexible,
  overlay,
  roundUp,
  s32,
  struct,
  u8,
  u16,
  u32,
  u64,
  union,
} from "../../src/uapi/layout.ts";
import { StructView } from "../../src/uapi/struct-view.ts";

/** A field type with a generator of its values. */
interface Sample {
  type: FieldType<unknown>;
  value: fc.Arbitrary<unknown>;
}

const scalars: Sample[] = [
  { type: u8, value: fc.integer({ min: 0, max: 0xff }) },
  { type: u16, value: fc.integer({ min: 0, max: 0xffff }) },
  { type: u32, value: fc.integer({ min: 0, max: 0xffff_ffff }) },
  { type: s32, value: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }) },
  { type: u64, value: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }) },
];

const samples = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...scalars) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...scalars), fc.integer({ min: 1, max: 5 }))
      .map(([{ type, value }, count]) => ({
        type: array(type, count) as FieldType<unknown>,
        value: fc.array(value, { minLength: count, maxLength: count }) as fc.Arbitrary<unknown>,
      })),
  },
);

const structures = fc.array(samples, { minLength: 1, maxLength: 12 }).chain((fields) => {
  const layout = struct("random", Object.fromEntries(fields.map(({ type }, i) => [`f${i}`, type])));
  return fc.record({
    layout: fc.constant(layout),
    value: fc
      .tuple(...fields.map(({ value }) => value))
      .map((all) => Object.fromEntries(all.map((v, i) => [`f${i}`, v]))),
  });
});

describe("the layout language", () => {
  it("places fields as the System V ABI does: aligned, in order, without overlap, as tight as that allows", () => {
    fc.assert(
      fc.property(structures, ({ layout }) => {
        let end = 0;
        for (const [name, type] of Object.entries(layout.fields)) {
          expect(layout.offsets[name]).toBe(roundUp(end, type.align));
          end = layout.endOf(name);
        }
        expect(layout.align).toBe(Math.max(...Object.values(layout.fields).map((type) => type.align)));
        expect(layout.size).toBe(roundUp(end, layout.align));
      }),
    );
  });

  it("decodes what it encoded", () => {
    fc.assert(
      fc.property(structures, ({ layout, value }) => {
        expect(layout.decode(layout.encode(value))).toEqual(value);
      }),
    );
  });

  it("decodes every byte pattern, and encodes it back except for padding", () => {
    fc.assert(
      fc.property(structures, fc.infiniteStream(fc.integer({ min: 0, max: 255 })), ({ layout }, stream) => {
        const bytes = Uint8Array.from({ length: layout.size }, () => stream.next().value);
        const again = layout.encode(layout.decode(bytes));
        for (const name of Object.keys(layout.fields)) {
          const [from, to] = [layout.offsets[name]!, layout.endOf(name)];
          expect(again.subarray(from, to)).toEqual(bytes.subarray(from, to));
        }
      }),
    );
  });

  it("leaves fields alone that are not written", () => {
    fc.assert(
      fc.property(structures, fc.nat(), ({ layout, value }, pick) => {
        const names = Object.keys(layout.fields);
        const name = names[pick % names.length]!;
        const bytes = new Uint8Array(layout.size).fill(0xa5);
        layout.write(new StructView(bytes, true), 0, { [name]: value[name] });
        bytes.fill(0xa5, layout.offsets[name], layout.endOf(name));
        expect(bytes.every((byte) => byte === 0xa5)).toBe(true);
      }),
    );
  });

  it("refuses to decode from too few bytes", () => {
    fc.assert(
      fc.property(structures, ({ layout }) => {
        const last = Math.max(...Object.keys(layout.fields).map((name) => layout.endOf(name)));
        expect(() => layout.decode(new Uint8Array(last - 1))).toThrow(RangeError);
      }),
    );
  });

  it("reads through a view of a larger buffer", () => {
    const pair = struct("pair", { a: u32, b: u32 });
    const buffer = Uint8Array.of(9, 9, 9, 9, 1, 0, 0, 0, 2, 0, 0, 0);
    expect(pair.decode(buffer.subarray(4))).toEqual({ a: 1, b: 2 });
  });

  it("gives a flexible array its alignment, but no bytes", () => {
    const list = struct("list", { count: u32, items: flexible(u64) });
    expect(list.offsets.items).toBe(8);
    expect(list.size).toBe(8);
    expect(list.encode({ count: 1 }, 16)).toHaveLength(24);
  });

  it("nests structures", () => {
    const inner = struct("inner", { a: u8, b: u64 });
    const outer = struct("outer", { flag: u8, inner });
    expect(outer.offsets.inner).toBe(8);
    expect(outer.size).toBe(24);
    expect(outer.decode(outer.encode({ flag: 1, inner: { a: 2, b: 3n } }))).toEqual({
      flag: 1,
      inner: { a: 2, b: 3n },
    });
  });

  it("lays a member of an anonymous union over another, and goes on behind the longer one", () => {
    const either = struct("either", { tag: u32, word: u32, wide: overlay("word", array(u32, 3)), end: u8 });
    expect(either.offsets).toEqual({ tag: 0, word: 4, wide: 4, end: 16 });
    expect(either.decode(either.encode({ wide: [7, 8, 9] }))).toMatchObject({ word: 7, wide: [7, 8, 9] });
  });

  it("refuses an overlay over nothing, or where it would be misaligned", () => {
    expect(() => struct("bad", { a: overlay("b", u32) })).toThrow("bad.a lies over b");
    expect(() => struct("bad", { x: u32, a: u32, b: overlay("a", u64) })).toThrow("misaligned");
  });

  it("puts all fields of a union at its start", () => {
    const number = union("number", { byte: u8, wide: u64 });
    expect(number.size).toBe(8);
    expect(number.spelling).toBe("union number");
    expect(number.decode(number.encode({ wide: 0x1ffn }))).toEqual({ byte: 0xff, wide: 0x1ffn });
  });
});
