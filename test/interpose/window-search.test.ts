import { expect, test } from "vitest";
import { WINDOW_END, WINDOW_FIRST } from "../../src/interpose/descriptor-window.ts";
import { WindowSearch } from "../../src/interpose/window-search.ts";

/** A process whose window is full but for some numbers: what it is given, and how many numbers were asked about. */
function look(search: WindowSearch, free: ReadonlySet<number>): { readonly given: number | undefined; asked: number } {
  let asked = 0;
  for (const number of search.numbers()) {
    asked++;
    if (!free.has(number)) continue;
    search.found();
    return { given: number, asked };
  }
  return { given: undefined, asked };
}

const NONE: ReadonlySet<number> = new Set();
const SIZE = WINDOW_END - WINDOW_FIRST;

test("the lowest free number is given as long as there is one", () => {
  const search = new WindowSearch();
  expect(look(search, new Set([965, 970]))).toEqual({ given: 965, asked: 6 });
  expect(look(search, new Set([970]))).toEqual({ given: 970, asked: 11 });
});

test("a full window is not looked through for each file", () => {
  const search = new WindowSearch();
  expect(look(search, NONE).asked).toBe(SIZE);
  let asked = 0;
  for (let file = 0; file < 100; file++) asked += look(search, NONE).asked;
  expect(asked).toBe(400);
});

test("what becomes free is found again, wherever it is, and the lowest from then on", () => {
  for (let number = WINDOW_FIRST; number < WINDOW_END; number++) {
    const search = new WindowSearch();
    look(search, NONE);
    const free = new Set([number]);
    let given: number | undefined;
    for (let file = 0; file < SIZE / 4 && given === undefined; file++) given = look(search, free).given;
    expect(given).toBe(number);
    expect(look(search, new Set([WINDOW_FIRST, number])).given).toBe(WINDOW_FIRST);
  }
});
