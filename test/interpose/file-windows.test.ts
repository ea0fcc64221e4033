import { closeSync, readSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FileWindows } from "../../src/interpose/file-windows.ts";
import { newMemory } from "../../src/vfio-user/sockets.ts";

const MIB = 2 ** 20;
let fd: number;
let windows: FileWindows;
beforeAll(() => {
  fd = newMemory("file-windows", 2 * MIB);
  windows = new FileWindows(fd);
});
afterAll(() => {
  windows.close();
  closeSync(fd);
});

function at(offset: number, length: number): number[] {
  const bytes = Buffer.alloc(length);
  readSync(fd, bytes, 0, length, offset);
  return [...bytes];
}

test.each([1, 2, 4, 8])("a word of %i bytes is replaced when it is what was expected, and left alone else", (width) => {
  const place = MIB + 64 * width;
  const old = Uint8Array.from({ length: width }, (_, i) => 0xf0 + i);
  const next = Uint8Array.from({ length: width }, (_, i) => 0x81 + i);
  windows.write(place - 8, new Uint8Array(24).fill(0x55));
  windows.write(place, old);
  expect(windows.replace(place, next, old)).toBe(false);
  expect(at(place, width)).toEqual([...old]);
  expect(windows.replace(place, old, next)).toBe(true);
  expect(at(place, width)).toEqual([...next]);
  // and nothing beside it
  expect([...at(place - 8, 8), ...at(place + width, 8)].every((byte) => byte === 0x55)).toBe(true);
});

test("what is not aligned is replaced too, and behind the end is nothing", () => {
  windows.write(5, Uint8Array.of(1, 2, 3, 4));
  expect(windows.replace(5, Uint8Array.of(1, 2, 3, 4), Uint8Array.of(4, 3, 2, 1))).toBe(true);
  expect(at(5, 4)).toEqual([4, 3, 2, 1]);
  expect(windows.replace(2 * MIB, Uint8Array.of(0), Uint8Array.of(1))).toBe(false);
});
