import { expect, test } from "vitest";
import { Random } from "../iommu/vtd/guest.ts";
import { ABLE, GPA, NestingLab, PAGES, PLAIN, page, RWU } from "./nesting-lab.ts";

const [NEST_PARENT, DIRTY, PASID_FLAG] = [1, 2, 8];
const PAGE = 4096;
const BUFFER_VALUE = 0x77n;
/** With these the able device is attached; 0 is without one. */
const PASIDS = [0, 5, 6] as const;

/** A page table as the rules have it. */
interface Table {
  readonly space: number;
  readonly parent: number | undefined;
  readonly isParent: boolean;
  readonly takesPasids: boolean;
}

test.each([1, 2, 3])("random calls answer as the rules say, and DMA goes where they lead (seed %d)", (seed) => {
  const random = new Random(seed);
  const lab = new NestingLab();
  // a second address space with memory and tables of its own
  const other = lab.memory(PAGES * PAGE);
  for (let level = 0; level < 3; level++) lab.poke(other + level * PAGE, page(level + 1) | RWU);
  lab.poke(other + 3 * PAGE, page(4) | RWU);
  const spaces = [
    { id: lab.space, memory: lab.guest },
    { id: lab.ioas(lab.iommu), memory: other },
  ];
  lab.mapIoas(lab.iommu, spaces[1]!.id, other, BigInt(PAGES * PAGE), { iova: GPA });
  const devices = [lab.device(ABLE!), lab.device(PLAIN!)];
  const first = lab.hwpt(lab.iommu, devices[0]!.id, lab.space);
  lab.poke(lab.guest + 8 * PAGE, BUFFER_VALUE);
  for (const { fd } of devices) {
    lab.attach(fd, first);
    lab.transfer(fd, page(8), false);
    lab.detach(fd);
  }
  lab.destroy(lab.iommu, first);

  const tables = new Map<number, Table>();
  const attached = devices.map(() => new Map<number, number>());
  const usersOf = (id: number) =>
    attached.flatMap((each) => [...each.values()]).filter((table) => table === id).length +
    [...tables.values()].filter(({ parent }) => parent === id).length;
  const someTable = () => random.pick([...tables.keys(), 99]);
  const withPasids = (device: number) => [...attached[device]!.keys()].some((pasid) => pasid !== 0);

  /** What an attach answers. */
  const fits = (device: number, pasid: number, id: number): number | string => {
    const table = tables.get(id);
    if (!table) return "ENOENT";
    if (pasid === 0) return table.takesPasids || !withPasids(device) ? id : "EINVAL";
    const plain = tables.get(attached[device]!.get(0) ?? 0);
    return table.takesPasids && (!plain || plain.takesPasids) ? id : "EINVAL";
  };
  const attach = (device: number, pasid: number, id: number) => {
    const expected = fits(device, pasid, id);
    const { fd } = devices[device]!;
    expect(pasid === 0 ? lab.attach(fd, id) : lab.attachPasid(fd, pasid, id)).toBe(expected);
    if (expected === id) attached[device]!.set(pasid, id);
  };
  const detach = (device: number, pasid: number) => {
    const { fd } = devices[device]!;
    expect(pasid === 0 ? lab.detach(fd) : lab.detachPasid(fd, pasid)).toBe(0);
    attached[device]!.delete(pasid);
  };
  const destroy = (id: number) => {
    const expected = !tables.has(id) ? "ENOENT" : usersOf(id) > 0 ? "EBUSY" : 0;
    expect(lab.destroy(lab.iommu, id)).toBe(expected);
    if (expected === 0) tables.delete(id);
  };
  const alloc = () => {
    const takesPasids = random.chance(70);
    const flags = takesPasids ? PASID_FLAG : 0;
    if (random.chance(50)) {
      const space = random.below(2);
      const isParent = random.chance(60);
      const more = (isParent ? NEST_PARENT : 0) | (random.chance(20) ? DIRTY : 0);
      const id = Number(lab.hwpt(lab.iommu, devices[0]!.id, spaces[space]!.id, flags | more));
      expect(tables.has(id)).toBe(false);
      tables.set(id, { space, parent: undefined, isParent, takesPasids });
      return;
    }
    const over = someTable();
    const parent = tables.get(over);
    const id = lab.nested(devices[random.below(2)]!.id, over, { flags });
    if (!parent?.isParent || parent.parent !== undefined) expect(id).toBe("EINVAL");
    else tables.set(Number(id), { space: parent.space, parent: over, isParent: false, takesPasids });
  };
  /** A device writes its buffer to the fifth page of whatever a PASID leads to. */
  const access = (device: number, pasid: number, where: string) => {
    const { fd } = devices[device]!;
    const table = tables.get(attached[device]!.get(pasid) ?? 0);
    for (const { memory } of spaces) lab.poke(memory + 4 * PAGE, 1n);
    const ats = random.chance(50) ? 1n << 30n : 0n;
    const request = pasid === 0 ? 0n : (1n << 31n) | ats | BigInt(pasid);
    const address = table && table.parent === undefined ? page(4) : 0n;
    lab.transfer(fd, address, true, request);
    const seen = spaces.map(({ memory }) => lab.peek(memory + 4 * PAGE));
    expect(seen, where).toEqual(spaces.map((_, space) => (table?.space === space ? BUFFER_VALUE : 1n)));
  };

  for (let round = 0; round < 1200; round++) {
    const device = random.below(2);
    const pasid = device === 0 ? random.pick(PASIDS) : 0;
    const action = random.below(100);
    if (action < 20) alloc();
    else if (action < 30) destroy(someTable());
    else if (action < 60) attach(device, pasid, someTable());
    else if (action < 70) detach(device, pasid);
    else access(device, pasid, `round ${round}: device ${device}, PASID ${pasid}`);
  }
  // whatever is left can be taken apart, and nothing stays
  for (const [device, each] of attached.entries()) for (const pasid of [...each.keys()]) detach(device, pasid);
  for (let before = -1; tables.size > 0 && tables.size !== before; ) {
    before = tables.size;
    for (const id of [...tables.keys()]) destroy(id);
  }
  expect(tables.size).toBe(0);
  for (const { fd } of devices) lab.close(fd);
  for (const { id } of spaces) expect(lab.destroy(lab.iommu, id)).toBe(0);
  expect(lab.task.memory.pinCount).toBe(0);
});
