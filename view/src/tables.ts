import { sizeText } from "../../src/inspect/picture/fold.ts";
import type { PictureState, SpaceState } from "../../src/inspect/picture/state.ts";
import { byId, make } from "./dom.ts";
import type { Marked } from "./lane-drawing.ts";
import { nameOf, spaceName } from "./words.ts";

/** Of many mappings so many are listed. */
const ROWS_MAX = 400;

/** The same facts as the lanes have, as tables: for who does not see them. */
export function showTables(
  state: PictureState,
  marked: { readonly space: string; readonly what: Marked } | undefined,
): void {
  const tables = [...state.spaces.values()].map((space) =>
    table(space, marked?.space === space.id ? marked.what : undefined),
  );
  byId("tables").replaceChildren(
    ...(tables.length > 0 ? tables : [make("p", { class: "dim" }, "There is no address space yet.")]),
  );
}

interface Line {
  readonly start: bigint;
  readonly last: bigint;
  readonly what: string;
}

function table(space: SpaceState, marked: Marked | undefined): HTMLElement {
  const { facts, mapped } = space;
  const rights = { rw: "mapped", r: "mapped for reading", w: "mapped for writing", "": "mapped for nothing" };
  const lines: Line[] = [
    ...mapped.within(0n, (1n << 64n) - 1n, ROWS_MAX).map(({ start, last, rw }) => ({ start, last, what: rights[rw] })),
    ...facts.taken.map((range) => ({
      start: BigInt(range.first),
      last: BigInt(range.last),
      what: `cannot be mapped: ${nameOf(range)}`,
    })),
    ...facts.valid.map(([first, last]) => ({ start: BigInt(first), last: BigInt(last), what: "can be mapped" })),
    ...(marked?.asked ? [{ ...marked.asked, what: marked.text }] : []),
  ];
  lines.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : a.last > b.last ? -1 : 1));
  const rows = lines.map(({ start, last, what }) =>
    make(
      "tr",
      {},
      make("td", { class: "mono" }, `0x${start.toString(16)}`),
      make("td", { class: "mono" }, `0x${last.toString(16)}`),
      make("td", {}, sizeText(last - start + 1n)),
      make("td", {}, what),
    ),
  );
  const more = mapped.size > ROWS_MAX ? `, the first ${ROWS_MAX} of ${mapped.size} mappings` : "";
  const head = ["first", "last", "size", "what"].map((text) => make("th", { scope: "col" }, text));
  return make(
    "table",
    {},
    make("caption", {}, `${spaceName(space)}${more}`),
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...rows),
  );
}
