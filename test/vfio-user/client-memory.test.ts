import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ClientMemory } from "../../src/device-server/client-memory.ts";
import { RegionFiles } from "../../src/device-server/region-files.ts";
import { newMemory, readAt } from "../../src/vfio-user/sockets.ts";

const PAGE = 4096n;

describe("the memory of a client", () => {
  let files: RegionFiles;
  let memory: ClientMemory;
  let asked: string[];
  let isRefused: boolean;

  beforeEach(() => {
    files = new RegionFiles();
    asked = [];
    isRefused = false;
    memory = new ClientMemory(files, {
      read: (address, into) => {
        asked.push(`read ${address} ${into.length}`);
        into.fill(7);
        return !isRefused;
      },
      write: (address, from) => {
        asked.push(`write ${address} ${from.length}`);
        return !isRefused;
      },
    });
  });
  afterEach(() => memory.unmapAll());

  const region = (start: bigint, size = PAGE, more: object = {}) =>
    memory.map({ start, size, read: true, write: true, file: undefined, offset: 0, ...more });

  test("is asked for where it has no file, and only for what is mapped", () => {
    region(PAGE);
    const into = Buffer.alloc(8, 1);
    expect(memory.read(2n * PAGE - 4n, into)).toMatchObject({ iova: 2n * PAGE });
    expect(asked).toEqual([`read ${2n * PAGE - 4n} 4`]);
    expect([...into]).toEqual([7, 7, 7, 7, 0, 0, 0, 0]);
    expect(memory.write(PAGE - 4n, into)?.iova).toBe(PAGE - 4n);
    expect(asked[1]).toBe(`write ${PAGE} 4`);
    isRefused = true;
    expect(memory.read(PAGE, into)?.reason).toMatch(/the client refuses/);
  });

  test("is reached through its file, at the place that was said, and no further than it goes", () => {
    const fd = newMemory("file", 3 * 4096);
    const copy = files.add(newMemory("other", 4096));
    files.drop(copy);
    region(16n * PAGE, 4n * PAGE, { file: files.add(fd), offset: 4096 });
    expect(memory.write(16n * PAGE + 4n, Buffer.from("here"))).toBeUndefined();
    const there = Buffer.alloc(4);
    readAt(fd, there, 4100);
    expect(there.toString()).toBe("here");
    const back = Buffer.alloc(4);
    expect(memory.read(16n * PAGE + 4n, back)).toBeUndefined();
    expect(back.toString()).toBe("here");
    // the file ends before the region does
    expect(memory.read(18n * PAGE, back)?.reason).toMatch(/too short/);
    expect(asked).toEqual([]);
  });

  test("lets be read and written what may be", () => {
    region(PAGE, PAGE, { write: false });
    region(2n * PAGE, PAGE, { read: false });
    expect(memory.write(PAGE, Buffer.alloc(4))?.reason).toMatch(/lets .* not be written/);
    expect(memory.read(2n * PAGE, Buffer.alloc(4))?.reason).toMatch(/lets .* not be read/);
    expect(asked).toEqual([]);
  });

  test("has no region twice, none that is empty or runs past the end, and forgets exactly one", () => {
    region(PAGE, 2n * PAGE);
    for (const start of [0n, PAGE, 2n * PAGE]) expect(() => region(start, 2n * PAGE)).toThrow(/EEXIST/);
    expect(() => region(0n, 0n)).toThrow(/EINVAL/);
    expect(() => region(2n ** 64n - PAGE, 2n * PAGE)).toThrow(/EINVAL/);
    region(2n ** 64n - PAGE);
    region(0n);
    expect(() => memory.unmap(PAGE, PAGE)).toThrow(/ENOENT/);
    memory.unmap(PAGE, 2n * PAGE);
    expect(memory.read(PAGE, Buffer.alloc(4))?.reason).toMatch(/has mapped nothing/);
    expect(memory.read(0n, Buffer.alloc(4))).toBeUndefined();
  });

  test("says once what the device has written to", () => {
    region(0n, 16n * PAGE);
    expect(() => memory.log.report(0n, PAGE, PAGE)).toThrow(/EINVAL/);
    memory.log.start(PAGE);
    memory.log.start(PAGE);
    expect(() => memory.log.start(2n * PAGE)).toThrow(/EINVAL/);
    memory.write(3n * PAGE - 1n, Buffer.alloc(2));
    memory.read(9n * PAGE, Buffer.alloc(2));
    expect([...memory.log.report(2n * PAGE, 4n * PAGE, PAGE)]).toEqual([0b11, 0, 0, 0, 0, 0, 0, 0]);
    expect([...memory.log.report(0n, 16n * PAGE, PAGE)]).toEqual(Array(8).fill(0));
    expect(() => memory.log.report(0n, 2n ** 60n, PAGE)).toThrow(/EINVAL/);
  });
});
