import type { Message } from "../../src/inspect/picture/event.ts";
import type { SpaceState } from "../../src/inspect/picture/state.ts";
import { CallList } from "./calls.ts";
import { type Colours, readColours } from "./colours.ts";
import { showDetail } from "./detail.ts";
import { showDevices } from "./devices.ts";
import { button, byId, make } from "./dom.ts";
import { type Place, readHash, writeHash } from "./hash.ts";
import { Lane } from "./lane.ts";
import type { Marked, SeenDma } from "./lane-drawing.ts";
import { type Item, Store, seenSpaces } from "./store.ts";
import { showTables } from "./tables.ts";
import { rangeText, timeText } from "./words.ts";

/** How long DMA is seen on a live host. Microseconds. */
const DMA_SEEN_US = 4_000_000;
/** Of a trace: so many accesses before the chosen time. */
const DMA_SEEN = 60;
const HASH_MS = 300;
const TABLE_MS = 1000;

/** The page: what is chosen, and what is drawn when. */
export class Page {
  readonly store = new Store();
  readonly #lanes = new Map<string, Lane>();
  readonly #calls = new CallList(this.store, (item, shows) => this.#chose(item, shows));
  #colours: Colours = readColours();
  #marked: { readonly space: string; readonly what: Marked } | undefined;
  /** The lane that a link is to. */
  #lane: string | undefined;
  #wanted: Place = readHash(location.hash);
  #isDirty = true;
  #hasBegun = false;
  #hashTimer: number | undefined;
  #written = "";
  #tablesAt = 0;
  /** When the last event came: DMA fades with the time of the page. */
  #clock = { page: 0, host: 0 };
  /** Frames that were drawn, for tests. */
  frames = 0;

  start(): void {
    this.#listen();
    this.#connect();
    requestAnimationFrame(this.#frame);
  }

  #connect(): void {
    const source = new EventSource("events");
    source.onmessage = ({ data }) => {
      this.store.take(JSON.parse(data) as Message[]);
      this.#clock = { page: performance.now(), host: this.store.state.now };
      this.#isDirty = true;
      if (this.store.ended !== undefined) source.close();
    };
    source.onerror = () => {
      if (this.store.ended === undefined && this.store.isTrace) source.close();
      this.#isDirty = true;
      byId("status").dataset.lost = "yes";
    };
    source.onopen = () => {
      delete byId("status").dataset.lost;
      this.#isDirty = true;
    };
  }

  readonly #frame = (): void => {
    requestAnimationFrame(this.#frame);
    const more = this.#calls.update();
    const fades = !this.store.isTrace && this.#dmaSeen().length > 0;
    if (!this.#isDirty && !more && !fades) return;
    this.#isDirty = more;
    this.#draw();
    this.frames++;
  };

  #draw(): void {
    const { state, isTrace } = this.store;
    this.#follow();
    this.#drawHead();
    this.#drawAlert();
    const dma = this.#dmaSeen();
    const seen = seenSpaces(this.store, this.#marked?.space);
    this.#keepLanes(seen.map(({ space }) => space));
    for (const { space, isGone } of seen) {
      const own = dma.filter(({ event }) => event.s === space.id);
      this.#lanes.get(space.id)!.draw(space, own, this.#colours, { isLive: !isTrace, isGone });
    }
    showDevices(state, (space) => this.#toLane(space));
    this.#calls.draw();
    const now = performance.now();
    if (!byId("tables").hidden && now - this.#tablesAt > TABLE_MS) {
      this.#tablesAt = now;
      showTables(state, this.#marked);
    }
    if (isTrace) this.#drawTime();
  }

  #keepLanes(spaces: readonly SpaceState[]): void {
    const box = byId("lanes");
    const there = new Set(spaces.map(({ id }) => id));
    for (const [id, lane] of this.#lanes) {
      if (there.has(id)) continue;
      lane.element.remove();
      this.#lanes.delete(id);
    }
    for (const space of spaces) {
      if (this.#lanes.has(space.id)) continue;
      const lane = new Lane(space, () => {
        this.#lane = space.id;
        this.#changed();
      });
      this.#lanes.set(space.id, lane);
      box.append(lane.element);
      lane.mark(this.#marked?.space === space.id ? this.#marked.what : undefined);
    }
    const empty = box.querySelector(".empty");
    if (spaces.length > 0) empty?.remove();
    else if (!empty) box.append(emptyState());
  }

  #drawHead(): void {
    const { hello, state, failures, ended, isTrace, isWhole, cut, items } = this.store;
    if (!hello) return;
    byId("title").textContent = hello.title;
    document.title = `${hello.title} · uvfio view`;
    byId("host").textContent = `host ${hello.host}, Linux ${hello.kernel}`;
    const status = byId("status");
    const calls = items.filter(({ event }) => event.k === "call").length + this.store.forgotten;
    const how = isTrace
      ? isWhole
        ? "trace"
        : "loading …"
      : (ended ?? (status.dataset.lost ? "connection lost" : "● live"));
    const bad = failures.length === 0 ? "no failures" : `${failures.length} failure${failures.length === 1 ? "" : "s"}`;
    const text = [how, `${calls} calls`, bad, state.skipped > 0 && `${state.skipped} skipped`, cut]
      .filter(Boolean)
      .join(" · ");
    if (status.textContent !== text) status.textContent = text;
    status.classList.toggle("failed", failures.length > 0);
    for (const id of ["previous-failure", "next-failure"]) byId<HTMLButtonElement>(id).disabled = failures.length === 0;
  }

  /** A failure that nobody has looked at yet is not to be missed. */
  #drawAlert(): void {
    const alert = byId("alert");
    const last = this.store.failures.findLast(({ event }) => event.k === "call" && event.range !== undefined);
    alert.hidden = last === undefined || this.#calls.chosen !== undefined || this.store.isTrace;
    if (alert.hidden || last?.event.k !== "call" || alert.dataset.call === String(last.event.n)) return;
    const { n, name, errno = "", why = "" } = last.event;
    alert.dataset.call = String(n);
    const look = button("Why?", "Show it in its lane", () => {
      this.#calls.choose(last);
      this.#chose(last, true);
    });
    alert.replaceChildren(make("span", {}, make("b", {}, `✕ ${name} = ${errno}`), ` ${why}`), look);
  }

  #drawTime(): void {
    byId("time").hidden = false;
    const slider = byId<HTMLInputElement>("slider");
    const { events, position, state } = this.store;
    slider.max = String(events.length);
    if (Number(slider.value) !== position) slider.value = String(position);
    const text = `${timeText(state.now)} · ${position} of ${events.length}`;
    byId("time-text").textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }

  /** DMA that is seen now: on a live host it fades, in a trace it is what was last before the chosen time. */
  #dmaSeen(): SeenDma[] {
    const { state, isTrace } = this.store;
    const faults = state.faults.items.slice(-DMA_SEEN).map((event) => ({ event, strength: 1 }));
    if (isTrace) {
      const last = state.dma.items.slice(-DMA_SEEN);
      return [...faults, ...last.map((event, index) => ({ event, strength: (index + 1) / last.length }))];
    }
    const now = this.#clock.host + (performance.now() - this.#clock.page) * 1000;
    const seen: SeenDma[] = [];
    for (let at = state.dma.size - 1; at >= 0; at--) {
      const event = state.dma.items[at]!;
      const age = now - event.t;
      if (age > DMA_SEEN_US) break;
      if (event.fault === undefined) seen.push({ event, strength: 1 - age / DMA_SEEN_US });
    }
    return seen.length === 0 && !this.#isDirty ? [] : [...faults, ...seen];
  }

  /** A link's place, as soon as what it names is there. */
  #follow(): void {
    const { lane, from, to, time, call } = this.#wanted;
    const { isTrace, isWhole } = this.store;
    if (isTrace && !isWhole) return;
    if (isTrace && !this.#hasBegun) this.#begin();
    if (time !== undefined && isTrace) this.store.seek(time);
    delete this.#wanted.time;
    if (call !== undefined) {
      const item = this.#calls.find(call);
      if (!item) return;
      delete this.#wanted.call;
      this.#calls.choose(item);
      this.#chose(item, false, time === undefined);
    }
    if (lane === undefined || !this.store.state.spaces.has(lane)) return;
    delete this.#wanted.lane;
    this.#keepLanes([...this.store.state.spaces.values()]);
    if (from && to) this.#lanes.get(lane)!.show(BigInt(from), BigInt(to));
    this.#lane = lane;
  }

  /** Where a trace is opened: at what failed first, or when most was mapped. */
  #begin(): void {
    this.#hasBegun = true;
    const { time, call } = this.#wanted;
    if (time !== undefined || call !== undefined) return;
    const { failures, fullest } = this.store;
    const first = failures.find(({ event }) => event.k === "call" && event.range !== undefined) ?? failures[0];
    this.store.seek(fullest.position);
    if (!first) return;
    this.#calls.choose(first);
    this.#chose(first, false);
  }

  /** @param moves the time of a trace goes to it */
  #chose(item: Item | undefined, shows: boolean, moves = true): void {
    if (item && this.store.isTrace && moves) this.store.seek(item.position);
    showDetail(this.store, item, {
      show: (space, start, last) => this.#zoomTo(space, start, last),
      close: () => this.#letGo(),
    });
    this.#marked = markOf(item);
    for (const [id, lane] of this.#lanes) lane.mark(this.#marked?.space === id ? this.#marked.what : undefined);
    if (this.#marked) this.#lane = this.#marked.space;
    if (shows && this.#marked) this.#reveal(this.#marked.space);
    this.#tablesAt = 0;
    this.#changed();
  }

  #letGo(): void {
    this.#calls.choose(undefined);
    this.#chose(undefined, false);
  }

  #reveal(space: string): void {
    this.#lanes.get(space)?.element.scrollIntoView({ block: "nearest" });
  }

  #zoomTo(space: string, start: bigint, last: bigint): void {
    this.#lanes.get(space)?.zoomTo(start, last);
    this.#reveal(space);
  }

  #toLane(space: string): void {
    this.#lane = space;
    this.#reveal(space);
    this.#lanes.get(space)?.focus();
    this.#changed();
  }

  /** To the next failure, or the one before. */
  #toFailure(step: 1 | -1): void {
    const { failures } = this.store;
    if (failures.length === 0) return;
    const { chosen } = this.#calls;
    const at = chosen ? failures.indexOf(chosen) : -1;
    const next = at < 0 ? (step > 0 ? 0 : failures.length - 1) : (at + step + failures.length) % failures.length;
    this.#calls.choose(failures[next]);
    this.#chose(failures[next], true);
  }

  #seek(position: number): void {
    this.store.seek(position);
    this.#changed();
  }

  #filter(): void {
    this.#calls.filter({
      query: byId<HTMLInputElement>("query").value,
      onlyFailed: byId<HTMLInputElement>("only-failed").checked,
      withDma: byId<HTMLInputElement>("with-dma").checked,
      withInterrupts: byId<HTMLInputElement>("with-interrupts").checked,
    });
    this.#changed();
  }

  #changed(): void {
    this.#isDirty = true;
    window.clearTimeout(this.#hashTimer);
    this.#hashTimer = window.setTimeout(() => this.#writeHash(), HASH_MS);
  }

  #writeHash(): void {
    const lane = this.#lane === undefined ? undefined : this.#lanes.get(this.#lane);
    const range = lane?.range;
    const chosen = this.#calls.chosen?.event;
    const boxes = { failed: "only-failed", dma: "with-dma", interrupts: "with-interrupts" };
    const show = Object.entries(boxes).flatMap(([name, id]) => (byId<HTMLInputElement>(id).checked ? [name] : []));
    const { isTrace, position, events } = this.store;
    const hash = writeHash({
      ...(lane && { lane: this.#lane! }),
      ...(range && { from: hex(range.from), to: hex(range.to) }),
      ...(isTrace && position < events.length && { time: position }),
      ...(chosen?.k === "call" && { call: chosen.n }),
      query: byId<HTMLInputElement>("query").value,
      show,
    });
    this.#written = hash;
    history.replaceState(null, "", `${location.pathname}${hash}`);
  }

  #readHash(): void {
    this.#wanted = readHash(location.hash);
    const { query = "", show = [] } = this.#wanted;
    byId<HTMLInputElement>("query").value = query;
    byId<HTMLInputElement>("only-failed").checked = show.includes("failed");
    byId<HTMLInputElement>("with-dma").checked = show.includes("dma");
    byId<HTMLInputElement>("with-interrupts").checked = show.includes("interrupts");
    this.#filter();
  }

  #toggleTables(): void {
    const tables = byId("tables");
    tables.hidden = !tables.hidden;
    byId("table-button").setAttribute("aria-pressed", String(!tables.hidden));
    this.#tablesAt = 0;
    this.#isDirty = true;
  }

  #listen(): void {
    this.#readHash();
    for (const id of ["query", "only-failed", "with-dma", "with-interrupts"])
      byId(id).addEventListener("input", () => this.#filter());
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("slider").addEventListener("input", () => this.#seek(Number(byId<HTMLInputElement>("slider").value)));
    byId("step-back").addEventListener("click", () => this.#seek(this.store.position - 1));
    byId("step-on").addEventListener("click", () => this.#seek(this.store.position + 1));
    byId("next-failure").addEventListener("click", () => this.#toFailure(1));
    byId("previous-failure").addEventListener("click", () => this.#toFailure(-1));
    byId("table-button").addEventListener("click", () => this.#toggleTables());
    byId("help-button").addEventListener("click", () => byId<HTMLDialogElement>("help").showModal());
    addEventListener("keydown", (event) => this.#key(event));
    addEventListener("resize", () => {
      this.#isDirty = true;
    });
    addEventListener("hashchange", () => {
      if (location.hash !== this.#written) this.#readHash();
    });
    const recolour = () => {
      this.#colours = readColours();
      this.#isDirty = true;
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  }

  #key(event: KeyboardEvent): void {
    const isTyping = event.target instanceof HTMLInputElement && event.target.type === "search";
    if (event.ctrlKey || event.metaKey || event.altKey || byId<HTMLDialogElement>("help").open) return;
    if (event.key === "Escape") {
      if (isTyping) (event.target as HTMLElement).blur();
      else this.#letGo();
      return;
    }
    if (isTyping) return;
    const actions: Readonly<Record<string, () => void>> = {
      n: () => this.#toFailure(1),
      p: () => this.#toFailure(-1),
      "/": () => byId("query").focus(),
      t: () => this.#toggleTables(),
      "?": () => byId<HTMLDialogElement>("help").showModal(),
      "[": () => this.store.isTrace && this.#seek(this.store.position - 1),
      "]": () => this.store.isTrace && this.#seek(this.store.position + 1),
    };
    const act = actions[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

/** What is chosen, as its lane shows it. */
function markOf(item: Item | undefined): { readonly space: string; readonly what: Marked } | undefined {
  const event = item?.event;
  if (event?.k === "call" && event.s !== undefined && event.range) {
    const [first, last] = event.range;
    const asked = { start: BigInt(first), last: BigInt(last) };
    const text = `${event.errno === undefined ? "this call:" : "asked for"} ${rangeText(first, last)}`;
    return { space: event.s, what: { asked, hit: event.hit ?? [], text } };
  }
  if (event?.k === "dma" && event.s !== undefined) {
    const start = BigInt(event.a);
    const asked = { start, last: start + BigInt(Math.max(1, event.bytes)) - 1n };
    const kind = event.write ? "write" : "read";
    return { space: event.s, what: { asked, hit: [], text: `DMA ${kind} ${event.a}, ${event.bytes} bytes` } };
  }
  return undefined;
}

function emptyState(): HTMLElement {
  return make(
    "div",
    { class: "empty" },
    make("strong", {}, "No address space yet"),
    "A lane appears here for each address space that devices see: when a program puts a group into a container and gives it its IOMMU (VFIO_SET_IOMMU), or makes an IOAS (IOMMU_IOAS_ALLOC). It then shows what is mapped, what cannot be and whose it is, and DMA as it happens.",
  );
}

function hex(address: bigint): string {
  return `0x${address.toString(16)}`;
}
