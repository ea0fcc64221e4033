import type { AddressRange } from "../../src/inspect/picture/event.ts";
import { sizeText } from "../../src/inspect/picture/fold.ts";
import { byId, make } from "./dom.ts";
import { hasFailed, type Item, type Store } from "./store.ts";
import { timeText, wordsOf } from "./words.ts";

const ROW = 22;
/** Rows beside those that are seen. */
const MORE = 6;
/** What is not looked through at once comes with the next frame. */
const AT_ONCE = 20_000;

/** What the list is to have. */
export interface Filter {
  readonly query: string;
  readonly onlyFailed: boolean;
  readonly withDma: boolean;
  readonly withInterrupts: boolean;
}

/** The list of what happens: only the rows that are seen are there. */
export class CallList {
  readonly #store: Store;
  readonly #chosen: (item: Item | undefined, byKey: boolean) => void;
  readonly #box = byId("calls");
  readonly #space = byId("calls-space");
  #filter: Filter = { query: "", onlyFailed: false, withDma: false, withInterrupts: false };
  #words: readonly string[] = [];
  #shown: Item[] = [];
  /** Items that were looked at, counted with those that are forgotten. */
  #looked = 0;
  #items: readonly Item[] | undefined;
  #follows = true;
  #drawn = "";
  chosen: Item | undefined;

  /** @param chosen hears which item is chosen, and whether it is to be shown in its lane */
  constructor(store: Store, chosen: (item: Item | undefined, shows: boolean) => void) {
    this.#store = store;
    this.#chosen = chosen;
    this.#box.addEventListener("scroll", () => {
      this.#follows = this.#box.scrollTop + this.#box.clientHeight >= this.#box.scrollHeight - ROW;
      this.draw();
    });
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    this.#space.addEventListener("click", (event) => {
      const row = (event.target as HTMLElement).closest<HTMLElement>(".row");
      if (row) this.#choose(this.#shown[Number(row.dataset.at)], true);
    });
  }

  filter(filter: Filter): void {
    this.#filter = filter;
    this.#words = filter.query.toLowerCase().split(/\s+/).filter(Boolean);
    this.#items = undefined;
    this.draw();
    this.#reveal();
  }

  /** Takes what is new. @returns whether there is more to look through */
  update(): boolean {
    const { items, forgotten } = this.#store;
    if (this.#items === undefined || this.#looked < forgotten || this.#looked > forgotten + items.length) {
      this.#shown = [];
      this.#looked = forgotten;
      this.#drawn = "";
    } else if (this.#items !== items) {
      const oldest = items[0]?.event.t ?? 0;
      this.#shown = this.#shown.filter(({ event: { t } }) => t >= oldest);
      this.#drawn = "";
    }
    this.#items = items;
    const from = this.#looked - forgotten;
    const to = Math.min(items.length, from + AT_ONCE);
    for (let at = from; at < to; at++) if (this.#passes(items[at]!)) this.#shown.push(items[at]!);
    this.#looked = forgotten + to;
    return to < items.length;
  }

  /** The item of a call by its number. */
  find(call: number): Item | undefined {
    return this.#store.items.find(({ event }) => event.k === "call" && event.n === call);
  }

  choose(item: Item | undefined): void {
    this.chosen = item;
    this.#drawn = "";
    this.#reveal();
    this.draw();
  }

  draw(): void {
    const height = this.#shown.length * ROW;
    this.#space.style.height = `${height}px`;
    if (this.#follows && this.chosen === undefined && !this.#store.isTrace) this.#box.scrollTop = height;
    const from = Math.max(0, Math.floor(this.#box.scrollTop / ROW) - MORE);
    const to = Math.min(this.#shown.length, Math.ceil((this.#box.scrollTop + this.#box.clientHeight) / ROW) + MORE);
    const { position, items, forgotten } = this.#store;
    const key = `${from} ${to} ${this.#shown.length} ${this.#store.isTrace ? position : 0} ${forgotten} ${this.#shown[from]?.event.t}`;
    if (key === this.#drawn) return;
    this.#drawn = key;
    this.#space.replaceChildren(...this.#shown.slice(from, to).map((item, index) => this.#row(item, from + index)));
    const all = items.length === this.#shown.length ? "" : ` of ${items.length}`;
    const lost = forgotten + this.#store.state.skipped;
    byId("count").textContent =
      items.length === 0
        ? "Nothing has happened yet. Calls to VFIO's and iommufd's files stand here as they are made; failed ones with the reason."
        : `${this.#shown.length}${all} shown${lost > 0 ? `; ${lost} older or skipped ones are not here` : ""}`;
  }

  #passes({ event }: Item): boolean {
    const { onlyFailed, withDma, withInterrupts } = this.#filter;
    const failed = hasFailed(event);
    if (onlyFailed && !failed) return false;
    if (event.k === "dma" && !withDma && !failed) return false;
    if (event.k === "irq" && !withInterrupts) return false;
    if (this.#words.length === 0) return true;
    const words = wordsOf(event).toLowerCase();
    return this.#words.every((word) => words.includes(word));
  }

  #row(item: Item, at: number): HTMLElement {
    const { event } = item;
    const isChosen = item === this.chosen;
    const isLater = this.#store.isTrace && item.position > this.#store.position;
    const failed = hasFailed(event);
    const row = make("div", {
      class: `row${failed ? " bad" : ""}${isLater ? " later" : ""}`,
      role: "option",
      id: `row-${at}`,
      "data-at": String(at),
      "aria-selected": String(isChosen),
      "aria-setsize": String(this.#shown.length),
      "aria-posinset": String(at + 1),
    });
    row.style.top = `${at * ROW}px`;
    row.append(...contents(item));
    row.title = row.textContent ?? "";
    return row;
  }

  #key(event: KeyboardEvent): void {
    const at = this.chosen ? this.#shown.indexOf(this.chosen) : -1;
    const page = Math.max(1, Math.floor(this.#box.clientHeight / ROW) - 1);
    const last = this.#shown.length - 1;
    const to: Readonly<Record<string, number>> = {
      ArrowDown: at + 1,
      ArrowUp: at < 0 ? last : at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: last,
      Enter: at,
    };
    const next = to[event.key];
    if (next === undefined || last < 0) return;
    event.preventDefault();
    this.#choose(this.#shown[Math.min(last, Math.max(0, next))], event.key === "Enter");
  }

  #choose(item: Item | undefined, shows: boolean): void {
    this.choose(item);
    this.#chosen(item, shows);
  }

  /** Scrolls to what is chosen. */
  #reveal(): void {
    const at = this.chosen ? this.#shown.indexOf(this.chosen) : -1;
    if (at < 0) {
      this.#box.removeAttribute("aria-activedescendant");
      return;
    }
    const top = at * ROW;
    const { scrollTop, clientHeight } = this.#box;
    this.#space.style.height = `${this.#shown.length * ROW}px`;
    if (top < scrollTop || top + ROW > scrollTop + clientHeight)
      this.#box.scrollTop = Math.max(0, top - clientHeight / 2);
    this.#box.setAttribute("aria-activedescendant", `row-${at}`);
  }
}

function contents({ event }: Item): (Node | string)[] {
  const time = make("span", { class: "dim" }, `${timeText(event.t).padStart(11)}  `);
  switch (event.k) {
    case "call": {
      const { name, text, errno, why } = event;
      const parts: (Node | string)[] = [time, make("b", {}, shortName(name))];
      if (errno !== undefined) parts.push(" ", make("span", { class: "errno" }, `✕ ${errno}`), ` ${why ?? ""}`);
      else if (event.range) parts.push(` ${shortRange(event.range)}`, make("span", { class: "args" }, ` ${text}`));
      else parts.push(make("span", { class: "args" }, ` ${text}${event.ret === 0 ? "" : ` = ${event.ret}`}`));
      return parts;
    }
    case "dma": {
      const kind = event.fault === undefined ? (event.write ? "write" : "read") : "fault";
      const sign = { read: "▲ DMA read", write: "▼ DMA write", fault: `✕ DMA ${event.write ? "write" : "read"} fault` };
      const size = `${event.bytes} bytes${event.count > 1 ? ` in ${event.count}` : ""}`;
      return [
        time,
        make("b", { class: kind }, sign[kind]),
        ` ${event.d} ${event.at ?? event.a} ${event.fault ?? size}`,
      ];
    }
    case "irq":
      return [
        time,
        make("b", {}, "⚡ interrupt"),
        ` ${event.d} ${event.what}${event.count > 1 ? ` ×${event.count}` : ""}`,
      ];
    case "note":
      return [time, make("span", { class: "dim" }, `— ${event.text}`)];
  }
}

/** "0xfee00000 +1 MiB" */
function shortRange([first, last]: AddressRange): string {
  return `${first} +${sizeText(BigInt(last) - BigInt(first) + 1n)}`;
}

/** Without what all of them begin with. */
function shortName(name: string): string {
  return name.replace(/^VFIO_(?=[A-Z])/, "");
}
