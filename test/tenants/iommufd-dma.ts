import { Random } from "../iommu/vtd/guest.ts";
import { checkedRead, checkedWrite } from "./access.ts";
import { DATA_END, FIRST_DATA, PAGE, pageAddress, SCRATCH, VIRTUAL, VIRTUAL_PAGES } from "./area.ts";
import { type Carrier, DmaDevice } from "./dma.ts";
import { type Device, reachSpace, type Table } from "./iommufd-reference.ts";
import type { IommufdWorld } from "./iommufd-world.ts";
import type { Step } from "./steps.ts";

const DATA_PAGES = DATA_END - FIRST_DATA;

/** One access: its numbers in a step are b = virtual + 2 * index, c = write + 2 * ats + 4 * (PASID + 1, or 0). */
export interface SpaceAccess {
  readonly write: boolean;
  readonly ats: boolean;
  readonly pasid: number | undefined;
  readonly kind: "window" | "virtual";
  readonly index: number;
}

export function encodeSpaceAccess({ write, ats, pasid, kind, index }: SpaceAccess): { b: number; c: number } {
  return {
    b: Number(kind === "virtual") + 2 * index,
    c: Number(write) + 2 * Number(ats) + 4 * (pasid === undefined ? 0 : pasid + 1),
  };
}

function decode(b: number, c: number): SpaceAccess {
  const pasid = Math.floor(c / 4);
  return {
    write: c % 2 === 1,
    ats: c % 4 > 1,
    pasid: pasid === 0 ? undefined : pasid - 1,
    kind: b % 2 === 1 ? "virtual" : "window",
    index: Math.floor(b / 2) % VIRTUAL_PAGES,
  };
}

/** An access of a device that reaches something, mostly. */
export function likelyAccess(device: Device, random: Random): SpaceAccess {
  const { space, pasids, plain, kind: isA } = device;
  const attached = [...pasids];
  const isPlain = isA !== "pci" || attached.length === 0 || random.chance(30);
  const [pasid, table]: readonly [number | undefined, Table | undefined] = isPlain
    ? random.chance(85)
      ? [undefined, plain]
      : [1 + random.below(6), undefined]
    : random.pick(attached);
  const isVirtual = table === "nested" ? random.chance(95) : random.chance(10);
  const from = random.below(VIRTUAL_PAGES);
  let index = from;
  for (let step = 0; step < DATA_PAGES && space && random.chance(97); step++) {
    index = (from + step) % DATA_PAGES;
    if (space.maps.has(isVirtual ? space.leaves[index]! : FIRST_DATA + index)) break;
  }
  return { write: random.chance(35), ats: random.chance(50), pasid, kind: isVirtual ? "virtual" : "window", index };
}

/** Devices of iommufds read and write, and are compared with the reference. */
export class IommufdDma {
  readonly #world: IommufdWorld;
  readonly #devices = new Map<Device, DmaDevice>();

  constructor(world: IommufdWorld) {
    this.#world = world;
  }

  /** A device file does nothing before it is bound. */
  opened(device: Device): void {
    this.#devices.set(device, new DmaDevice(this.#world.machine.process(device.process), device.fd, device.kind));
  }

  forget(device: Device): void {
    this.#devices.delete(device);
  }

  apply({ a, b, c }: Step): void {
    this.#access(this.#world.devices[a % this.#world.devices.length]!, decode(b, c));
  }

  probe(watch: number): void {
    const draw = new Random(watch);
    const open = [...this.#devices.keys()];
    if (open.length === 0) return;
    const device = draw.pick(open);
    this.#access(device, likelyAccess(device, draw));
  }

  /** Every device reads everywhere in every way that it has. */
  sweep(): void {
    for (const device of this.#devices.keys()) {
      for (const pasid of [undefined, 1, 2, 3, 4, 5, 6, 7]) {
        for (const kind of ["window", "virtual"] as const) {
          for (let index = 0; index < VIRTUAL_PAGES; index++) {
            for (const ats of [false, true]) this.#access(device, { write: false, ats, pasid, kind, index });
          }
        }
      }
    }
  }

  #access(device: Device, { write, ats, pasid, kind, index }: SpaceAccess): void {
    const driven = this.#devices.get(device);
    if (!driven) return;
    const at = { kind, index: kind === "window" ? FIRST_DATA + index : index };
    const isPci = device.kind === "pci";
    // without a PASID of its own a mediated device has only its driver to copy for it
    const request = {
      pasid,
      ats: ats && isPci && pasid !== undefined,
      byDriver: !isPci && pasid === undefined && (ats ? "pin" : "copy"),
    } as const;
    const attempt = {
      device: driven,
      request,
      address: kind === "window" ? pageAddress(at.index) : VIRTUAL + index * PAGE,
      outcome: reachSpace(device, pasid, at, write),
      carrier: isPci ? carrierOf(device) : undefined,
      writer: device.space!,
      where: () =>
        `${device.name} of ${device.space!.name} ${write ? "writes" : "reads"} ${kind} page ${at.index} ` +
        `${pasid === undefined ? "without PASID" : `with PASID ${pasid}`}`,
    };
    const { words } = this.#world;
    const isReached = write ? checkedWrite(words, attempt) : checkedRead(words, attempt);
    this.#world.count(isReached ? (pasid === undefined ? "reached" : "reached by PASID") : "refused");
  }
}

/** Whatever the device is attached to may lead to the page that it shows things in. */
function carrierOf({ plain, pasids, space }: Device): Carrier | undefined {
  const ways: readonly (readonly [number | undefined, Table | undefined])[] = [[undefined, plain], ...pasids];
  const memory = space!.area + SCRATCH * PAGE;
  for (const [pasid, table] of ways) {
    if (table === undefined || (table === "nested" && !space!.maps.has(0))) continue;
    const at = table === "nested" ? VIRTUAL + VIRTUAL_PAGES * PAGE : pageAddress(SCRATCH);
    return { request: { pasid, ats: false, byDriver: false }, at, memory };
  }
  return undefined;
}
