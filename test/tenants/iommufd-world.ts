import { parseHost } from "../../src/machine/parse-host.ts";
import { Random } from "../iommu/vtd/guest.ts";
import {
  DATA_END,
  FIRST_DATA,
  mappedRun,
  PAGE,
  PAGES,
  pointVirtual,
  SCRATCH,
  VIRTUAL_PAGES,
  writeTables,
} from "./area.ts";
import type { Expected } from "./container-world.ts";
import * as calls from "./iommufd-calls.ts";
import { IommufdChooser } from "./iommufd-chooser.ts";
import { IommufdDma } from "./iommufd-dma.ts";
import { Device, type DeviceFacts, Space, type Table } from "./iommufd-reference.ts";
import type { Machine } from "./machine.ts";
import { sameView } from "./observe.ts";
import { type Step, TenantViolation, type World } from "./steps.ts";
import { Words } from "./words.ts";

const SLOTS = 2;
const LOST_RANGES = /^a replace that failed has taken the reserved ranges of /;
const BACKED = "11111111-0000-0000-0000-000000000001";
const PLAIN = "22222222-0000-0000-0000-00000000000";

/**
 * Three PCI devices with PASIDs; a mediated device with an IOMMU, and two without. The one with an IOMMU has the first PCI device for a parent, which
 * no driver would do: whatever were entered for it in the parent's PASID table, that device's user would see.
 */
export const DEVICES: readonly DeviceFacts[] = [
  ...[1, 2, 3].map((group) => ({ name: `0000:0${group}:00.0`, kind: "pci", group }) as const),
  { name: BACKED, kind: "backed", group: 4 },
  ...[5, 6].map((group) => ({ name: PLAIN + group, kind: "plain", group }) as const),
];
const PARENT = "0000:05:00.0";

export const IOMMUFD_HOST_FILE = [
  "name: tenants",
  'kernel: "7.2"',
  "iommufd: true",
  "iommu: { model: intel-vtd-sm, nesting: true, address_bits: 48 }",
  "groups:",
  ...DEVICES.map(({ name, kind, group }) =>
    kind === "pci"
      ? `  - { id: ${group}, devices: [{ bdf: ${name}, id: "1234:11e8", pasid: true, ats: true }] }`
      : `  - { id: ${group}, devices: [{ uuid: ${name}, parent: ${kind === "backed" ? DEVICES[0]!.name : PARENT}, type: uvfio-sample, iommu_backed: ${kind === "backed"} }] }`,
  ),
  `  - { id: 30, devices: [{ bdf: ${PARENT}, id: "8086:0b25", driver: idxd }] }`,
].join("\n");

export function iommufdDescription() {
  return parseHost(IOMMUFD_HOST_FILE, "tenants.yaml");
}

/** Tenants that share a host through iommufd. */
export class IommufdWorld implements World {
  readonly machine: Machine;
  readonly random: Random;
  readonly words: Words;
  readonly processes: number;
  readonly devices = DEVICES.map((facts) => new Device(facts));
  readonly slots: Space[][] = [];
  readonly spaces = new Set<Space>();
  readonly successes = new Map<string, number>();
  /** Whether a call may fail now that has to succeed: a failure was ordered. */
  excuse: () => boolean = () => false;
  readonly #chooser: IommufdChooser;
  readonly #dma: IommufdDma;
  readonly #touched = new Set<Space>();
  #step = 0;
  #lastResult = 0;

  constructor(machine: Machine, processes: number, seed: number) {
    this.machine = machine;
    this.processes = processes;
    this.random = new Random(seed);
    this.words = new Words(machine);
    for (let process = 0; process < processes; process++) {
      this.slots.push(Array.from({ length: SLOTS }, (_, slot) => new Space(process, slot)));
    }
    this.#chooser = new IommufdChooser(this);
    this.#dma = new IommufdDma(this);
  }

  choose(): Step {
    return this.#chooser.next();
  }

  apply(step: Step): void {
    this.#step++;
    this.#touched.clear();
    this.#lastResult = 0;
    if (step.process >= this.processes) return;
    if (step.op === "dma") this.#dma.apply(step);
    else {
      this.#change(step);
      this.#look(step.watch);
      if (step.watch % 2 === 0) this.#dma.probe(step.watch);
    }
    if (this.#step % 64 === 0) for (const space of this.spaces) this.words.check(space);
  }

  end(): void {
    for (const space of this.spaces) this.words.check(space);
    this.machine.end();
  }

  /** Looks at everything that anybody can see. */
  checkAll(): void {
    for (const space of this.spaces) {
      this.words.check(space);
      if (space.seen && space.fd >= 0) this.#compare(space);
    }
    this.#dma.sweep();
  }

  count(what: string): void {
    this.successes.set(what, (this.successes.get(what) ?? 0) + 1);
  }

  expect(result: number, expected: Expected, what: string): boolean {
    const isOk = result >= 0;
    this.#lastResult = result;
    if (!isOk && this.excuse()) return false;
    if (expected !== "either" && isOk !== (expected === "ok")) {
      const said = isOk ? "succeeded" : `failed (${this.machine.reason || result})`;
      throw new TenantViolation(`${what} ${said}, but has to ${expected === "ok" ? "succeed" : "fail"}`);
    }
    if (isOk) this.count(what);
    return isOk;
  }

  readonly #changes: Readonly<Record<string, (process: number, a: number, b: number, c: number) => void>> = {
    iommufd: (process, slot) => this.#open(process, slot),
    close: (process, slot) => this.#close(this.#space(process, slot)),
    device: (process, a) => this.#openDevice(process, this.#device(a)),
    undevice: (process, a) => this.#closeDevice(process, this.#device(a)),
    bind: (process, a, slot) => this.#bind(process, this.#device(a), this.#space(process, slot)),
    parent: (process, slot) => this.#allocateTable(this.#space(process, slot), "parent"),
    nested: (process, slot) => this.#allocateTable(this.#space(process, slot), "nested"),
    destroy: (process, slot, which) => this.#destroy(this.#space(process, slot), which % 2 === 0 ? "nested" : "parent"),
    attach: (process, a, which) => this.#attach(process, this.#device(a), undefined, which),
    attachPasid: (process, a, which, pasid) => this.#attach(process, this.#device(a), pasid, which),
    detach: (process, a) => this.#detach(process, this.#device(a), undefined),
    detachPasid: (process, a, _, pasid) => this.#detach(process, this.#device(a), pasid),
    map: (process, slot, index, page) => this.#map(this.#space(process, slot), index % PAGES, page),
    unmap: (process, slot, index) => this.#unmap(this.#space(process, slot), index % PAGES),
    unmapAll: (process, slot) => this.#unmapAll(this.#space(process, slot)),
    invalidate: (process, slot) => this.#invalidate(this.#space(process, slot)),
    point: (process, slot, virtual, page) => this.#point(this.#space(process, slot), virtual % VIRTUAL_PAGES, page),
    kill: (process) => this.#kill(process),
  };

  #change({ op, process, a, b, c }: Step): void {
    const change = this.#changes[op];
    if (!change) throw new RangeError(`no step "${op}"`);
    change(process, a, b, c);
  }

  #space(process: number, slot: number): Space {
    const space = this.slots[process]![slot % SLOTS]!;
    this.#touched.add(space);
    return space;
  }

  #device(index: number): Device {
    return this.devices[index % this.devices.length]!;
  }

  /** The address spaces that a step had no part in show what they showed. */
  #look(watch: number): void {
    // the one request that changes something although it fails, as the kernel's does (docs/kernel-defects.md)
    const isLost = this.machine.takeWarnings().some((message) => LOST_RANGES.test(message));
    for (const space of this.#touched) {
      const view = this.#view(space);
      if (this.#lastResult < 0 && !isLost && space.seen && view && !sameView(space.seen, view)) {
        throw new TenantViolation(`a request that failed (${this.machine.reason}) changed what ${space.name} shows`);
      }
      space.seen = view;
    }
    const others = [...this.spaces].filter((space) => space.seen && space.fd >= 0 && !this.#touched.has(space));
    const other = others[watch % Math.max(1, others.length)];
    if (other) this.#compare(other);
  }

  #compare(space: Space): void {
    if (sameView(space.seen!, this.#view(space)!)) return;
    throw new TenantViolation(`${space.name} shows something else than before, and had no part in it`);
  }

  #view({ process, fd, ioas, area }: Space): readonly Uint8Array[] | undefined {
    return fd < 0 ? undefined : calls.spaceView(this.machine.process(process), fd, ioas, area);
  }

  #open(process: number, slot: number): void {
    let space = this.#space(process, slot);
    if (space.fd >= 0) return;
    if (this.spaces.has(space)) {
      space = new Space(process, slot % SLOTS);
      this.slots[process]![slot % SLOTS] = space;
      this.#touched.add(space);
    }
    const caller = this.machine.process(process);
    const fd = caller.open("/dev/iommu");
    if (!this.expect(fd, "ok", "open iommufd")) return;
    const ioas = calls.allocateSpace(caller, fd);
    this.expect(ioas, "ok", "IOAS_ALLOC");
    space.fd = fd;
    space.ioas = ioas;
    space.area = caller.allocate(PAGES * PAGE);
    writeTables(caller, space.area);
    space.leaves.fill(-1);
    this.words.fill(space);
    this.spaces.add(space);
    this.#map(space, SCRATCH, 0);
  }

  #close(space: Space): void {
    if (space.fd < 0) return;
    this.expect(this.machine.process(space.process).close(space.fd), "ok", "close iommufd");
    space.fd = -1;
    this.#bury(space);
  }

  /** Devices keep an iommufd after its descriptor is closed. */
  #bury(space: Space): void {
    if (space.fd >= 0 || space.devices.size > 0) return;
    this.spaces.delete(space);
    if (this.slots[space.process]![space.slot] === space) {
      this.slots[space.process]![space.slot] = new Space(space.process, space.slot);
    }
  }

  #openDevice(process: number, device: Device): void {
    if (device.process >= 0) return;
    const fd = this.machine.process(process).open(device.node);
    if (!this.expect(fd, "ok", "open device")) return;
    device.process = process;
    device.fd = fd;
  }

  #closeDevice(process: number, device: Device): void {
    if (device.process !== process) return;
    this.expect(this.machine.process(process).close(device.fd), "ok", "close device");
    this.#forget(device);
  }

  #forget(device: Device): void {
    this.#dma.forget(device);
    const { space } = device;
    device.process = -1;
    device.fd = -1;
    device.space = undefined;
    device.plain = undefined;
    device.pasids.clear();
    if (!space) return;
    this.#touched.add(space);
    space.devices.delete(device);
    this.#bury(space);
  }

  #bind(process: number, device: Device, space: Space): void {
    if (device.process !== process || space.fd < 0) return;
    const id = calls.bindDevice(this.machine.process(process), device.fd, space.fd);
    if (!this.expect(id, device.space ? "fails" : "ok", "BIND_IOMMUFD")) return;
    device.id = id;
    device.space = space;
    space.devices.add(device);
    this.#dma.opened(device);
  }

  #allocateTable(space: Space, table: "parent" | "nested"): void {
    const device = [...space.devices].find(({ kind }) => kind === "pci");
    if (space.fd < 0 || !device || space[table] !== 0) return;
    const caller = this.machine.process(space.process);
    const isNested = table === "nested";
    if (isNested && space.parent === 0) return;
    const id = isNested
      ? calls.allocateNested(caller, space.fd, device.id, space.parent, space.area)
      : calls.allocateParent(caller, space.fd, device.id, space.ioas);
    if (!this.expect(id, "ok", `HWPT_ALLOC of the ${table} table`)) return;
    space[table] = id;
    if (isNested) space.forgetOld();
  }

  #destroy(space: Space, table: "parent" | "nested"): void {
    if (space.fd < 0 || space[table] === 0) return;
    const isUsed = space.uses(table) || (table === "parent" && space.nested !== 0);
    const result = calls.destroyObject(this.machine.process(space.process), space.fd, space[table]);
    if (this.expect(result, isUsed ? "fails" : "ok", "DESTROY")) space[table] = 0;
  }

  #attach(process: number, device: Device, pasid: number | undefined, which: number): void {
    const { space, kind } = device;
    if (device.process !== process || !space) return;
    this.#touched.add(space);
    const table: Table = kind === "plain" ? "space" : which % 2 === 0 ? "parent" : "nested";
    const id = table === "space" ? space.ioas : space[table];
    if (id === 0) return;
    const result = calls.attachDevice(this.machine.process(process), device.fd, id, pasid);
    // a mediated device with an IOMMU may be attached, without effect: nothing of its own makes requests
    const expected =
      kind === "pci" || (kind === "plain" && pasid === undefined) ? "ok" : kind === "plain" ? "fails" : "either";
    const what = pasid === undefined ? "ATTACH_IOMMUFD_PT" : "ATTACH_IOMMUFD_PT with a PASID";
    if (!this.expect(result, expected, what)) return;
    if (pasid === undefined) device.plain = table;
    else device.pasids.set(pasid, table);
  }

  /** What is not attached is no error. */
  #detach(process: number, device: Device, pasid: number | undefined): void {
    if (device.process !== process || !device.space) return;
    this.#touched.add(device.space);
    const result = calls.detachDevice(this.machine.process(process), device.fd, pasid);
    const what = pasid === undefined ? "DETACH_IOMMUFD_PT" : "DETACH_IOMMUFD_PT with a PASID";
    if (!this.expect(result, device.kind === "pci" || pasid === undefined ? "ok" : "either", what)) return;
    if (pasid === undefined) device.plain = undefined;
    else device.pasids.delete(pasid);
  }

  #map(space: Space, index: number, c: number): void {
    if (space.fd < 0) return;
    const { first, count } = mappedRun(index);
    const page = first >= FIRST_DATA && first < DATA_END ? FIRST_DATA + (c % 8) : first;
    const memory = space.area + page * PAGE;
    const result = calls.mapPages(this.machine.process(space.process), space.fd, space.ioas, { first, count, memory });
    if (!this.expect(result, space.maps.has(first) ? "fails" : "ok", "IOAS_MAP")) return;
    for (let at = 0; at < count; at++) space.maps.set(first + at, { page: page + at, write: true });
  }

  #unmap(space: Space, index: number): void {
    if (space.fd < 0 || index === SCRATCH) return;
    const run = mappedRun(index);
    const result = calls.unmapPages(this.machine.process(space.process), space.fd, space.ioas, run);
    if (!this.expect(result, space.maps.has(run.first) ? "ok" : "fails", "IOAS_UNMAP")) return;
    for (let at = run.first; at < run.first + run.count; at++) space.maps.delete(at);
  }

  #unmapAll(space: Space): void {
    if (space.fd < 0) return;
    this.expect(calls.unmapPages(this.machine.process(space.process), space.fd, space.ioas), "ok", "IOAS_UNMAP");
    space.maps.clear();
    this.#map(space, SCRATCH, 0);
  }

  #invalidate(space: Space): void {
    if (space.fd < 0 || space.nested === 0) return;
    const caller = this.machine.process(space.process);
    this.expect(calls.invalidateNested(caller, space.fd, space.nested, space.area), "ok", "HWPT_INVALIDATE");
    space.forgetOld();
  }

  #point(space: Space, virtual: number, page: number): void {
    if (space.area === 0) return;
    const leaf = page % 10 < 8 ? FIRST_DATA + (page % 10) : -1;
    pointVirtual(this.machine.process(space.process), space.area, virtual, leaf);
    space.leaves[virtual] = leaf;
    space.remembered[virtual]?.add(leaf);
  }

  #kill(process: number): void {
    const held = this.devices.filter((device) => device.process === process);
    this.machine.kill(
      process,
      // the group is refused as long as its device is somebody's, the device's own node is not
      held.map((device) => `/dev/vfio/${device.group}`),
    );
    for (const device of held) this.#forget(device);
    for (const space of [...this.spaces]) {
      if (space.process !== process) continue;
      space.fd = -1;
      this.spaces.delete(space);
    }
    this.slots[process] = Array.from({ length: SLOTS }, (_, slot) => new Space(process, slot));
    this.count("kill");
  }
}
