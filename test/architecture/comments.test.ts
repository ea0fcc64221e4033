import { expect, test } from "vitest";
import { FILES, textOf } from "./sources.ts";

/** As code is held to it by the formatter, which leaves comments alone. */
const COLUMNS = 120;

/** Where lines are longer for now. A path that ends with a slash means all below it. */
const NOT_YET = [
  "cli/",
  "client/",
  "devices/",
  "host/",
  "inspect/replay/",
  "interpose/",
  "kernel/host-kernel.ts",
  "machine/",
  "vfio/device.ts",
  "vfio/mediated/",
  "vfio/pci/",
  "vfio/requesters.ts",
];

const isExempt = (file: string) => NOT_YET.some((path) => (path.endsWith("/") ? file.startsWith(path) : file === path));

test(`lines of comments have at most ${COLUMNS} columns`, () => {
  const long = FILES.filter((file) => !isExempt(file)).flatMap((file) =>
    textOf(file)
      .split("\n")
      .map((line, i) => ({ line, place: `${file}:${i + 1}` }))
      .filter(({ line }) => line.length > COLUMNS && /^\s*(?:\/\/|\/?\*)/.test(line)),
  );
  expect(long).toEqual([]);
});
