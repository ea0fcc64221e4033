import { expect, test } from "vitest";
import { FILES, textOf } from "./sources.ts";

/** As code is held to it by the formatter, which leaves comments alone. */
const COLUMNS = 120;

test(`lines of comments have at most ${COLUMNS} columns`, () => {
  const long = FILES.flatMap((file) =>
    textOf(file)
      .split("\n")
      .map((line, i) => ({ line, place: `${file}:${i + 1}` }))
      .filter(({ line }) => line.length > COLUMNS && /^\s*(?:\/\/|\/?\*(?:[\s*/]|$))/.test(line)),
  );
  expect(long).toEqual([]);
});
