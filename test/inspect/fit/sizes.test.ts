import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseSize, roughSize, sizeText } from "../../../src/inspect/fit/sizes.ts";

describe("sizes", () => {
  test.each([
    ["64G", 64n << 30n],
    ["1T", 1n << 40n],
    ["1010GiB", 1010n << 30n],
    ["512 MiB", 512n << 20n],
    ["1.5t", 3n << 39n],
    ["0x40000000", 1n << 30n],
    ["4096", 4096n],
    ["4096B", 4096n],
    ["10kb", 10240n],
  ])("%s", (text, bytes) => {
    expect(parseSize(text, "--memory")).toBe(bytes);
  });

  test.each([
    ["", /not a size: ""/],
    ["G", /not a size/],
    ["-1G", /not a size/],
    ["1G1", /not a size/],
    ["0.3B", /not a size/],
    ["1e9", /not a size/],
    ["0", /0 bytes/],
    ["0x0", /0 bytes/],
    ["16E", /more than 64 bits/],
    ["0x10000000000000000", /more than 64 bits/],
    ["999999999999999999999999T", /more than 64 bits/],
  ])("%j is none, in one line", (text, message) => {
    expect(() => parseSize(text, "--memory")).toThrow(message);
    expect(() => parseSize(text, "--memory")).toThrow(/^--memory: [^\n]*$/);
  });

  test("are printed so that they can be read again, exactly", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: (1n << 64n) - 1n }), (bytes) => {
        const text = sizeText(bytes);
        expect(parseSize(text.replace(" bytes", ""), "size")).toBe(bytes);
      }),
    );
    expect([1010n << 30n, 3n << 39n, 256n << 10n, 1n << 40n, 4097n].map(sizeText)).toEqual([
      "1010 GiB",
      "1.5 TiB",
      "256 KiB",
      "1 TiB",
      "4097 bytes",
    ]);
  });

  test("are rounded where the exact number would be long", () => {
    expect(roughSize((508n << 30n) - 4096n)).toBe("~507.9 GiB");
    expect(roughSize(4078n << 20n)).toBe("4078 MiB");
  });
});
