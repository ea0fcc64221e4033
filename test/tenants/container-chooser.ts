import { DIRECTORY, FIRST_DATA, LISTED_PASIDS } from "./area.ts";
import { type DeviceAccess, encodeAccess } from "./container-dma.ts";
import { PASIDS } from "./container-pasids.ts";
import type { ContainerWorld } from "./container-world.ts";
import { likelyIndex } from "./likely.ts";
import type { Box, Group } from "./reference.ts";
import type { Step } from "./steps.ts";
import type { AddressKind } from "./translate.ts";

type Draft = readonly [op: string, a?: number, b?: number, c?: number];

/** Weights of single steps; DMA is what most of them are. */
const WEIGHTS = {
  dma: 40,
  point: 7,
  map: 7,
  unmap: 2,
  unmapAll: 0.1,
  invalidate: 6,
  bind: 7,
  unbind: 3,
  bindProcess: 2,
  bindTable: 1,
  unbindTable: 1.5,
  alloc: 3,
  free: 1.5,
  join: 4,
  leave: 2,
  device: 4,
  undevice: 2.5,
  type: 1.5,
  group: 3,
  ungroup: 1,
  box: 1.5,
  unbox: 0.6,
  setUp: 2.5,
  kill: 0.15,
};

/** Makes steps that mostly mean something in the state that the world is in. */
export class ContainerChooser {
  readonly #world: ContainerWorld;
  readonly #ops: string[] = [];
  #queue: Step[] = [];

  constructor(world: ContainerWorld) {
    this.#world = world;
    for (const [op, weight] of Object.entries(WEIGHTS)) {
      for (let times = 0; times < weight * 20; times++) this.#ops.push(op);
    }
  }

  next(): Step {
    const queued = this.#queue.shift();
    if (queued) return queued;
    const { random, processes } = this.#world;
    const process = random.below(processes);
    const op = random.pick(this.#ops);
    if (op === "setUp") {
      this.#queue = this.#setUp(process).map((draft) => this.#step(process, draft));
      return this.next();
    }
    return this.#step(process, [op, ...this.#numbers(op, process)]);
  }

  #step(process: number, [op, a = 0, b = 0, c = 0]: Draft): Step {
    return { op, process, a, b, c, watch: this.#world.random.below(2 ** 30) };
  }

  /** Numbers for an op. */
  #numbers(op: string, process: number): [number?, number?, number?] {
    const { random } = this.#world;
    const slot = random.below(2);
    switch (op) {
      case "dma":
        return this.#dma();
      case "group":
        return [random.below(this.#world.groups.length)];
      case "join":
        return [this.#own(process), slot];
      case "leave":
      case "ungroup":
      case "device":
      case "undevice":
        return [this.#own(process)];
      case "point":
        return [slot, random.below(8), random.below(10)];
      case "map":
        return [slot, random.pick([0, DIRECTORY, ...this.#dataPages(), ...this.#dataPages()]), random.below(10)];
      case "unmap":
        return [slot, random.chance(6) ? random.pick([0, DIRECTORY]) : FIRST_DATA + random.below(8)];
      case "free":
      case "bind":
      case "bindProcess":
      case "unbind":
      case "invalidate":
        return [slot, this.#pasid(this.#world.slots[process]![slot]!, op)];
      case "type":
        return [slot, random.below(16)];
      default:
        return [slot];
    }
  }

  #dataPages(): number[] {
    return Array.from({ length: 8 }, (_, index) => FIRST_DATA + index);
  }

  /** A group that the process has open, mostly. */
  #own(process: number): number {
    const { random, groups } = this.#world;
    const own = groups.flatMap((group, index) => (group.process === process ? [index] : []));
    return own.length > 0 && random.chance(95) ? random.pick(own) : random.below(groups.length);
  }

  /** A PASID that is the container's, or its process's, or anybody's, or nobody's. */
  #pasid(box: Box, op: string): number {
    const { random, dialect, boxes } = this.#world;
    const bound = [...box.bindings.keys()];
    if (op === "invalidate" && random.chance(30)) return 0;
    if (op !== "bind" && bound.length > 0 && random.chance(60)) return random.pick(bound);
    if (!dialect.allocate) return 1 + random.below(6);
    const held = [...boxes].flatMap(({ process, pasids }) =>
      process === box.process || random.chance(15) ? [...pasids] : [],
    );
    return held.length > 0 && random.chance(90) ? random.pick(held) : 1 + random.below(random.chance(80) ? 12 : PASIDS);
  }

  #dma(): [number, number, number] {
    const { random, groups } = this.#world;
    const open = groups.flatMap((group, index) => (group.deviceFd >= 0 ? [index] : []));
    if (open.length === 0) return [random.below(groups.length), 0, 0];
    const index = random.pick(open);
    const { b, c } = encodeAccess(this.#access(groups[index]!));
    return [index, b, c];
  }

  #access(group: Group): DeviceAccess {
    const { random, boxes } = this.#world;
    const bindings = [...(group.box?.bindings ?? [])];
    const isPci = group.kind === "pci";
    const rest = { write: random.chance(35), slot: random.below(2) };
    const at = (kind: AddressKind) => ({ kind, index: likelyIndex(group, kind, random) });
    const ats = isPci && random.chance(50);
    if (random.chance(30)) {
      const kind = random.chance(90) ? "window" : random.pick(["virtual", "process"] as const);
      return {
        ...rest,
        pasid: undefined,
        ats: false,
        byDriver: !isPci && random.pick([false, "copy", "pin"]),
        ...at(kind),
      };
    }
    if (bindings.length > 0 && random.chance(70)) {
      const [pasid, { kind }] = random.pick(bindings);
      const right = kind === "guest" ? "virtual" : "process";
      return { ...rest, pasid, ats, byDriver: false, ...at(random.chance(95) ? right : "window") };
    }
    // what others have bound, what a PASID table lists, and numbers that the host may use itself
    const all = [...boxes].flatMap((box) => [...box.bindings.keys(), ...box.pasids]);
    const any = 1 + random.below(random.chance(60) ? LISTED_PASIDS : 12);
    const pasid = all.length > 0 && random.chance(70) ? random.pick(all) : any;
    const kind = random.pick(["virtual", "virtual", "window", "process"] as const);
    return { ...rest, pasid, ats, byDriver: false, ...at(kind) };
  }

  /** All that a tenant needs before devices work for it. */
  #setUp(process: number): Draft[] {
    const { random, groups, slots, dialect } = this.#world;
    const slot = random.below(2);
    const free = groups.flatMap((group, index) => (group.process < 0 ? [index] : []));
    if (free.length === 0) return [["ungroup", this.#own(process)]];
    const first = random.pick(free);
    const second = random.chance(40) ? random.pick(free) : undefined;
    const chosen = second === undefined ? [first] : [first, second];
    const drafts: Draft[] = [["box", slot], ...chosen.map((group): Draft => ["group", group])];
    drafts.push(["join", first, slot]);
    if (second !== undefined && random.chance(50)) drafts.push(["join", second, slot]);
    drafts.push(["type", slot, 1 + random.below(7)]);
    if (second !== undefined) drafts.push(["join", second, slot]);
    drafts.push(["map", slot, 0], ["map", slot, DIRECTORY]);
    const pages = this.#dataPages().filter(() => random.chance(75));
    for (const page of pages) drafts.push(["map", slot, page, random.below(10)]);
    for (let virtual = 0; virtual < 4; virtual++) drafts.push(["point", slot, virtual, random.below(8)]);
    drafts.push(...chosen.map((group): Draft => ["device", group]));
    if (dialect.allocate) drafts.push(["alloc", slot], ["alloc", slot]);
    else drafts.push(random.chance(25) ? ["bindTable", slot] : ["bind", slot, 1 + random.below(6)]);
    // allocated numbers are known once they are there
    const held = [...slots[process]!.flatMap(({ pasids }) => [...pasids])];
    if (held.length > 0) drafts.push(["bind", slot, random.pick(held)]);
    return drafts;
  }
}
