import { edgesOf, type MapPiece, type MapRow, mapFold, type PieceKind } from "./address-map.ts";
import { sizeText } from "./fold.ts";

const COLUMNS = 80;
const INDENT = "  ";
const SIGNS: Readonly<Record<PieceKind, string>> = { valid: "-", taken: "#", ram: "=", collision: "X" };
const NAMES: Readonly<Record<PieceKind, string>> = {
  valid: "can be mapped",
  taken: "cannot",
  ram: "guest memory",
  collision: "guest memory that cannot be mapped",
};
/** Edges have letters; a map with more of them has none for the rest. */
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** Draws rows below each other in 80 columns, with a list of what they consist of. */
export function textMap(rows: readonly MapRow[]): string[] {
  const width = COLUMNS - INDENT.length;
  const fold = mapFold(rows);
  const edges = edgesOf(rows);
  const columns = edgeColumns(edges, (address) => fold.place(address), width);
  const letters = Array.from({ length: width }, () => " ");
  for (const [index, edge] of edges.entries()) letters[Math.min(width - 1, columns.get(edge)!)] = LETTERS[index] ?? "*";
  const lines: string[] = [];
  for (const { title, note, pieces } of rows) {
    lines.push(`${title}: ${note}`, INDENT + bar(pieces, columns, width));
  }
  lines.push(INDENT + letters.join("").trimEnd());
  const letterOf = (edge: bigint) => LETTERS[edges.indexOf(edge)] ?? "*";
  for (const { title, pieces } of rows) {
    if (rows.length > 1) lines.push("", `${title}`);
    for (const piece of [...pieces].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0)))
      lines.push(INDENT + pieceLine(piece, letterOf));
  }
  const kinds = [...new Set(rows.flatMap(({ pieces }) => pieces.map(({ kind }) => kind)))];
  lines.push("", `${kinds.map((kind) => `${SIGNS[kind]} ${NAMES[kind]}`).join("   ")}. Not to scale.`);
  return lines;
}

/** The column of each edge: a stretch between two has one at least. */
function edgeColumns(edges: readonly bigint[], place: (address: bigint) => number, width: number): Map<bigint, number> {
  const columns = new Map<bigint, number>();
  const count = edges.length;
  let least = 0;
  for (const [index, edge] of edges.entries()) {
    const most = Math.max(least, width - (count - 1 - index));
    const column = Math.min(most, Math.max(least, Math.round(place(edge) * width)));
    columns.set(edge, column);
    least = Math.min(width, column + 1);
  }
  return columns;
}

function bar(pieces: readonly MapPiece[], columns: ReadonlyMap<bigint, number>, width: number): string {
  const cells = Array.from({ length: width }, () => " ");
  for (const { start, last, kind } of pieces) cells.fill(SIGNS[kind], columns.get(start)!, columns.get(last + 1n)!);
  for (const { start, last, kind, text } of pieces) {
    const from = columns.get(start)!;
    let to = from;
    // as far as nothing lies over it
    while (to < columns.get(last + 1n)! && cells[to] === SIGNS[kind]) to++;
    if (text === undefined || text.length + 4 > to - from) continue;
    const at = from + Math.floor((to - from - text.length - 2) / 2);
    for (const [index, character] of [...` ${text} `].entries()) cells[at + index] = character;
  }
  return cells.join("").trimEnd();
}

function pieceLine({ start, last, kind, text, about }: MapPiece, letterOf: (edge: bigint) => string): string {
  const where = `0x${start.toString(16)} - 0x${last.toString(16)}`;
  const what = [text, about ?? NAMES[kind]].filter((each) => each !== undefined).join(", ");
  const size = sizeText(last - start + 1n);
  return `${letterOf(start)}${letterOf(last + 1n)} ${SIGNS[kind]} ${where}  ${size}  ${what}`;
}
