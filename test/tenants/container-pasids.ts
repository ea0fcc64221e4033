import { DIRECTORY } from "./area.ts";
import type { ContainerWorld, Expected } from "./container-world.ts";
import type { Box } from "./reference.ts";

/** The range that PASIDs are allocated from: small, so that tenants and the host's own meet in it. */
export const PASIDS = 64;
/** With so many held a refusal is no surprise. */
const CROWDED = 40;

/** Allocations, bindings and invalidations of the proposals. */
export class ContainerPasids {
  readonly #world: ContainerWorld;

  constructor(world: ContainerWorld) {
    this.#world = world;
  }

  apply(op: string, box: Box, pasid: number): void {
    const step = this.#steps[op];
    if (!step) throw new RangeError(`no step "${op}"`);
    if (box.fd >= 0) step(box, pasid);
  }

  readonly #steps: Readonly<Record<string, (box: Box, pasid: number) => void>> = {
    alloc: (box) => this.#allocate(box),
    free: (box, pasid) => this.#free(box, pasid),
    bind: (box, pasid) => this.#bind(box, pasid, "guest"),
    bindProcess: (box, pasid) => this.#bind(box, pasid, "process"),
    bindTable: (box) => this.#bindTable(box),
    unbindTable: (box) => this.#unbindTable(box),
    unbind: (box, pasid) => this.#unbind(box, pasid),
    invalidate: (box, pasid) => this.#invalidate(box, pasid),
  };

  /** A PASID of a process is free again: nothing is bound to it any more. */
  forget(process: number, pasid: number): void {
    for (const box of this.#boxesOf(process)) {
      box.pasids.delete(pasid);
      if (this.#world.dialect.allocate) box.bindings.delete(pasid);
    }
  }

  #boxesOf(process: number): Box[] {
    return [...this.#world.boxes].filter((box) => box.process === process);
  }

  #holder(pasid: number): Box | undefined {
    return [...this.#world.boxes].find((box) => box.pasids.has(pasid));
  }

  #isOurs(box: Box): boolean {
    return box.type !== 0 && box.type === this.#world.dialect.type;
  }

  #allocate(box: Box): void {
    const { dialect, machine, boxes } = this.#world;
    if (!dialect.allocate) return;
    const held = [...boxes].reduce((sum, { pasids }) => sum + pasids.size, 0);
    const result = dialect.allocate(machine.process(box.process), box.fd, 1, PASIDS);
    const expected = this.#isOurs(box) ? (held > CROWDED ? "either" : "ok") : "fails";
    if (!this.#world.expect(result, expected, "allocate")) return;
    const holder = this.#holder(result);
    if (holder) this.#world.expect(result, "fails", `allocate gave PASID ${result}, which ${holder.name} has: that`);
    box.pasids.add(result);
  }

  /** Also numbers that are somebody else's. */
  #free(box: Box, pasid: number): void {
    const { dialect, machine } = this.#world;
    if (!dialect.free) return;
    const isHeld = this.#boxesOf(box.process).some(({ pasids }) => pasids.has(pasid));
    const result = dialect.free(machine.process(box.process), box.fd, pasid);
    if (!this.#world.expect(result, this.#isOurs(box) ? (isHeld ? "ok" : "either") : "fails", "free")) return;
    if (isHeld) this.forget(box.process, pasid);
  }

  #bind(box: Box, pasid: number, kind: "guest" | "process"): void {
    const { dialect, machine } = this.#world;
    const call = kind === "guest" ? dialect.bind : dialect.bindProcess;
    if (!call) return;
    const result = call(machine.process(box.process), box.fd, pasid);
    if (!this.#world.expect(result, this.#expectedBind(box, pasid), kind === "guest" ? "bind" : "bind process")) return;
    box.bindings.set(pasid, box.newBinding(kind));
  }

  #expectedBind(box: Box, pasid: number): Expected {
    if (!this.#isOurs(box) || box.hasPlain || box.bindings.has(pasid) || box.table) return "fails";
    const { dialect } = this.#world;
    if (!dialect.allocate) return this.#world.meetsParent(box.groups) ? "either" : "ok";
    const ours = this.#boxesOf(box.process);
    if (!ours.some(({ pasids }) => pasids.has(pasid))) return "fails";
    // one number of the host's on one parent: two containers of a process cannot both have it
    const requesters = [...box.groups].map(({ requester }) => requester);
    const meets = ours.some((other) =>
      [...(other.bindings.get(pasid)?.groups ?? [])].some(({ requester }) => requesters.includes(requester)),
    );
    if (meets) return "fails";
    // nor a parent and a mediated device of it in one container
    const hasBoth = [...box.groups].some(
      ({ kind, requester }) => kind === "pci" && requesters.filter((each) => each === requester).length > 1,
    );
    return hasBoth ? "either" : "ok";
  }

  #bindTable(box: Box): void {
    const { dialect, machine } = this.#world;
    if (!dialect.bindTable) return;
    const isRight = this.#isOurs(box) && !box.hasMediated && box.bindings.size === 0 && !box.table;
    const result = dialect.bindTable(machine.process(box.process), box.fd, DIRECTORY, false);
    const fine = this.#world.meetsParent(box.groups) ? "either" : "ok";
    if (this.#world.expect(result, isRight ? fine : "fails", "bind table")) box.table = box.newBinding("guest");
  }

  #unbindTable(box: Box): void {
    const { dialect, machine } = this.#world;
    if (!dialect.bindTable) return;
    const result = dialect.bindTable(machine.process(box.process), box.fd, DIRECTORY, true);
    if (this.#world.expect(result, box.table ? "ok" : "either", "unbind table")) box.table = undefined;
  }

  #unbind(box: Box, pasid: number): void {
    const { dialect, machine } = this.#world;
    const result = dialect.unbind(machine.process(box.process), box.fd, pasid);
    const isBound = box.bindings.has(pasid);
    if (!this.#world.expect(result, isBound ? "ok" : "either", isBound ? "unbind" : "unbind of nothing")) return;
    box.bindings.delete(pasid);
  }

  /** What is bound can be invalidated, whoever has joined since. */
  #invalidate(box: Box, pasid: number): void {
    const { dialect, machine } = this.#world;
    const bound = pasid === 0 ? box.allBindings : [box.bindings.get(pasid)].filter((each) => each !== undefined);
    const result = dialect.invalidate(machine.process(box.process), box.fd, pasid);
    const isOwn = bound.length > 0;
    if (!this.#world.expect(result, isOwn ? "ok" : "either", isOwn ? "invalidate" : "invalidate nothing")) return;
    for (const { leaves } of bound) {
      for (const [virtual, page] of box.leaves.entries()) leaves[virtual] = new Set([page]);
    }
  }
}
