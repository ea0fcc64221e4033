const NAMES = [
  "paper",
  "card",
  "ink",
  "dim",
  "line",
  "mapped",
  "free",
  "taken",
  "taken-line",
  "asked",
  "hit",
  "read",
  "write",
  "fault",
  "focus",
  "on-mapped",
] as const;

export type Colours = Readonly<Record<(typeof NAMES)[number], string>>;

/** The colours of the page now, light or dark. */
export function readColours(): Colours {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Colours;
}

/** Lines across, of a colour on a ground. */
export function hatch(context: CanvasRenderingContext2D, line: string, ground: string | undefined): CanvasPattern {
  const scale = devicePixelRatio || 1;
  const size = Math.round(7 * scale);
  const tile = document.createElement("canvas");
  tile.width = size;
  tile.height = size;
  const pen = tile.getContext("2d")!;
  if (ground !== undefined) {
    pen.fillStyle = ground;
    pen.fillRect(0, 0, size, size);
  }
  pen.strokeStyle = line;
  pen.lineWidth = 1.2 * scale;
  for (const shift of [-size, 0, size]) {
    pen.beginPath();
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
    pen.stroke();
  }
  const pattern = context.createPattern(tile, "repeat")!;
  // drawn in pixels of the screen, whatever the scale is
  pattern.setTransform(new DOMMatrix().scale(1 / scale));
  return pattern;
}
