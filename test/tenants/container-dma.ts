import { VFIO_GROUP_GET_DEVICE_FD } from "../../src/uapi/vfio.ts";
import { Random } from "../iommu/vtd/guest.ts";
import { checkedRead, checkedWrite } from "./access.ts";
import {
  DATA_END,
  DIRECTORY,
  FIRST_DATA,
  LISTED_PASIDS,
  PAGE,
  pageAddress,
  SCRATCH,
  VIRTUAL,
  VIRTUAL_PAGES,
} from "./area.ts";
import type { ContainerWorld } from "./container-world.ts";
import { type Carrier, DmaDevice, type Request } from "./dma.ts";
import { likelyIndex } from "./likely.ts";
import { type Box, type Group, reach } from "./reference.ts";
import type { Step } from "./steps.ts";
import type { AddressKind, Outcome } from "./translate.ts";

const KINDS: readonly AddressKind[] = ["window", "virtual", "process"];
const DATA_PAGES = DATA_END - FIRST_DATA;

/** What an access is made of. */
export interface DeviceAccess {
  readonly write: boolean;
  readonly pasid: number | undefined;
  readonly ats: boolean;
  readonly byDriver: Request["byDriver"];
  readonly kind: AddressKind;
  readonly index: number;
  readonly slot: number;
}

/** The numbers of a step for an access, and back. */
export function encodeAccess({ write, pasid, ats, byDriver, kind, index, slot }: DeviceAccess): {
  b: number;
  c: number;
} {
  const mode = byDriver ? 3 : pasid === undefined ? 0 : ats ? 2 : 1;
  return {
    b: KINDS.indexOf(kind) + 3 * index + 48 * slot,
    c: Number(write) + 2 * mode + 8 * (byDriver === "pin" ? 1 : (pasid ?? 0)),
  };
}

function decodeAccess(b: number, c: number): DeviceAccess {
  const mode = Math.floor(c / 2) % 4;
  const pasid = mode === 1 || mode === 2 ? Math.floor(c / 8) : undefined;
  const kind = KINDS[b % 3]!;
  const index = Math.floor(b / 3) % 16;
  return {
    write: c % 2 === 1,
    pasid,
    ats: mode === 2,
    byDriver: mode === 3 && (c >= 8 ? "pin" : "copy"),
    kind,
    index: pageIndex(kind, index),
    slot: Math.floor(b / 48) % 2,
  };
}

function pageIndex(kind: AddressKind, index: number): number {
  return kind === "virtual" ? index % VIRTUAL_PAGES : FIRST_DATA + (index % DATA_PAGES);
}

/** Opens devices, has them read and write, and compares with the reference. */
export class ContainerDma {
  readonly #world: ContainerWorld;
  readonly #devices = new Map<Group, DmaDevice>();

  constructor(world: ContainerWorld) {
    this.#world = world;
  }

  open(process: number, group: Group): void {
    if (group.process !== process || group.fd < 0 || group.deviceFd >= 0) return;
    const caller = this.#world.machine.process(process);
    const fd = caller.exchange(group.fd, VFIO_GROUP_GET_DEVICE_FD, new TextEncoder().encode(`${group.device}\0`));
    const isRight = group.box !== undefined && group.box.type !== 0;
    if (!this.#world.expect(fd, isRight ? "ok" : "fails", "open device")) return;
    group.deviceFd = fd;
    this.#devices.set(group, new DmaDevice(caller, fd, group.kind));
  }

  close(group: Group): void {
    this.#world.expect(this.#world.machine.process(group.process).close(group.deviceFd), "ok", "close device");
    group.deviceFd = -1;
    this.forget(group);
  }

  forget(group: Group): void {
    this.#devices.delete(group);
  }

  apply({ a, b, c }: Step): void {
    this.#access(this.#world.group(a), decodeAccess(b, c));
  }

  /** Any device reads or writes anywhere: what others did must not have changed what it reaches. */
  probe(watch: number): void {
    const open = [...this.#devices.keys()];
    const draw = new Random(watch);
    const group = open[draw.below(open.length)];
    if (!group) return;
    const bound = [...(group.box?.bindings.keys() ?? [])];
    const pasid = draw.chance(30) ? undefined : (bound[draw.below(bound.length)] ?? 1 + draw.below(LISTED_PASIDS));
    const isOfProcess = pasid !== undefined && group.box?.bindings.get(pasid)?.kind === "process";
    const kind = pasid === undefined ? "window" : isOfProcess ? "process" : "virtual";
    const isPci = group.kind === "pci";
    this.#access(group, {
      write: draw.chance(30),
      pasid,
      ats: isPci && pasid !== undefined && draw.chance(50),
      byDriver: !isPci && pasid === undefined && draw.pick([false, "copy", "pin"]),
      kind,
      index: pageIndex(kind, likelyIndex(group, kind, draw)),
      slot: draw.below(2),
    });
  }

  /** Every device reads everywhere in every way that it has. */
  sweep(): void {
    for (const group of this.#devices.keys()) {
      const isPci = group.kind === "pci";
      const common = { write: false, ats: false, byDriver: false as const, pasid: undefined };
      const ways: Omit<DeviceAccess, "index" | "kind" | "slot">[] = [
        common,
        ...(isPci ? [] : (["copy", "pin"] as const).map((byDriver) => ({ ...common, byDriver }))),
      ];
      const bound = [...this.#world.boxes].flatMap((box) => [...box.bindings.keys(), ...box.pasids]);
      const pasids = new Set([...bound, ...Array.from({ length: 8 }, (_, index) => index + 1)]);
      for (const pasid of pasids) ways.push({ ...common, pasid }, ...(isPci ? [{ ...common, pasid, ats: true }] : []));
      for (const way of ways) {
        for (const kind of KINDS) {
          for (let index = 0; index < 8; index++)
            this.#access(group, { ...way, kind, index: pageIndex(kind, index), slot: 0 });
        }
      }
    }
  }

  #access(group: Group, access: DeviceAccess): void {
    const device = this.#devices.get(group);
    if (!device) return;
    const { write, pasid, kind, index } = access;
    const byDriver = group.kind !== "pci" && access.byDriver;
    const area = kind === "process" ? this.#world.slots[group.process]![access.slot]! : undefined;
    if (kind === "process" && !this.#world.boxes.has(area!)) return;
    const outcome = this.#expected(group, { ...access, byDriver }, area);
    const address =
      kind === "window" ? pageAddress(index) : kind === "virtual" ? VIRTUAL + index * PAGE : area!.area + index * PAGE;
    const request: Request = { pasid, ats: access.ats && group.kind === "pci", byDriver };
    const where = () =>
      `group ${group.id} of ${group.box?.name ?? "nobody"} ${write ? "writes" : "reads"} ${kind} page ${index} ` +
      `${pasid === undefined ? "without PASID" : `with PASID ${pasid}${request.ats ? " by its own TLB" : ""}`}`;
    const { words } = this.#world;
    const carrier = this.#carrier(group);
    const attempt = { device, request, address, outcome, carrier, writer: group.box!, where };
    const isReached = write ? checkedWrite(words, attempt) : checkedRead(words, attempt);
    this.#world.count(isReached ? (pasid === undefined ? "reached" : "reached by PASID") : "refused");
  }

  #expected(group: Group, access: DeviceAccess, area: Box | undefined): Outcome {
    const { pasid, byDriver, kind, index, write } = access;
    if (group.kind === "plain" && !byDriver) return { places: [], mayFault: true };
    const outcome = reach(group, pasid, { kind, index, area }, write);
    const { box } = group;
    // a remembered entry of an unmapped PASID table leads to the mappings of the same container
    const isListed = box?.table?.groups.has(group) && pasid !== undefined && !box.maps.has(DIRECTORY);
    return isListed ? { ...outcome, mayFault: true } : outcome;
  }

  #carrier(group: Group): Carrier | undefined {
    const { box } = group;
    if (!box?.maps.has(SCRATCH)) return undefined;
    const request = { pasid: undefined, ats: false, byDriver: false as const };
    return { request, at: pageAddress(SCRATCH), memory: box.area + SCRATCH * PAGE };
  }
}
