import { expect, test, vi } from "vitest";
import type { Message, PictureEvent } from "../../../src/inspect/picture/event.ts";
import { PictureState } from "../../../src/inspect/picture/state.ts";
import { ViewHub } from "../../../src/library/view/hub.ts";

const MAPPINGS = 100_000;
const HELLO = { mode: "live", host: "h", kernel: "6.12", title: "t" } as const;
const FACTS = { kind: "type1", label: "l", owner: "o", valid: [], taken: [], devices: [] } as const;

/** A page of the same modules, with batches counted. */
class Page {
  readonly state = new PictureState();
  batches = 0;
  largest = 0;
  skipped = 0;
  backlog = 0;

  send(messages: readonly Message[]): void {
    this.batches++;
    this.largest = Math.max(this.largest, messages.length);
    // as it goes over the wire
    for (const message of JSON.parse(JSON.stringify(messages)) as Message[]) {
      if (message.k === "again") this.state.forgetSpaces();
      else if (message.k === "skipped") this.skipped += message.count;
      else if (message.k !== "hello" && message.k !== "whole" && message.k !== "end") this.state.apply(message);
    }
  }
}

function hubOf(state: PictureState) {
  const hub = new ViewHub({ hello: HELLO, state });
  const tell = (event: PictureEvent) => {
    state.apply(event);
    hub.push(event);
  };
  return { hub, tell };
}

function map(page: number): PictureEvent {
  // every other page: none of them can be told together with another
  const start = BigInt(page) << 13n;
  return { k: "map", s: "s", a: `0x${start.toString(16)}`, z: `0x${(start + 4095n).toString(16)}`, rw: "rw" };
}

function call(n: number): PictureEvent {
  return { k: "call", n, t: n, us: 1, program: "p", pid: 1, tid: 1, name: "c", text: "", on: "", ret: 0 };
}

async function settled(hub: ViewHub): Promise<void> {
  await vi.waitUntil(() => hub.isIdle, { timeout: 60_000, interval: 20 });
}

test("100,000 live mappings reach a page in slices while 1,000 events a second come; nothing is dropped", async () => {
  const state = new PictureState();
  const { hub, tell } = hubOf(state);
  tell({ k: "space", id: "s", facts: FACTS });
  for (let i = 0; i < MAPPINGS; i++) tell(map(i));
  const page = new Page();
  const leave = hub.join(page);
  let n = 0;
  // what comes meanwhile: calls, and mappings that go and come
  const timer = setInterval(() => {
    for (let i = 0; i < 20; i++) {
      tell(call(++n));
      tell({ k: "unmap", s: "s", a: "0x0", z: "0xfff" });
      tell(map(0));
    }
  }, 20);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await vi.waitUntil(() => page.state.spaces.get("s")?.mapped.size === MAPPINGS, { timeout: 60_000, interval: 20 });
  clearInterval(timer);
  await settled(hub);
  leave();
  const seen = page.state.spaces.get("s")!.mapped;
  expect(seen.size).toBe(MAPPINGS);
  expect(seen.bytes).toBe(BigInt(MAPPINGS) << 12n);
  expect(page.state.calls.items.at(-1)?.n).toBe(n);
  expect(page.skipped).toBe(0);
  // in pieces: no batch has more than a thousand
  expect(page.largest).toBeLessThanOrEqual(1001);
  expect(page.batches).toBeGreaterThan(MAPPINGS / 1001);
});

test("calls from before it looked on come first, each once, whatever happens meanwhile", async () => {
  const state = new PictureState();
  const { hub, tell } = hubOf(state);
  tell({ k: "space", id: "s", facts: FACTS });
  for (let i = 0; i < 5_000; i++) tell(map(i));
  for (let n = 1; n <= 300; n++) tell(call(n));
  const page = new Page();
  hub.join(page);
  for (let n = 301; n <= 400; n++) {
    tell(call(n));
    if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await settled(hub);
  expect(page.state.calls.items.map(({ n }) => n)).toEqual(Array.from({ length: 400 }, (_, i) => i + 1));
});

test("a page that does not keep up is told how much it missed, and then what is there", async () => {
  const state = new PictureState();
  const { hub, tell } = hubOf(state);
  tell({ k: "space", id: "s", facts: FACTS });
  const page = new Page();
  hub.join(page);
  await settled(hub);
  page.backlog = 1e9;
  for (let i = 0; i < 50_000; i++) tell(i % 2 === 0 ? map(i) : call(i));
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect(page.state.calls.size).toBe(0);
  page.backlog = 0;
  await settled(hub);
  expect(page.skipped).toBeGreaterThan(20_000);
  expect(page.state.spaces.get("s")!.mapped.size).toBe(25_000);
  expect(page.state.spaces.get("s")!.mapped.bytes).toBe(state.spaces.get("s")!.mapped.bytes);
});

test("nobody there: nothing waits, and no timer runs", () => {
  const { hub, tell } = hubOf(new PictureState());
  const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  for (let i = 0; i < 1000; i++) tell(call(i));
  expect(hub.isIdle).toBe(true);
  expect(hub.isWatched).toBe(false);
  expect(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length).toBe(before);
});
