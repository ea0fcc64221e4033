import fc from "fast-check";
import { expect, test } from "vitest";
import { bytesOfText, textOfBytes } from "../../src/uapi/byte-text.ts";

test("any bytes come back from the text that stands for them", () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: "binary", maxLength: 6 }).map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 5 }), (pieces) => {
      const bytes = Buffer.concat(pieces);
      expect(Buffer.from(bytesOfText(textOfBytes(bytes)) as string)).toEqual(bytes);
    }),
  );
});

test("what is UTF-8 is its text, with every character of the planes beyond, a byte order mark and U+FFFD", () => {
  for (const text of ["", "plain", "/tmp/\u00fc\u{1f600}\ufeff\ufffd\u0000"]) {
    expect(textOfBytes(Buffer.from(text))).toBe(text);
    expect(bytesOfText(text)).toBe(text);
  }
});

test("bytes that are none stand for themselves", () => {
  expect(textOfBytes(Buffer.from([0x78, 0xe9, 0x2e]))).toBe("x\udce9.");
  expect(textOfBytes(Buffer.from([0xed, 0xb3, 0xa9]))).toBe("\udced\udcb3\udca9");
  expect(bytesOfText("x\udce9.")).toEqual(Buffer.from([0x78, 0xe9, 0x2e]));
});
