import { parseHost } from "../../src/machine/parse-host.ts";
import { viewOf } from "../../src/uapi/layout.ts";
import * as vfio from "../../src/uapi/vfio.ts";
import { Random } from "../iommu/vtd/guest.ts";
import { PAGE, PAGES, pointVirtual, SCRATCH, VIRTUAL_PAGES, writeTables } from "./area.ts";
import { ContainerChooser } from "./container-chooser.ts";
import { ContainerDma } from "./container-dma.ts";
import { ContainerMemory } from "./container-memory.ts";
import { ContainerPasids } from "./container-pasids.ts";
import type { Dialect } from "./dialect.ts";
import type { Machine } from "./machine.ts";
import { observe, sameView } from "./observe.ts";
import { Box, Group, type GroupFacts } from "./reference.ts";
import { type Step, TenantViolation, type World } from "./steps.ts";
import { Words } from "./words.ts";

export const SLOTS = 2;

const BACKED = "11111111-0000-0000-0000-00000000000";
const PLAIN = "22222222-0000-0000-0000-00000000000";

/**
 * Two PCI devices; three mediated ones of one parent and one of another, all IOMMU-backed; two that are not; and the second parent, which programs can
 * have too.
 */
export const GROUPS: readonly GroupFacts[] = [
  ...[3, 4].map((id) => ({ id, kind: "pci", device: `0000:0${id}:00.0`, requester: `0000:0${id}:00.0` }) as const),
  ...[11, 12, 13].map((id) => ({ id, kind: "backed", device: BACKED + (id - 10), requester: "0000:05:00.0" }) as const),
  { id: 14, kind: "backed", device: `${BACKED}4`, requester: "0000:06:00.0" },
  ...[20, 21].map((id) => ({ id, kind: "plain", device: PLAIN + (id - 20), requester: "0000:05:00.0" }) as const),
  { id: 6, kind: "pci", device: "0000:06:00.0", requester: "0000:06:00.0" },
];

/** The host file of all worlds with containers. */
export function hostFile(api: string): string {
  const line = ({ id, kind, device, requester }: GroupFacts) => {
    const facts =
      kind === "pci"
        ? `bdf: ${device}, id: "1234:11e8", pasid: true, ats: true`
        : `uuid: ${device}, parent: ${requester}, type: uvfio-sample, iommu_backed: ${kind === "backed"}`;
    return `  - { id: ${id}, devices: [{ ${facts} }] }`;
  };
  const parent = '  - { id: 5, devices: [{ bdf: 0000:05:00.0, id: "8086:0b25", driver: idxd }] }';
  return [
    "name: tenants",
    `api: ${api}`,
    "iommu: { model: intel-vtd-sm, address_bits: 48 }",
    "groups:",
    parent,
    ...GROUPS.map(line),
  ].join("\n");
}

export function hostDescription(api: string) {
  return parseHost(hostFile(api), "tenants.yaml");
}

export type Expected = "ok" | "fails" | "either";

/** Tenants that share a host through containers. */
export class ContainerWorld implements World {
  readonly dialect: Dialect;
  readonly machine: Machine;
  readonly random: Random;
  readonly words: Words;
  readonly processes: number;
  readonly groups = GROUPS.map((facts) => new Group(facts));
  /** By process and slot: the container that is open there, or the one that will be. */
  readonly slots: Box[][] = [];
  /** All containers that are alive: open, or with groups. */
  readonly boxes = new Set<Box>();
  readonly successes = new Map<string, number>();
  /** Whether a call may fail now that has to succeed: a failure was ordered. */
  excuse: () => boolean = () => false;
  readonly #chooser: ContainerChooser;
  readonly #dma: ContainerDma;
  readonly #memory: ContainerMemory;
  readonly #pasids: ContainerPasids;
  /** Containers that the step in hand may change. */
  readonly #touched = new Set<Box>();
  #step = 0;
  #lastResult = 0;

  constructor(dialect: Dialect, machine: Machine, processes: number, seed: number) {
    this.dialect = dialect;
    this.machine = machine;
    this.processes = processes;
    this.random = new Random(seed);
    this.words = new Words(machine);
    for (let process = 0; process < processes; process++) {
      this.slots.push(Array.from({ length: SLOTS }, (_, slot) => new Box(process, slot)));
    }
    this.#chooser = new ContainerChooser(this);
    this.#dma = new ContainerDma(this);
    this.#memory = new ContainerMemory(this);
    this.#pasids = new ContainerPasids(this);
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
      this.#look(step);
    }
    if (this.#step % 64 === 0) for (const box of this.boxes) this.words.check(box);
  }

  end(): void {
    for (const box of this.boxes) this.words.check(box);
    this.machine.end();
  }

  /** Looks at everything that anybody can see. */
  checkAll(): void {
    for (const group of this.groups) this.#checkStatus(group);
    for (const box of this.boxes) {
      this.words.check(box);
      if (box.seen && box.fd >= 0) this.#compare(box);
    }
    this.#dma.sweep();
  }

  /** The container in a slot. Whoever asks may change it. */
  box(process: number, slot: number): Box {
    const box = this.slots[process]![slot % SLOTS]!;
    this.#touched.add(box);
    return box;
  }

  /** Whether a parent that a program has and a mediated device of it are both attached: what one of them has the other cannot have. */
  meetsParent(groups: Iterable<Group>): boolean {
    for (const group of groups) {
      for (const other of this.groups) {
        const isAttached =
          other !== group && other.box !== undefined && (other.box.type !== 0 || other.box === group.box);
        if (isAttached && other.requester === group.requester && (other.kind === "pci" || group.kind === "pci"))
          return true;
      }
    }
    return false;
  }

  /** Where guests choose numbers, a parent's user may have his own PASID table, or a number that a mediated device would get. */
  #mayMeet(groups: Iterable<Group>): boolean {
    return !this.dialect.allocate && this.meetsParent(groups);
  }

  group(index: number): Group {
    return this.groups[index % this.groups.length]!;
  }

  touch(box: Box): void {
    this.#touched.add(box);
  }

  /** Compares a result with what has to come out. Whether the call succeeded. */
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

  count(what: string): void {
    this.successes.set(what, (this.successes.get(what) ?? 0) + 1);
  }

  readonly #changes: Readonly<Record<string, (process: number, a: number, b: number, c: number) => void>> = {
    box: (process, slot) => this.#openBox(process, slot),
    unbox: (process, slot) => this.#closeBox(this.box(process, slot)),
    group: (process, group) => this.#openGroup(process, this.group(group)),
    ungroup: (process, group) => this.#closeGroup(process, this.group(group)),
    join: (process, group, slot) => this.#join(process, this.group(group), slot),
    type: (process, slot, which) => this.#setIommu(this.box(process, slot), which),
    leave: (process, group) => this.#leave(process, this.group(group)),
    device: (process, group) => this.#dma.open(process, this.group(group)),
    undevice: (process, group) => this.#closeDevice(process, this.group(group)),
    point: (process, slot, virtual, page) => this.#point(this.box(process, slot), virtual % VIRTUAL_PAGES, page),
    kill: (process) => this.#kill(process),
  };

  #change({ op, process, a, b, c }: Step): void {
    const change = this.#changes[op];
    if (change) change(process, a, b, c);
    else if (!this.#memory.apply(op, this.box(process, a), b, c)) this.#pasids.apply(op, this.box(process, a), b);
  }

  /** What the step's own containers show is remembered, and one of the others has to show what it showed before. */
  #look({ watch }: Step): void {
    for (const box of this.#touched) {
      const view = observe(this, box);
      if (this.#lastResult < 0 && box.seen && view && !sameView(box.seen, view)) {
        throw new TenantViolation(`a request that failed (${this.machine.reason}) changed what ${box.name} shows`);
      }
      box.seen = view;
    }
    const others = [...this.boxes].filter((box) => box.seen && box.fd >= 0 && !this.#touched.has(box));
    const other = others[watch % Math.max(1, others.length)];
    if (other) this.#compare(other);
    this.#checkStatus(this.group(watch));
    if (watch % 2 === 0) this.#dma.probe(watch);
  }

  #compare(box: Box): void {
    if (sameView(box.seen!, observe(this, box)!)) return;
    throw new TenantViolation(`${box.name} shows something else than before, and had no part in it`);
  }

  #checkStatus(group: Group): void {
    if (group.fd < 0) return;
    const bytes = vfio.VfioGroupStatus.encode({ argsz: vfio.VfioGroupStatus.size });
    this.machine.process(group.process).exchange(group.fd, vfio.VFIO_GROUP_GET_STATUS, bytes);
    const { flags } = vfio.VfioGroupStatus.decode(bytes);
    const right = group.box ? 3 : 1;
    if (flags !== right) throw new TenantViolation(`group ${group.id} has the status ${flags}, not ${right}`);
  }

  #openBox(process: number, slot: number): void {
    let box = this.box(process, slot);
    if (box.fd >= 0) return;
    // the groups of one that was closed keep it alive
    if (this.boxes.has(box)) {
      box = new Box(process, slot % SLOTS);
      this.slots[process]![slot % SLOTS] = box;
      this.touch(box);
    }
    const caller = this.machine.process(process);
    const fd = caller.open("/dev/vfio/vfio");
    if (!this.expect(fd, "ok", "open container")) return;
    box.fd = fd;
    if (box.area === 0) {
      box.area = caller.allocate(PAGES * PAGE);
      writeTables(caller, box.area);
      this.words.fill(box);
    }
    this.boxes.add(box);
  }

  #closeBox(box: Box): void {
    if (box.fd < 0) return;
    this.expect(this.machine.process(box.process).close(box.fd), "ok", "close container");
    box.fd = -1;
    box.seen = undefined;
    this.#bury(box);
  }

  #bury(box: Box): void {
    if (box.fd < 0 && box.groups.size === 0) this.boxes.delete(box);
  }

  #openGroup(process: number, group: Group): void {
    const fd = this.machine.process(process).open(group.path);
    if (!this.expect(fd, group.process >= 0 ? "fails" : "ok", "open group")) return;
    group.process = process;
    group.fd = fd;
  }

  #closeGroup(process: number, group: Group): void {
    if (group.process !== process || group.fd < 0) return;
    if (group.box) this.touch(group.box);
    this.expect(this.machine.process(process).close(group.fd), "ok", "close group");
    group.fd = -1;
    this.#released(group);
  }

  #closeDevice(process: number, group: Group): void {
    if (group.process !== process || group.deviceFd < 0) return;
    if (group.box) this.touch(group.box);
    this.#dma.close(group);
    this.#released(group);
  }

  /** The last file of a group takes it out of its container. */
  #released(group: Group): void {
    if (group.fd >= 0 || group.deviceFd >= 0) return;
    group.process = -1;
    this.#left(group);
  }

  #join(process: number, group: Group, slot: number): void {
    const box = this.box(process, slot);
    if (group.process !== process || group.fd < 0 || box.fd < 0) return;
    const bytes = new Uint8Array(4);
    viewOf(bytes).setInt32(0, box.fd, true);
    const isFull = this.dialect.api === "vsva-v7" && box.type === this.dialect.type && box.groups.size > 0;
    const result = this.machine.process(process).exchange(group.fd, vfio.VFIO_GROUP_SET_CONTAINER, bytes);
    const fine = this.#mayMeet([group]) ? "either" : "ok";
    if (!this.expect(result, group.box || isFull ? "fails" : fine, "join")) return;
    group.box = box;
    box.groups.add(group);
  }

  #setIommu(box: Box, which: number): void {
    if (box.fd < 0) return;
    const type = which % 8 === 0 ? vfio.VFIO_TYPE1v2_IOMMU : this.dialect.type;
    const isFull = this.dialect.api === "vsva-v7" && type === this.dialect.type && box.groups.size > 1;
    const isWrong = box.groups.size === 0 || box.type !== 0 || isFull;
    const result = this.machine.process(box.process).ioctl(box.fd, vfio.VFIO_SET_IOMMU, type);
    const fine = this.#mayMeet(box.groups) ? "either" : "ok";
    if (!this.expect(result, isWrong ? "fails" : fine, "SET_IOMMU")) return;
    box.type = type;
    this.#memory.apply("map", box, SCRATCH, 0);
  }

  #leave(process: number, group: Group): void {
    if (group.process !== process || group.fd < 0) return;
    if (group.box) this.touch(group.box);
    const result = this.machine.process(process).ioctl(group.fd, vfio.VFIO_GROUP_UNSET_CONTAINER);
    const isRight = group.box && group.deviceFd < 0;
    if (this.expect(result, isRight ? "ok" : "fails", "leave")) this.#left(group);
  }

  /** What is bound for a group goes with it; what was allocated through a container goes with its last group. */
  #left(group: Group): void {
    const { box } = group;
    if (!box) return;
    group.box = undefined;
    box.groups.delete(group);
    for (const [pasid, binding] of box.bindings) {
      binding.groups.delete(group);
      if (binding.groups.size === 0) box.bindings.delete(pasid);
    }
    box.table?.groups.delete(group);
    if (box.table?.groups.size === 0) box.table = undefined;
    if (box.groups.size > 0) return;
    for (const pasid of box.pasids) this.#pasids.forget(box.process, pasid);
    box.reset();
    this.#bury(box);
  }

  /** The guest changes its table: old and new may answer until it invalidates. */
  #point(box: Box, virtual: number, page: number): void {
    if (box.area === 0 || !this.boxes.has(box)) return;
    const leaf = page % 10 < 8 ? 4 + (page % 10) : -1;
    pointVirtual(this.machine.process(box.process), box.area, virtual, leaf);
    box.leaves[virtual] = leaf;
    for (const { leaves } of box.allBindings) leaves[virtual]!.add(leaf);
  }

  #kill(process: number): void {
    const held = this.groups.filter((group) => group.process === process);
    this.machine.kill(
      process,
      held.map(({ path }) => path),
    );
    for (const group of held) {
      group.fd = -1;
      group.deviceFd = -1;
      this.#dma.forget(group);
      this.#released(group);
    }
    for (const box of [...this.boxes]) {
      if (box.process !== process) continue;
      box.fd = -1;
      this.boxes.delete(box);
    }
    this.slots[process] = Array.from({ length: SLOTS }, (_, slot) => new Box(process, slot));
    this.count("kill");
  }
}
