import type { CallEvent, DmaEvent, NamedRange } from "../../src/inspect/picture/event.ts";
import { sizeText } from "../../src/inspect/picture/fold.ts";
import { button, byId, make } from "./dom.ts";
import type { Item, Store } from "./store.ts";
import { aboutRegion, errnoText, freeParts, nameOf, rangeText, spaceName, timeText } from "./words.ts";

type Row = readonly [term: string, ...what: (Node | string)[]];

/** What can be done from the detail. */
export interface DetailActions {
  /** Shows a range of an address space in its lane. */
  show(space: string, start: bigint, last: bigint): void;
  close(): void;
}

/** Says all of what is chosen. */
export function showDetail(store: Store, item: Item | undefined, actions: DetailActions): void {
  const box = byId("detail");
  box.hidden = item === undefined;
  if (!item) return;
  const { event } = item;
  const close = button("×", "Close (Esc)", () => actions.close());
  close.classList.add("close");
  const isBad = (event.k === "call" && event.errno !== undefined) || (event.k === "dma" && event.fault !== undefined);
  box.classList.toggle("bad", isBad);
  const parts =
    event.k === "call" ? ofCall(store, event, actions) : event.k === "dma" ? ofDma(store, event, actions) : [];
  if (event.k === "irq")
    parts.push(
      make("h3", {}, `Interrupt of ${event.d}`),
      list([
        ["what", event.what],
        ["how often", String(event.count)],
      ]),
    );
  if (event.k === "note") parts.push(make("p", { class: "why" }, event.text));
  const at: Row = ["at", timeText(event.t)];
  const rows = parts.at(-1);
  if (rows instanceof HTMLDListElement) rows.append(...list([at]).childNodes);
  else parts.push(list([at]));
  box.replaceChildren(close, ...parts);
  box.scrollTop = 0;
}

function ofCall(store: Store, call: CallEvent, actions: DetailActions): HTMLElement[] {
  const { errno, why, range, hit = [], s } = call;
  const space = s === undefined ? undefined : store.state.spaces.get(s);
  const parts: HTMLElement[] = [];
  const result = errno === undefined ? `= ${call.ret}` : `failed: ${errnoText(errno)}`;
  parts.push(
    make("h3", {}, errno === undefined ? "" : make("span", { class: "fault" }, "✕ "), `${call.name} ${result}`),
  );
  if (errno !== undefined)
    parts.push(make("p", { class: "why" }, sentence(why ?? "uvfio has no further reason for it.")));
  const rows: Row[] = [];
  if (range) {
    const [first, last] = range;
    const where = make("span", {}, rangeText(first, last));
    rows.push([
      errno === undefined ? "about" : "asked for",
      make("i", { class: "sw asked" }),
      where,
      ...(s === undefined ? [] : [" ", shows(actions, s, first, last)]),
    ]);
  }
  if (space) rows.push(["in the", spaceName(space)]);
  for (const each of hit) rows.push(["in the way", ...inTheWay(each, s, actions)]);
  if (errno !== undefined && hit.length > 0) rows.push(...whatWouldWork(call));
  rows.push([
    "by",
    `${call.program}${call.pid > 0 ? `, process ${call.pid}${call.tid === call.pid ? "" : `, thread ${call.tid}`}` : ""}`,
  ]);
  if (call.on !== "") rows.push(["on", call.on]);
  if (call.text !== "") rows.push(["with", make("code", {}, call.text)]);
  rows.push(["took", `${call.us} µs in the model`]);
  parts.push(list(rows));
  return parts;
}

function inTheWay(range: NamedRange, s: string | undefined, actions: DetailActions): (Node | string)[] {
  const about = aboutRegion(range.what);
  return [
    make("i", { class: "sw hit" }),
    make("b", {}, nameOf(range)),
    `: ${rangeText(range.first, range.last)} `,
    ...(s === undefined ? [] : [shows(actions, s, range.first, range.last)]),
    ...(about === undefined ? [] : [make("div", { class: "dim" }, about)]),
  ];
}

function whatWouldWork(call: CallEvent): Row[] {
  const hit = call.hit ?? [];
  const text = (first: bigint, last: bigint) =>
    `0x${first.toString(16)} – 0x${last.toString(16)}, ${sizeText(last - first + 1n)}`;
  if (hit.every(({ what }) => what === "mapping")) {
    const first = hit[0]!;
    return [["a cure", `unmap ${first.first} first, or map where nothing is mapped`]];
  }
  const parts = freeParts(call);
  if (parts.length === 0) return [["a cure", "no part of it can be mapped: choose other addresses"]];
  return parts.map(({ first, last }) => ["would fit", text(first, last)]);
}

function ofDma(store: Store, dma: DmaEvent, actions: DetailActions): HTMLElement[] {
  const kind = dma.write ? "write" : "read";
  const parts: HTMLElement[] = [
    make(
      "h3",
      {},
      dma.fault === undefined ? "" : make("span", { class: "fault" }, "✕ "),
      `DMA ${kind} of ${dma.d}${dma.fault === undefined ? "" : " did not arrive"}`,
    ),
  ];
  if (dma.fault !== undefined) parts.push(make("p", { class: "why" }, sentence(dma.fault)));
  const last = `0x${(BigInt(dma.a) + BigInt(Math.max(1, dma.bytes)) - 1n).toString(16)}`;
  const space = dma.s === undefined ? undefined : store.state.spaces.get(dma.s);
  const rows: Row[] = [
    ["addresses", rangeText(dma.a, last), ...(dma.s === undefined ? [] : [" ", shows(actions, dma.s, dma.a, last)])],
  ];
  if (dma.at !== undefined) rows.push(["not reached from", dma.at]);
  if (dma.count > 1) rows.push(["accesses", String(dma.count)]);
  if (space) rows.push(["in the", spaceName(space)]);
  parts.push(list(rows));
  return parts;
}

function shows(actions: DetailActions, space: string, first: string, last: string): HTMLButtonElement {
  const made = button("zoom to it", "Show it in its lane", () => actions.show(space, BigInt(first), BigInt(last)));
  made.classList.add("link");
  return made;
}

function list(rows: readonly Row[]): HTMLElement {
  return make("dl", {}, ...rows.flatMap(([term, ...what]) => [make("dt", {}, term), make("dd", {}, ...what)]));
}

/** With a capital and an end, as it stands alone. */
function sentence(text: string): string {
  const capital = /^[a-z]+[ ,]/.test(text) && !text.startsWith("iova") ? text[0]!.toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
