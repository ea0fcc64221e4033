import type { Fold } from "../../src/inspect/picture/fold.ts";
import { sizeText } from "../../src/inspect/picture/fold.ts";
import { laneFold } from "../../src/inspect/picture/lane-fold.ts";
import type { SpaceState } from "../../src/inspect/picture/state.ts";
import type { Colours } from "./colours.ts";
import { button, byId, make } from "./dom.ts";
import { LaneDrawing, type Marked, ROWS, type SeenDma } from "./lane-drawing.ts";
import { ALL, around, moved, type Seen, zoomed } from "./window.ts";
import { nameOf, rangeText } from "./words.ts";

const WHEEL = 0.0016;
const STEP = 1.6;
const MOVE = 0.15;
/** How often a lane that lives is folded anew at most. Milliseconds. */
const FOLD_MS = 400;

/** A lane of the page: a canvas with its heading, its fold, and the part that is seen. */
export class Lane {
  readonly element: HTMLElement;
  readonly #canvas = make("canvas", { tabindex: "0", role: "img" });
  readonly #head = make("div", { class: "lane-head" });
  readonly #title = make("b");
  readonly #facts = make("span", { class: "dim" });
  readonly #changed: () => void;
  #space: SpaceState;
  #marked: Marked | undefined;
  #fold: Fold;
  #foldedVersion = -1;
  #foldedAt = 0;
  seen: Seen = ALL;
  #text = "";

  /** @param changed the part that is seen has changed */
  constructor(space: SpaceState, changed: () => void) {
    this.#space = space;
    this.#changed = changed;
    this.#fold = laneFold(space);
    const zoom = make(
      "span",
      { class: "zoom" },
      button("−", "Zoom out (−)", () => this.#zoom(1 / STEP)),
      button("+", "Zoom in (+)", () => this.#zoom(STEP)),
      button("all", "All of it (0)", () => this.#see(ALL)),
    );
    this.#head.append(this.#title, this.#facts, zoom);
    this.element = make("section", { class: "lane", "data-space": space.id }, this.#head, this.#canvas);
    this.#listen();
  }

  get space(): SpaceState {
    return this.#space;
  }

  /** Addresses that are seen; undefined for all. */
  get range(): { from: bigint; to: bigint } | undefined {
    const { from, to } = this.seen;
    return from === 0 && to === 1 ? undefined : { from: this.#fold.address(from), to: this.#fold.address(to) };
  }

  /** Shows the addresses between two. */
  show(from: bigint, to: bigint): void {
    const [a, b] = [this.#fold.place(from), this.#fold.place(to + 1n)];
    this.seen = b > a ? { from: a, to: b } : around(a, b);
  }

  focus(): void {
    this.#canvas.focus({ preventScroll: true });
  }

  /** What is chosen has its own place in the fold, and is made large enough to be seen. */
  mark(marked: Marked | undefined): void {
    if (this.#marked === marked) return;
    this.#marked = marked;
    this.#refold();
    this.element.classList.toggle("chosen", marked !== undefined);
    if (!marked?.asked) return;
    const { start, last } = marked.asked;
    const { from, to } = this.seen;
    if (this.#fold.place(start) < from || this.#fold.place(last + 1n) > to) this.seen = ALL;
  }

  /** Zooms in on a range. */
  zoomTo(start: bigint, last: bigint): void {
    this.#see(around(this.#fold.place(start), this.#fold.place(last + 1n), 0.2));
  }

  draw(
    space: SpaceState,
    dma: readonly SeenDma[],
    colours: Colours,
    { isLive, isGone }: { readonly isLive: boolean; readonly isGone: boolean },
  ): void {
    this.#space = space;
    const isOld = this.#foldedVersion !== space.version;
    if (isOld && (!isLive || performance.now() - this.#foldedAt > FOLD_MS)) this.#refold();
    const { facts, mapped } = space;
    const what = isGone ? "closed" : `${mapped.size} mapping${mapped.size === 1 ? "" : "s"}, ${sizeText(mapped.bytes)}`;
    const text = `${what} · ${facts.owner}${facts.devices.length > 0 ? ` · ${facts.devices.join(", ")}` : ""}`;
    if (text !== this.#text) {
      this.#text = text;
      this.#title.textContent = facts.label;
      this.#facts.textContent = text;
      const taken = facts.taken.map((range) => `${range.first} to ${range.last}: ${nameOf(range)}`).join("; ");
      this.#canvas.setAttribute("aria-label", `${facts.label}: ${text}. Cannot be mapped: ${taken || "nothing"}`);
    }
    const width = this.#canvas.clientWidth;
    if (width === 0) return;
    const scale = devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * scale), Math.round(ROWS.height * scale)];
    if (this.#canvas.width !== wide || this.#canvas.height !== high) {
      this.#canvas.width = wide;
      this.#canvas.height = high;
    }
    const context = this.#canvas.getContext("2d", { alpha: false })!;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    new LaneDrawing(context, this.#fold, this.seen, width, colours).draw(space, this.#marked, dma);
  }

  /** The addresses that are seen stay where they are, as far as the new fold lets them. */
  #refold(): void {
    const range = this.range;
    this.#fold = laneFold(this.#space, this.#marked?.asked ? [this.#marked.asked] : []);
    this.#foldedVersion = this.#space.version;
    this.#foldedAt = performance.now();
    if (range) this.show(range.from, range.to);
  }

  #see(seen: Seen): void {
    this.seen = seen;
    this.#changed();
  }

  #zoom(factor: number, around = (this.seen.from + this.seen.to) / 2): void {
    this.#see(zoomed(this.seen, factor, around));
  }

  #place(clientX: number): number {
    const box = this.#canvas.getBoundingClientRect();
    const part = (clientX - box.left) / box.width;
    return this.seen.from + part * (this.seen.to - this.seen.from);
  }

  #listen(): void {
    const canvas = this.#canvas;
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
        if (Math.abs(sideways) > Math.abs(event.deltaY) || event.shiftKey)
          this.#see(moved(this.seen, sideways / canvas.clientWidth));
        else this.#zoom(Math.exp(-event.deltaY * WHEEL), this.#place(event.clientX));
      },
      { passive: false },
    );
    let dragged: number | undefined;
    canvas.addEventListener("pointerdown", (event) => {
      dragged = event.clientX;
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (dragged !== undefined) {
        this.#see(moved(this.seen, (dragged - event.clientX) / canvas.clientWidth));
        dragged = event.clientX;
      }
      this.#tip(event);
    });
    for (const end of ["pointerup", "pointercancel"] as const)
      canvas.addEventListener(end, () => {
        dragged = undefined;
      });
    canvas.addEventListener("pointerleave", () => {
      byId("tip").hidden = true;
    });
    canvas.addEventListener("dblclick", (event) => this.#zoom(4, this.#place(event.clientX)));
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions: Readonly<Record<string, () => void>> = {
      "+": () => this.#zoom(STEP),
      "=": () => this.#zoom(STEP),
      "-": () => this.#zoom(1 / STEP),
      ArrowLeft: () => this.#see(moved(this.seen, -MOVE)),
      ArrowRight: () => this.#see(moved(this.seen, MOVE)),
      Home: () => this.#see(moved(this.seen, -1e9)),
      End: () => this.#see(moved(this.seen, 1e9)),
      "0": () => this.#see(ALL),
    };
    const act = actions[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** Says what is under the pointer. */
  #tip({ clientX, clientY }: PointerEvent): void {
    const tip = byId("tip");
    const place = this.#place(clientX);
    const pixel = (this.seen.to - this.seen.from) / this.#canvas.clientWidth;
    const [from, to] = [this.#fold.address(Math.max(0, place - pixel)), this.#fold.address(place + pixel)];
    tip.textContent = this.#whatIs(from, to).join("\n");
    tip.hidden = false;
    const { width } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(clientX + 12, innerWidth - width - 8))}px`;
    tip.style.top = `${clientY + 16}px`;
  }

  #whatIs(from: bigint, to: bigint): string[] {
    const { facts, mapped } = this.#space;
    const lines: string[] = [];
    for (const range of facts.taken)
      if (BigInt(range.first) <= to && BigInt(range.last) >= from)
        lines.push(`${rangeText(range.first, range.last)}: ${nameOf(range)}`);
    for (const { start, last, rw } of mapped.within(from, to, 3)) {
      const rights = { rw: "", r: ", for reading only", w: ", for writing only", "": ", for nothing" }[rw];
      lines.push(`${rangeText(`0x${start.toString(16)}`, `0x${last.toString(16)}`)}: mapped${rights}`);
    }
    return lines.length > 0 ? lines : [`0x${from.toString(16)}: can be mapped`];
  }
}
