// npm run docs:picture: writes docs/valid-ranges.svg: what can be mapped on the host `amd`, and a guest's memory in it, as two versions of QEMU place
// it. All of it is what the model and `uvfio fit` answer. Needs dist/.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const HOST = "amd";
const GUESTS = [
  { memory: "1011G", vmm: "pc-q35-7.0" },
  { memory: "1011G", vmm: "pc-q35-7.1" },
];

const WIDTH = 920;
const LEFT = 184;
const RIGHT = WIDTH - 20;
const ROW = 54;
const BAR = 26;
const TOP = 56;
/** Pixels that the smallest piece has. */
const LEAST = 22;
/** Pixels of a letter in a label. */
const LETTER = 5.8;

/** The picture as text. @param library what the package exports */
export async function validRangesPicture(library) {
  const answers = await Promise.all(GUESTS.map((guest) => library.fit({ host: HOST, ...guest })));
  const [{ validRanges, request }] = answers;
  const reserved = request.host.devices.flatMap(({ group }) => group.reservedRegions);
  const rows = [
    { title: `host ${HOST}`, note: "valid IOVA ranges", pieces: hostPieces(validRanges, reserved) },
    ...answers.map((answer) => ({
      title: answer.request.layout.vmm,
      note: `${answer.memory >> 30n} GiB: ${answer.verdict.replaceAll("-", " ")}`,
      pieces: guestPieces(answer),
    })),
  ];
  return draw(rows, scaleOf(rows));
}

function hostPieces(ranges, reserved) {
  return [
    ...ranges.map((range) => ({ ...range, kind: "valid" })),
    ...reserved.map((region) => ({ ...region, kind: "hole", text: region.type })),
  ];
}

function guestPieces({ result }) {
  return result.ranges
    .filter(({ range }) => range.kind === "ram")
    .flatMap(({ range, collisions }) => [
      { ...range, kind: "ram", text: range.name },
      ...collisions.map((collision) => ({ start: collision.start, last: collision.last, kind: "collision" })),
    ]);
}

/** Where an address is: pieces between two addresses that something begins or ends at are as wide as their size has bits, so that all can be seen. */
function scaleOf(rows) {
  const edges = new Set(rows.flatMap(({ pieces }) => pieces.flatMap(({ start, last }) => [start, last + 1n])));
  const sorted = [...edges].sort((a, b) => (a < b ? -1 : 1));
  const weights = sorted.slice(1).map((edge, index) => Math.max(1, (edge - sorted[index]).toString(2).length - 20));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const room = RIGHT - LEFT - LEAST * weights.length;
  const places = new Map([[sorted[0], LEFT]]);
  let at = LEFT;
  for (const [index, weight] of weights.entries()) {
    at += LEAST + (room * weight) / total;
    places.set(sorted[index + 1], Math.round(at));
  }
  return places;
}

function draw(rows, places) {
  const height = TOP + ROW * rows.length + 34;
  const body = rows.map((row, index) => drawRow(row, TOP + ROW * index, places));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img"
  aria-label="Valid IOVA ranges of an AMD host and where two versions of QEMU put a guest's memory">
<style>
  svg { --ink: #1f2328; --dim: #59636e; --line: #d1d9e0; --valid: #aceebb; --hole: #ffcecb; --ram: #80ccff; --collision: #cf222e }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #f0f6fc; --dim: #9198a1; --line: #3d444d; --valid: #1f6f37; --hole: #7d2a2e; --ram: #1158c7; --collision: #ff7b72 }
  }
  text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: var(--ink) }
  .title { font-weight: bold } .dim { fill: var(--dim) } .address { font-size: 10px; fill: var(--dim) } .label { font-size: 9.5px }
  .valid { fill: var(--valid) } .hole { fill: var(--hole) } .ram { fill: var(--ram) } .collision { fill: var(--collision) }
  line { stroke: var(--line) }
</style>
${addresses(rows[0].pieces, places, height - 30)}
${body.join("\n")}
<text x="${LEFT}" y="${height - 10}" class="dim">Not to scale. Green: can be mapped. Pale red: reserved. Strong red: MAP_DMA fails here.</text>
</svg>
`;
}

/** The host's edges, as lines through all rows. */
function addresses(pieces, places, bottom) {
  const shown = [...new Set(pieces.flatMap(({ start, last }) => [start, last + 1n]))].sort((a, b) => (a < b ? -1 : 1));
  return shown
    .map((address, index) => {
      const x = places.get(address);
      const y = index % 2 === 0 ? TOP - 28 : TOP - 14;
      const anchor = index === 0 ? "start" : index === shown.length - 1 ? "end" : "middle";
      const text = address === 1n << 64n ? "2^64" : `0x${address.toString(16)}`;
      return `<line x1="${x}" y1="${y + 3}" x2="${x}" y2="${bottom}"/><text x="${x}" y="${y}" class="address" text-anchor="${anchor}">${text}</text>`;
    })
    .join("\n");
}

function drawRow({ title, note, pieces }, y, places) {
  const shapes = pieces.map(({ start, last, kind, text }) => {
    const x = places.get(start);
    const width = places.get(last + 1n) - x;
    const about = `<title>${text ?? kind}: 0x${start.toString(16)}-0x${last.toString(16)}</title>`;
    return `<rect x="${x}" y="${y}" width="${width}" height="${BAR}" class="${kind}">${about}</rect>`;
  });
  const labels = pieces.flatMap(({ start, last, text }) => {
    const x = places.get(start);
    const width = places.get(last + 1n) - x;
    if (text === undefined || width < text.length * LETTER) return [];
    return `<text x="${x + 5}" y="${y + BAR / 2 + 4}" class="label">${text}</text>`;
  });
  return `<text x="8" y="${y + 11}" class="title">${title}</text><text x="8" y="${y + 26}" class="dim">${note}</text>\n${[...shapes, ...labels].join("\n")}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = new URL("..", import.meta.url);
  const picture = await validRangesPicture(await import(new URL("dist/index.js", root)));
  writeFileSync(new URL("docs/valid-ranges.svg", root), picture);
  console.log("docs/valid-ranges.svg is written");
}
