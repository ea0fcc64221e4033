import fs from "node:fs";
import { expect, test } from "vitest";
import { memoryMap, ParsedMap } from "../../src/interpose/memory-map.ts";

/** Mappings of this process, as its own file says. */
const lines = fs
  .readFileSync("/proc/self/maps", "utf8")
  .trimEnd()
  .split("\n")
  .filter((line) => !/heap|stack|vvar|vsyscall/.test(line) && line.includes("/"))
  .slice(0, 40);

test.each(["parsed", "asked for"])("mappings are found by any address inside, %s", (how) => {
  const fd = fs.openSync("/proc/self/maps", "r");
  const map = how === "parsed" ? new ParsedMap(fd) : memoryMap(fd);
  expect(lines.length).toBeGreaterThan(3);
  for (const line of lines) {
    const [range, protection, , device, inode] = line.split(/\s+/);
    const [start, end] = range!.split("-").map((text) => Number.parseInt(text, 16));
    const [major, minor] = device!.split(":").map((text) => Number.parseInt(text, 16));
    const expected = {
      end,
      readable: protection![0] === "r",
      writable: protection![1] === "w",
      inode: Number(inode),
      deviceMajor: major,
      deviceMinor: minor,
    };
    for (const address of [start!, start! + 4096, end! - 1]) {
      if (address < end!) expect(map.find(address)).toMatchObject(expected);
    }
  }
  expect(map.find(0)).toBeUndefined();
  fs.closeSync(fd);
});
