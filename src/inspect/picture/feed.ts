import type { IovaRange } from "../../address/iova-ranges.ts";
import type { Host } from "../../host/host.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import { deviceName } from "../../machine/find-device.ts";
import type { DeviceDescription } from "../../machine/host-description.ts";
import type { ModelWatch } from "../../vfio/model-watch.ts";
import type { LiveSpace, SpaceMapping, SpaceView } from "../../vfio/space-view.ts";
import {
  type AddressRange,
  type CallEvent,
  type DeviceFacts,
  type DmaEvent,
  type InterruptEvent,
  type NamedRange,
  type PictureEvent,
  rightsOf,
  type SpaceFacts,
} from "./event.ts";
import { hex, type PictureState, type SpaceState } from "./state.ts";

/** Mappings that are told at once of a space that was there before. */
const SLICE = 200;

/** What a call is, before it is told: the picture adds where it belongs. */
export type ToldCall = Omit<CallEvent, "k" | "n" | "t" | "s" | "hit">;

/** A call that is about to be made, or was. */
export interface CallPlace {
  readonly file: FileDescription | undefined;
  /** The address space that it names, of an iommufd's. */
  readonly id: number | undefined;
}

interface Known {
  readonly id: string;
  /** What was last told. */
  text: string;
  view: SpaceView;
  readonly end: () => void;
}

/**
 * Tells what happens on a host as events of a picture. Address spaces are looked at when a call may have changed them;
 * what is mapped is heard of by the tables themselves, whatever request does it.
 */
export class PictureFeed {
  readonly #tell: (event: PictureEvent) => void;
  readonly #now: () => number;
  /** The same picture as those have who are told. */
  readonly state: PictureState;
  #host: Host | undefined;
  readonly #spaces = new Map<object, Known>();
  readonly #deviceTexts = new Map<string, string>();
  #spaceCount = 0;
  #calls = 0;
  /** The last one, to which what follows at once is added. */
  #dma: { -readonly [K in keyof DmaEvent]: DmaEvent[K] } | undefined;
  #interrupt: { -readonly [K in keyof InterruptEvent]: InterruptEvent[K] } | undefined;

  /**
   * @param state of what was told so far; the feed has it changed
   * @param tell takes each event
   * @param now microseconds
   */
  constructor(state: PictureState, tell: (event: PictureEvent) => void, now: () => number) {
    this.state = state;
    this.#tell = tell;
    this.#now = now;
  }

  /** The host has booted; or is looked at from now on: what is there is told at once, but for mappings. */
  begin(host: Host): void {
    this.#host = host;
    this.look();
  }

  /** Nobody wants to know any more. */
  end(): void {
    for (const { end } of this.#spaces.values()) end();
    this.#spaces.clear();
  }

  /**
   * Mappings that were made before begin(): a slice each time.
   * @returns whether there is more
   */
  *mappings(): Generator<void> {
    for (const { id, view } of [...this.#spaces.values()]) {
      for (let from = 0n; from < 1n << 64n; ) {
        const slice = view.from(from, SLICE);
        for (const mapping of slice) this.#mapped(id, mapping);
        if (slice.length < SLICE) break;
        from = slice.at(-1)!.last + 1n;
        yield;
      }
    }
  }

  /** What devices do. */
  readonly model: ModelWatch = {
    dmaDone: (device, write, iova, length, fault) => this.#done(device, write, iova, length, fault),
    interrupt: (device, what) => this.#raised(device, what),
  };

  /** A call is over. What it was about is to be looked at, if it may have changed that. */
  called(call: ToldCall, { file, id }: CallPlace): void {
    this.#seal();
    // before the look: a file that was closed is no one's any more
    const known = file && this.#meant(file, id);
    // an sPAPR container has its first window by the first request that needs one
    if (changesSpaces(call) || known?.view.kind === "spapr") this.look();
    const space = known ?? (file && this.#meant(file, id));
    const hit = call.errno !== undefined && call.range && space ? this.#hit(space.id, call.range) : [];
    // the same object: its text may be made when somebody wants it
    const event: CallEvent = Object.assign(call, {
      k: "call" as const,
      n: ++this.#calls,
      t: this.#now(),
      ...(space && { s: space.id }),
      ...(hit.length > 0 && { hit }),
    });
    this.#event(event);
  }

  note(text: string): void {
    this.#event({ k: "note", t: this.#now(), text });
  }

  /** Looks at address spaces and devices, and tells what is not as it was. */
  look(): void {
    const host = this.#host;
    if (!host) return;
    const live = host.spaces();
    for (const each of live) this.#space(each);
    const there = new Set(live.map(({ of }) => of));
    for (const [of, { id, end }] of this.#spaces) {
      if (there.has(of)) continue;
      end();
      this.#spaces.delete(of);
      this.#event({ k: "space", id, facts: null });
    }
    this.#devices(host, live);
  }

  #space({ of, view }: LiveSpace): void {
    const facts = factsOf(view);
    const text = JSON.stringify(facts);
    const known = this.#spaces.get(of);
    if (known) {
      known.view = view;
      if (known.text === text) return;
      known.text = text;
      this.#event({ k: "space", id: known.id, facts });
      return;
    }
    const id = `space${++this.#spaceCount}`;
    const listener = {
      mapped: (mapping: SpaceMapping) => this.#mapped(id, mapping),
      unmapped: ({ start, last }: IovaRange) => this.#event({ k: "unmap", s: id, a: hex(start), z: hex(last) }),
    };
    this.#spaces.set(of, { id, text, view, end: view.watch(listener) });
    this.#event({ k: "space", id, facts });
    // what the call that made it has mapped already
    for (const mapping of view.from(0n, SLICE)) this.#mapped(id, mapping);
  }

  #devices(host: Host, live: readonly LiveSpace[]): void {
    const spaceOf = new Map(
      live.flatMap(({ of, view }) => view.devices.map((name) => [name, this.#spaces.get(of)!.id] as const)),
    );
    const gone = new Set(this.#deviceTexts.keys());
    for (const group of host.description.groups) {
      for (const device of group.devices) {
        const name = deviceName(device);
        gone.delete(name);
        const facts: DeviceFacts = {
          group: group.id,
          driver: host.binding.driverOf(name) ?? null,
          ids: idsOf(device),
          model: device.model,
          user: host.userOf(name) ?? null,
          space: spaceOf.get(name) ?? null,
        };
        const text = JSON.stringify(facts);
        if (this.#deviceTexts.get(name) === text) continue;
        this.#deviceTexts.set(name, text);
        this.#event({ k: "device", id: name, facts });
      }
    }
    for (const id of gone) {
      this.#deviceTexts.delete(id);
      this.#event({ k: "device", id, facts: null });
    }
  }

  #mapped(s: string, { start, last, read, write }: SpaceMapping): void {
    this.#event({ k: "map", s, a: hex(start), z: hex(last), rw: rightsOf(read, write) });
  }

  #meant(file: FileDescription, id: number | undefined): Known | undefined {
    for (const known of this.#spaces.values()) if (known.view.isMeant(file, id)) return known;
    return undefined;
  }

  #hit(id: string, [first, last]: AddressRange): NamedRange[] {
    const space: SpaceState | undefined = this.state.spaces.get(id);
    return space ? this.state.inTheWay(space, BigInt(first), BigInt(last)) : [];
  }

  #done(
    device: string,
    write: boolean,
    iova: bigint,
    length: number,
    fault: { iova: bigint; reason: string } | undefined,
  ) {
    const last = this.#dma;
    if (!fault && last && !last.fault && last.d === device && last.write === write && isBehind(last, iova)) {
      last.bytes += length;
      last.count++;
      return;
    }
    const s = this.state.devices.get(device)?.space;
    const event: DmaEvent = {
      k: "dma",
      t: this.#now(),
      d: device,
      ...(s && { s }),
      write,
      a: hex(iova),
      bytes: length,
      count: 1,
      ...(fault && { fault: fault.reason, at: hex(fault.iova) }),
    };
    this.#dma = event;
    this.#event(event);
  }

  #raised(device: string, what: string): void {
    const last = this.#interrupt;
    if (last && last.d === device && last.what === what) {
      last.count++;
      return;
    }
    const event: InterruptEvent = { k: "irq", t: this.#now(), d: device, what, count: 1 };
    this.#interrupt = event;
    this.#event(event);
  }

  /** What was told is not added to any more: it is being sent. */
  seal(): void {
    this.#seal();
  }

  #seal(): void {
    this.#dma = undefined;
    this.#interrupt = undefined;
  }

  #event(event: PictureEvent): void {
    this.state.apply(event);
    this.#tell(event);
  }
}

/** Calls that only read or write registers, and those that map, change neither spaces nor who has what. */
function changesSpaces({ name }: ToldCall): boolean {
  return !/^(pread|pwrite|poll|read|write|mmap|w\d+|VFIO_IOMMU_(UN)?MAP_DMA|IOMMU_IOAS_(UN)?MAP|VFIO_IOMMU_DIRTY_PAGES)$/.test(
    name,
  );
}

function isBehind({ a, bytes }: Pick<DmaEvent, "a" | "bytes">, iova: bigint): boolean {
  return BigInt(a) + BigInt(bytes) === iova;
}

function factsOf({ kind, label, owner, valid, taken, devices }: SpaceView): SpaceFacts {
  return {
    kind,
    label,
    owner,
    valid: valid.map(({ start, last }) => [hex(start), hex(last)]),
    taken: taken.map(({ start, last, what, of }) => ({ first: hex(start), last: hex(last), what, of })),
    devices,
  };
}

function idsOf(device: DeviceDescription): string {
  if (device.bus !== "pci") return device.bus;
  const number = (id: number) => id.toString(16).padStart(4, "0");
  return `${number(device.vendor)}:${number(device.device)}`;
}
