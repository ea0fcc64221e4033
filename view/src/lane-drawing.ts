import type { DmaEvent, NamedRange } from "../../src/inspect/picture/event.ts";
import { type Fold, sizeText } from "../../src/inspect/picture/fold.ts";
import type { SpaceState } from "../../src/inspect/picture/state.ts";
import { type Colours, hatch } from "./colours.ts";
import type { Seen } from "./window.ts";

const LAST = (1n << 64n) - 1n;
const FONT = '11px ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace';
/** Rows of a lane, from its top, in CSS pixels. */
export const ROWS = { labels: 26, band: 30, bandHeight: 40, dma: 84, asked: 92, height: 128 } as const;
/** The least that something is wide. */
const LEAST = 1.5;
const GAP = 10;
const TICK = 3;

/** What is drawn into a lane beside what is there. */
export interface Marked {
  readonly asked: { readonly start: bigint; readonly last: bigint } | undefined;
  readonly hit: readonly NamedRange[];
  readonly text: string;
}

/** DMA that is seen: how strongly, from 0 to 1. */
export interface SeenDma {
  readonly event: DmaEvent;
  readonly strength: number;
}

/** Draws one address space. */
export class LaneDrawing {
  readonly #context: CanvasRenderingContext2D;
  readonly #fold: Fold;
  readonly #seen: Seen;
  readonly #width: number;
  readonly #colours: Colours;

  constructor(context: CanvasRenderingContext2D, fold: Fold, seen: Seen, width: number, colours: Colours) {
    this.#context = context;
    this.#fold = fold;
    this.#seen = seen;
    this.#width = width;
    this.#colours = colours;
    context.font = FONT;
    context.textBaseline = "alphabetic";
  }

  draw({ facts, mapped }: SpaceState, marked: Marked | undefined, dma: readonly SeenDma[]): void {
    const pen = this.#context;
    const { card, free } = this.#colours;
    pen.fillStyle = card;
    pen.fillRect(0, 0, this.#width, ROWS.height);
    for (const [first, last] of facts.valid) this.#bar(BigInt(first), BigInt(last), free);
    this.#mappings(mapped);
    const ground = hatch(pen, this.#colours["taken-line"], this.#colours.taken);
    for (const { first, last } of facts.taken) this.#bar(BigInt(first), BigInt(last), ground);
    this.#sizes(mapped, marked?.hit ?? []);
    if (marked) this.#hits(marked);
    this.#names(facts.taken);
    this.#dma(dma);
    if (marked?.asked) this.#asked(marked.asked, marked.text);
    this.#addresses(facts, marked);
  }

  /** Where an address is drawn. */
  x(address: bigint): number {
    const { from, to } = this.#seen;
    return ((this.#fold.place(address) - from) / (to - from)) * this.#width;
  }

  #address(x: number): bigint {
    const { from, to } = this.#seen;
    return this.#fold.address(from + (x / this.#width) * (to - from));
  }

  #bar(start: bigint, last: bigint, fill: string | CanvasPattern, top = 0, height: number = ROWS.bandHeight): void {
    const [x, end] = [this.x(start), this.x(last + 1n)];
    if (end < 0 || x > this.#width) return;
    this.#context.fillStyle = fill;
    const from = Math.max(-2, x);
    const width = Math.max(LEAST, Math.min(this.#width + 2, end) - from);
    this.#context.fillRect(from, ROWS.band + top, width, height);
  }

  /** Pixel by pixel where there are more mappings than pixels: so that it takes as long as the lane is wide. */
  #mappings(mapped: SpaceState["mapped"]): void {
    const lastSeen = this.#address(this.#width);
    let address = this.#address(0);
    for (;;) {
      const span = mapped.meeting(address, lastSeen);
      if (!span) return;
      const half = ROWS.bandHeight / 2;
      const [top, height] = span.rw === "r" ? [half, half] : span.rw === "w" ? [0, half] : [0, ROWS.bandHeight];
      this.#bar(span.start, span.last, this.#colours.mapped, top, height);
      const next = this.#address(Math.floor(this.x(span.last + 1n)) + 1);
      address = next > span.last ? next : span.last + 1n;
      if (address > lastSeen || address > LAST) return;
    }
  }

  /** Sizes of what is mapped, where there is room. */
  #sizes(mapped: SpaceState["mapped"], hit: readonly NamedRange[]): void {
    const pen = this.#context;
    if (mapped.size > this.#width / 4) return;
    pen.fillStyle = this.#colours["on-mapped"];
    for (const { start, last, rw } of mapped.within(this.#address(0), this.#address(this.#width))) {
      // half a bar has no room for text, and what is in the way is striped
      const isHit = hit.some((each) => BigInt(each.first) <= last && BigInt(each.last) >= start);
      if (rw === "r" || rw === "w" || isHit) continue;
      this.#inside(start, last, [sizeText(last - start + 1n)], ROWS.band + 24);
    }
  }

  /** Whose the ranges are that cannot be mapped. */
  #names(taken: readonly NamedRange[]): void {
    const pen = this.#context;
    for (const { first, last, what, of } of taken) {
      const texts = [`${what} · ${of}`, what];
      pen.save();
      const [start, end] = [BigInt(first), BigInt(last)];
      const fits = this.#fitting(start, end, texts);
      if (fits) {
        const width = pen.measureText(fits.text).width;
        pen.fillStyle = this.#colours.card;
        pen.fillRect(fits.x - 4, ROWS.band + 12, width + 8, 16);
        pen.fillStyle = this.#colours.ink;
        pen.fillText(fits.text, fits.x, ROWS.band + 24);
      }
      pen.restore();
    }
  }

  #inside(start: bigint, last: bigint, texts: readonly string[], y: number): void {
    const fits = this.#fitting(start, last, texts);
    if (fits) this.#context.fillText(fits.text, fits.x, y);
  }

  /** The first text that there is room for, in the middle of what is seen of a range. */
  #fitting(start: bigint, last: bigint, texts: readonly string[]): { text: string; x: number } | undefined {
    const from = Math.max(0, this.x(start));
    const to = Math.min(this.#width, this.x(last + 1n));
    for (const text of texts) {
      const { width } = this.#context.measureText(text);
      if (width + GAP <= to - from) return { text, x: (from + to - width) / 2 };
    }
    return undefined;
  }

  #hits({ asked, hit }: Marked): void {
    if (!asked) return;
    const pen = this.#context;
    const stripes = hatch(pen, this.#colours.hit, undefined);
    for (const { first, last } of hit) {
      const start = maximum(BigInt(first), asked.start);
      const end = minimum(BigInt(last), asked.last);
      this.#bar(start, end, stripes);
      const [x, to] = [Math.max(-2, this.x(start)), Math.min(this.#width + 2, this.x(end + 1n))];
      pen.strokeStyle = this.#colours.hit;
      pen.lineWidth = 2;
      pen.strokeRect(x, ROWS.band + 1, Math.max(3, to - x), ROWS.bandHeight - 2);
    }
  }

  /** A bracket under the band, with what was asked for. */
  #asked({ start, last }: NonNullable<Marked["asked"]>, text: string): void {
    const pen = this.#context;
    const x = Math.max(1, this.x(start));
    const to = Math.min(this.#width - 1, Math.max(x + 3, this.x(last + 1n)));
    if (to < 0 || x > this.#width) return;
    const top = ROWS.asked;
    pen.strokeStyle = this.#colours.asked;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(x, top - 4);
    pen.lineTo(x, top + 4);
    pen.lineTo(to, top + 4);
    pen.lineTo(to, top - 4);
    pen.stroke();
    const { width } = pen.measureText(text);
    const left = Math.min(Math.max(2, (x + to - width) / 2), Math.max(2, this.#width - width - 2));
    pen.fillStyle = this.#colours.asked;
    pen.fillText(text, left, top + 20);
  }

  #dma(dma: readonly SeenDma[]): void {
    const pen = this.#context;
    for (const { event, strength } of dma) {
      const x = this.x(BigInt(event.at ?? event.a));
      if (x < -6 || x > this.#width + 6) continue;
      pen.globalAlpha = Math.max(0.15, strength);
      const y = ROWS.dma - 6;
      if (event.fault !== undefined) {
        pen.strokeStyle = this.#colours.fault;
        pen.lineWidth = 2;
        pen.beginPath();
        for (const [dx, dy] of [
          [-4, -4],
          [-4, 4],
        ] as const) {
          pen.moveTo(x + dx, y + dy);
          pen.lineTo(x - dx, y - dy);
        }
        pen.stroke();
      } else {
        pen.fillStyle = event.write ? this.#colours.write : this.#colours.read;
        const tip = event.write ? 4 : -4;
        pen.beginPath();
        pen.moveTo(x, y + tip);
        pen.lineTo(x - 4, y - tip);
        pen.lineTo(x + 4, y - tip);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
  }

  /** Addresses at which something begins, above the band: what matters most first, none over another. */
  #addresses(facts: SpaceState["facts"], marked: Marked | undefined): void {
    const wanted: bigint[] = [];
    if (marked?.asked) wanted.push(marked.asked.start, marked.asked.last + 1n);
    for (const { first, last } of facts.taken) wanted.push(BigInt(first), BigInt(last) + 1n);
    for (const [first, last] of facts.valid) wanted.push(BigInt(first), BigInt(last) + 1n);
    wanted.push(...this.#fold.edges);
    const { from, to } = this.#seen;
    for (let part = 1; part < 8 && to - from < 1; part++) wanted.push(this.#round((this.#width * part) / 8));
    const taken: [number, number][][] = [[], []];
    const seen = new Set<bigint>();
    for (const address of wanted) {
      const x = this.x(address);
      if (seen.has(address) || x < -1 || x > this.#width + 1) continue;
      seen.add(address);
      this.#addressLabel(address, x, taken);
    }
  }

  #addressLabel(address: bigint, x: number, taken: [number, number][][]): void {
    const pen = this.#context;
    const text = address > LAST ? "2^64" : `0x${address.toString(16)}`;
    const { width } = pen.measureText(text);
    const left = Math.min(Math.max(0, x - width / 2), this.#width - width);
    const row = taken.findIndex((used) => used.every(([from, to]) => left + width + GAP < from || left > to + GAP));
    if (row < 0) return;
    taken[row]!.push([left, left + width]);
    const y = ROWS.labels - 3 - row * 12;
    pen.fillStyle = this.#colours.dim;
    pen.fillText(text, left, y);
    pen.fillRect(Math.min(this.#width - 1, Math.max(0, x)), ROWS.band - TICK, 1, TICK);
  }

  /** A round address near a pixel. */
  #round(x: number): bigint {
    const [low, high] = [this.#address(x - 8), this.#address(x + 8)];
    for (let bits = 63n; bits > 0n; bits--) {
      const round = ((low >> bits) + 1n) << bits;
      if (round <= high) return round;
    }
    return low;
  }
}

function maximum(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function minimum(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
