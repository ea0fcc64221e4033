import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Pieces } from "../../../src/devices/pieces.ts";
import { ResumingFile } from "../../../src/vfio/migration/data-files.ts";
import { SavingStream } from "../../../src/vfio/migration/saving-stream.ts";
import { StreamError, StreamReader } from "../../../src/vfio/migration/stream.ts";

const SIZE = 64;
const COUNT = 8;
const STATE = { version: 3, bytes: Buffer.from("state") };
const WRITES = [{ region: 0, offset: 8, width: 4 as const, value: 0xffff_ffffn }];

function complete(stream: SavingStream): void {
  stream.complete((writer) => [writer.writes(WRITES), writer.messages([3, 40]), writer.state(STATE), writer.end()]);
}

function all(stream: SavingStream): Buffer {
  const parts: Uint8Array[] = [];
  for (let next = stream.next(); next; next = stream.next()) parts.push(next.bytes);
  return Buffer.concat(parts);
}

function whole(): Buffer {
  const pieces = new Pieces(SIZE);
  pieces.write(2).fill(7);
  const stream = new SavingStream("a thing", [pieces.saved(SIZE * COUNT)], () => {});
  complete(stream);
  return all(stream);
}

describe("a stream of a device's state", () => {
  test("has the memory as it is at the end, whatever was written while it was read, in whatever portions it comes", () => {
    const write = fc.record({ what: fc.constantFrom("write", "write", "delete", "clear"), piece: fc.nat(COUNT - 1) });
    const step = fc.record({ writes: fc.array(write, { maxLength: 3 }), reads: fc.nat(3), value: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.integer({ min: 1, max: 99 }), (steps, portion) => {
        const pieces = new Pieces(SIZE);
        for (let i = 0; i < COUNT; i += 2) pieces.write(i).fill(i + 1);
        const memory = pieces.saved(SIZE * COUNT);
        const stream = new SavingStream("a thing", [memory], () => {});
        const parts: Uint8Array[] = [];
        for (const { writes, reads, value } of steps) {
          for (const { what, piece } of writes) {
            if (what === "write") pieces.write(piece).fill(value);
            else if (what === "delete") pieces.delete(piece);
            else pieces.clear();
          }
          const { initial, dirty } = stream.remaining;
          expect(stream.hasMore).toBe(initial + dirty > 0);
          for (let i = 0; i < reads; i++) parts.push(stream.next()?.bytes ?? new Uint8Array());
        }
        complete(stream);
        const bytes = Buffer.concat([...parts, all(stream)]);
        const file = new ResumingFile("a thing", "a thing", [memory]);
        for (let at = 0; at < bytes.length; at += portion) file.reader.take(bytes.subarray(at, at + portion));
        expect(file.reader).toMatchObject({ isWhole: true, writes: WRITES, messages: [3, 40], state: STATE });
        const isZero = (piece: Uint8Array) => piece.every((byte) => byte === 0);
        const got = [...file.pieces[0]!].filter(([, piece]) => !isZero(piece)).sort(([a], [b]) => a - b);
        const there = [...pieces].filter(([, piece]) => !isZero(piece)).sort(([a], [b]) => a - b);
        expect(got.map(([number, piece]) => [number, [...piece]])).toEqual(
          there.map(([number, piece]) => [number, [...piece]]),
        );
      }),
      { numRuns: 200 },
    );
  });

  test("tells initial bytes from those that changed, and says when all is anew", () => {
    const pieces = new Pieces(SIZE);
    pieces.write(0);
    pieces.write(1);
    const stream = new SavingStream("a thing", [pieces.saved(SIZE * COUNT)], () => {});
    const record = 16 + SIZE;
    expect(stream.remaining).toEqual({ initial: 8 + 7 + 2 * record, dirty: 0 });
    for (let i = 0; i < 3; i++) expect(stream.next()?.isInitial).toBe(true);
    expect([stream.next(), stream.hasMore]).toEqual([undefined, false]);
    pieces.write(1);
    pieces.write(5);
    expect([stream.remaining, stream.isAnew]).toEqual([{ initial: 0, dirty: 2 * record }, false]);
    expect(stream.next()?.isInitial).toBe(false);
    pieces.clear();
    expect([stream.remaining, stream.isAnew]).toEqual([{ initial: 2 * record, dirty: 0 }, true]);
    stream.stop();
    pieces.write(7);
    expect(stream.remaining.dirty).toBe(0);
  });

  test("that lost or changed any of its bytes is found out", () => {
    const bytes = whole();
    const read = (given: Uint8Array) => {
      const file = new ResumingFile("a thing", "a thing", [new Pieces(SIZE).saved(SIZE * COUNT)]);
      file.reader.take(given);
      return file.reader.isWhole;
    };
    expect(read(bytes)).toBe(true);
    for (let at = 0; at < bytes.length; at++) {
      expect(read(bytes.subarray(0, at))).toBe(false);
      const changed = Buffer.from(bytes);
      changed[at]! ^= 0x10;
      let isWhole: boolean | undefined;
      try {
        isWhole = read(changed);
      } catch (error) {
        expect(error).toBeInstanceOf(StreamError);
      }
      expect(isWhole, `byte ${at}`).not.toBe(true);
    }
  });

  test("of any bytes at all ends in an error or waits for more", () => {
    const taker = { identity: "a thing", memory: () => {} };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(300), (junk, at) => {
        const bytes = Buffer.from(whole());
        bytes.set(junk.subarray(0, Math.max(0, bytes.length - at)), Math.min(at, bytes.length));
        const reader = new StreamReader(taker);
        try {
          reader.take(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(StreamError);
        }
      }),
    );
  });
});
