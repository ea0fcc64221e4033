import { DIRECTORY, FIRST_DATA } from "./area.ts";
import { encodeSpaceAccess, likelyAccess } from "./iommufd-dma.ts";
import type { IommufdWorld } from "./iommufd-world.ts";
import type { Step } from "./steps.ts";

type Draft = readonly [op: string, a?: number, b?: number, c?: number];

const WEIGHTS = {
  dma: 40,
  point: 7,
  map: 6,
  unmap: 3,
  unmapAll: 0.1,
  invalidate: 6,
  attachPasid: 8,
  detachPasid: 3,
  attach: 4,
  detach: 2,
  parent: 1,
  nested: 1,
  destroy: 1,
  bind: 2,
  device: 3,
  undevice: 1.5,
  iommufd: 1.5,
  close: 0.5,
  setUp: 2,
  kill: 0.15,
};

/** Makes steps that mostly mean something in the state that the world is in. */
export class IommufdChooser {
  readonly #world: IommufdWorld;
  readonly #ops: string[] = [];
  #queue: Step[] = [];

  constructor(world: IommufdWorld) {
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
    if (op !== "setUp") return this.#step(process, [op, ...this.#numbers(op, process)]);
    this.#queue = this.#setUp(process).map((draft) => this.#step(process, draft));
    return this.next();
  }

  #step(process: number, [op, a = 0, b = 0, c = 0]: Draft): Step {
    return { op, process, a, b, c, watch: this.#world.random.below(2 ** 30) };
  }

  #numbers(op: string, process: number): [number?, number?, number?] {
    const { random, devices } = this.#world;
    const slot = random.below(2);
    switch (op) {
      case "dma": {
        const bound = devices.flatMap((device, index) => (device.space ? [index] : []));
        const index = bound.length > 0 ? random.pick(bound) : 0;
        const { b, c } = encodeSpaceAccess(likelyAccess(devices[index]!, random));
        return [index, b, c];
      }
      case "device":
        return [random.below(devices.length)];
      case "bind":
        return [this.#own(process), slot];
      case "undevice":
      case "attach":
      case "attachPasid":
      case "detach":
      case "detachPasid":
        return [this.#own(process), random.below(2), 1 + random.below(6)];
      case "point":
        return [slot, random.below(8), random.below(10)];
      case "map":
        return [slot, random.chance(30) ? random.pick([0, DIRECTORY]) : FIRST_DATA + random.below(8), random.below(8)];
      case "unmap":
        return [slot, random.chance(5) ? 0 : FIRST_DATA + random.below(8)];
      case "destroy":
        return [slot, random.below(2)];
      default:
        return [slot];
    }
  }

  #own(process: number): number {
    const { random, devices } = this.#world;
    const own = devices.flatMap((device, index) => (device.process === process ? [index] : []));
    return own.length > 0 && random.chance(95) ? random.pick(own) : random.below(devices.length);
  }

  #setUp(process: number): Draft[] {
    const { random, devices } = this.#world;
    const slot = random.below(2);
    const free = devices.flatMap((device, index) => (device.process < 0 ? [index] : []));
    if (free.length === 0) return [["undevice", this.#own(process)]];
    const device = random.pick(free);
    const drafts: Draft[] = [
      ["iommufd", slot],
      ["device", device],
      ["bind", device, slot],
      ["map", slot, 0],
    ];
    for (let page = 0; page < 8; page++) {
      if (random.chance(75)) drafts.push(["map", slot, FIRST_DATA + page, random.below(8)]);
    }
    for (let virtual = 0; virtual < 5; virtual++) drafts.push(["point", slot, virtual, random.below(8)]);
    drafts.push(["parent", slot], ["nested", slot]);
    if (random.chance(70)) drafts.push(["attach", device, random.below(2)]);
    for (let times = random.below(3); times > 0; times--) {
      drafts.push(["attachPasid", device, random.below(2), 1 + random.below(6)]);
    }
    return drafts;
  }
}
