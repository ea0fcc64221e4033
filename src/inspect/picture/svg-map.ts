import { edgesOf, type MapPiece, type MapRow, mapFold } from "./address-map.ts";
import { sizeText } from "./fold.ts";

const WIDTH = 920;
const LEFT = 184;
const RIGHT = WIDTH - 20;
const ROW = 54;
const BAR = 26;
const TOP = 56;
/** Pixels that the smallest stretch has. */
const LEAST = 20;
/** Pixels of a letter in a label, and of one of an address. */
const LETTER = 5.8;
const ADDRESS_LETTER = 6.1;
const ADDRESS_GAP = 8;

/**
 * Draws rows below each other as an SVG that needs nothing else, in light and dark.
 * @param label for who does not see it
 */
export function svgMap(rows: readonly MapRow[], label: string): string {
  const places = placesOf(rows);
  const height = TOP + ROW * rows.length + 34;
  const body = rows.map((row, index) => drawRow(row, TOP + ROW * index, places));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img"
  aria-label="${escaped(label)}">
<style>
  svg { --ink: #1f2328; --dim: #59636e; --line: #d1d9e0; --valid: #dbe7f3; --taken: #c3cad2; --ram: #6aa5e0; --collision: #d55e00 }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #f0f6fc; --dim: #9198a1; --line: #3d444d; --valid: #24384d; --taken: #4a545f; --ram: #2f74c0; --collision: #ff8a3d }
  }
  text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: var(--ink) }
  .title { font-weight: bold } .dim { fill: var(--dim) } .address { font-size: 10px; fill: var(--dim) } .label { font-size: 9.5px }
  .valid { fill: var(--valid) } .taken { fill: var(--taken) } .ram { fill: var(--ram) } .collision { fill: var(--collision) }
  line { stroke: var(--line) } .hatch { stroke: var(--dim); stroke-width: 1 }
</style>
<defs><pattern id="taken" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" class="taken"/><line y2="6" class="hatch"/></pattern></defs>
${addresses(rows, places, height - 30)}
${body.join("\n")}
<text x="${LEFT}" y="${height - 10}" class="dim">${legend(rows)}</text>
</svg>
`;
}

/** Where each edge is: as the fold has it, with room for the smallest stretch. */
function placesOf(rows: readonly MapRow[]): ReadonlyMap<bigint, number> {
  const fold = mapFold(rows);
  const edges = edgesOf(rows);
  const [first, end] = [fold.place(edges[0]!), fold.place(edges.at(-1)!)];
  const room = RIGHT - LEFT - LEAST * (edges.length - 1);
  return new Map(
    edges.map((edge, index) => [
      edge,
      Math.round(LEFT + LEAST * index + (room * (fold.place(edge) - first)) / (end - first || 1)),
    ]),
  );
}

/** The edges of the first row, as lines through all rows; an address that has no room is left out. */
function addresses(rows: readonly MapRow[], places: ReadonlyMap<bigint, number>, bottom: number): string {
  const ends = [0, 0];
  return edgesOf(rows.slice(0, 1))
    .map((address) => {
      const x = places.get(address)!;
      const text = address === 1n << 64n ? "2^64" : `0x${address.toString(16)}`;
      const width = text.length * ADDRESS_LETTER;
      const left = Math.min(Math.max(LEFT, x - width / 2), RIGHT - width);
      const row = ends.findIndex((taken) => left >= taken);
      const line = `<line x1="${x}" y1="${row < 0 ? TOP - 10 : TOP - 25 + row * 14}" x2="${x}" y2="${bottom}"/>`;
      if (row < 0) return line;
      ends[row] = left + width + ADDRESS_GAP;
      return `${line}<text x="${left.toFixed(1)}" y="${TOP - 28 + row * 14}" class="address">${text}</text>`;
    })
    .join("\n");
}

function drawRow({ title, note, pieces }: MapRow, y: number, places: ReadonlyMap<bigint, number>): string {
  const shapes = pieces.map((piece) => {
    const x = places.get(piece.start)!;
    const width = places.get(piece.last + 1n)! - x;
    const fill = piece.kind === "taken" ? ' fill="url(#taken)"' : ` class="${piece.kind}"`;
    return `<rect x="${x}" y="${y}" width="${width}" height="${BAR}"${fill}><title>${escaped(pieceTitle(piece))}</title></rect>`;
  });
  const labels = pieces.flatMap(({ start, last, text }) => {
    const x = places.get(start)!;
    const width = places.get(last + 1n)! - x;
    if (text === undefined || width < text.length * LETTER + 6) return [];
    return `<text x="${(x + width / 2).toFixed(1)}" y="${y + BAR / 2 + 4}" text-anchor="middle" class="label">${escaped(text)}</text>`;
  });
  return `<text x="8" y="${y + 11}" class="title">${escaped(title)}</text><text x="8" y="${y + 26}" class="dim">${escaped(note)}</text>\n${[...shapes, ...labels].join("\n")}`;
}

function pieceTitle({ start, last, kind, text, about }: MapPiece): string {
  const what = [text ?? kind, about].filter((each) => each !== undefined).join(", ");
  return `${what}: 0x${start.toString(16)}-0x${last.toString(16)}, ${sizeText(last - start + 1n)}`;
}

function legend(rows: readonly MapRow[]): string {
  const kinds = new Set(rows.flatMap(({ pieces }) => pieces.map(({ kind }) => kind)));
  const parts = ["Not to scale.", "Pale: can be mapped.", "Hatched: cannot."];
  if (kinds.has("ram")) parts.push("Blue: guest memory.");
  if (kinds.has("collision")) parts.push("Orange: MAP_DMA fails here.");
  return parts.join(" ");
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
