import { beforeEach, describe, expect, test } from "vitest";
import type { PasidRequest } from "../../src/iommu/dma-target.ts";
import { NoTarget } from "../../src/iommu/dma-target.ts";
import type { Mappings } from "../../src/iommu/domain.ts";
import type { RequesterIdentity } from "../../src/iommu/requester.ts";
import type { VtdDomain } from "../../src/iommu/vtd/domain.ts";
import { VtdUnits } from "../../src/iommu/vtd/units.ts";
import { KernelError } from "../../src/kernel/errors.ts";

const NOTHING = { requesters: 0, domains: 0, entries: 0, tablePages: 0, secondLevels: 0 };
const STAGE = { last: 2n ** 64n - 1n, isSecond: true };
const PLAIN = new NoTarget("plain");
const [ANNA, BERT] = [{ label: "Anna's container" }, { label: "Bert's container" }];

function identity(name: string, facts: Partial<RequesterIdentity> = {}): RequesterIdentity {
  const common = {
    segment: 0,
    source: 0x500,
    isMediated: false,
    pasid: true,
    pasidPrivileged: true,
    ats: true,
    pri: false,
  };
  return { ...common, name, functionName: "0000:05:00.0", ...facts };
}

const PARENT = identity("0000:05:00.0");
const ONE = identity("mdev-1", { isMediated: true });
const TWO = identity("mdev-2", { isMediated: true });
/** The same bus, device and function in another segment. */
const ELSEWHERE = identity("0001:05:00.0", { functionName: "0001:05:00.0", segment: 1 });

/** Memory in which every byte is `value`, below 64 KiB. */
function filled(value: number): Mappings {
  return {
    find: (page) => (page < 0x10 ? { shift: 12, read: true, write: true } : undefined),
    read: (_page, _within, into) => {
      into.fill(value);
      return true;
    },
    write: () => true,
  };
}

function ask(pasid: number, change: Partial<PasidRequest> = {}): PasidRequest {
  return { pasid, privileged: false, ats: false, ...change };
}

function errno(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof KernelError) return `${error.code}: ${error.reason}`;
    throw error;
  }
  return "none";
}

let units: VtdUnits;
let [anna, bert]: VtdDomain[] = [];

beforeEach(() => {
  units = new VtdUnits();
  anna = units.paging(filled(1), STAGE);
  bert = units.paging(filled(2), STAGE);
});

/** What a byte at 0 is for a request; the reason when it is not reached. */
function byte(requester: ReturnType<VtdUnits["connect"]>, request: PasidRequest): number | string {
  const bytes = new Uint8Array(1);
  return requester.withPasid(request).read(0n, bytes)?.reason ?? bytes[0]!;
}

describe("a request with a PASID", () => {
  test("is translated only by a binding that was made for its requester", () => {
    const [one, two] = [units.connect(ONE, ANNA, PLAIN), units.connect(TWO, BERT, PLAIN)];
    const place = bert!.attach(two, 7);
    two.bind(7, place);
    expect(byte(two, ask(7))).toBe(2);
    // the entry is in the table of the parent, whose source-id both have
    for (const ats of [false, true]) expect(byte(one, ask(7, { ats }))).toMatch(/not bound for it/);
    expect(() => one.bind(7, place)).toThrow(/mdev-2/);
    const parent = units.connect(PARENT, ANNA, PLAIN);
    for (const ats of [false, true]) expect(byte(parent, ask(7, { ats }))).toMatch(/0x59/);
  });

  test("goes by the number that the binding has in the table, whatever others have under the device's", () => {
    const [one, two] = [units.connect(ONE, ANNA, PLAIN), units.connect(TWO, BERT, PLAIN)];
    one.bind(7, anna!.attach(one, 3));
    two.bind(7, bert!.attach(two, 7));
    two.bind(3, bert!.attach(two, 4));
    expect([byte(one, ask(7)), byte(two, ask(7)), byte(two, ask(3))]).toEqual([1, 2, 2]);
    expect(byte(one, ask(3))).toMatch(/not bound/);
  });

  test("is refused by an entry of another owner's, and both are named", () => {
    const [one, two] = [units.connect(ONE, ANNA, PLAIN), units.connect(TWO, BERT, PLAIN)];
    two.bind(7, bert!.attach(two, 7));
    const parent = units.connect(PARENT, ANNA, PLAIN);
    const before = units.use;
    const refusal = errno(() => anna!.attach(one, 7));
    expect(refusal).toMatch(
      /^EBUSY: PASID 7 of 0000:05:00.0 belongs to Bert's container.*mdev-2.*Anna's container.*mdev-1/,
    );
    expect(errno(() => anna!.attach(parent, 7))).toMatch(/^EBUSY/);
    expect(errno(() => anna!.attachTable(parent, { directory: 0n, bits: 6 }))).toMatch(/^EBUSY: .*Bert's.*Anna's/);
    expect(units.use).toEqual(before);
    expect(byte(two, ask(7))).toBe(2);
  });

  test("of a mediated device never goes by the table of its parent's owner", () => {
    const [parent, one] = [units.connect(PARENT, ANNA, PLAIN), units.connect(ONE, BERT, PLAIN)];
    const table = anna!.attachTable(parent, { directory: 0n, bits: 6 });
    expect(errno(() => bert!.attach(one, 7))).toMatch(/^EBUSY: 0000:05:00.0 goes by a PASID table of Anna's.*Bert's/);
    table.leave();
    one.bind(7, bert!.attach(one, 7));
    expect(byte(one, ask(7))).toBe(2);
  });

  test("has nothing in common with the same source-id of another segment", () => {
    const [here, there] = [units.connect(PARENT, ANNA, PLAIN), units.connect(ELSEWHERE, BERT, PLAIN)];
    here.bind(7, anna!.attach(here, 7));
    expect(byte(there, ask(7))).toMatch(/0x59/);
    there.bind(7, bert!.attach(there, 7));
    expect([byte(here, ask(7, { ats: true })), byte(there, ask(7, { ats: true }))]).toEqual([1, 2]);
    const place = units.of(ELSEWHERE).unit.context(0x500)!.deviceTlb!;
    expect(place.size).toBe(1);
    anna!.flush();
    expect(place.size).toBe(1);
    bert!.flush();
    expect(place.size).toBe(0);
  });
});

describe("a place", () => {
  test("is left by itself: twice does nothing, and never to what came after it", () => {
    const one = units.connect(ONE, ANNA, PLAIN);
    const first = anna!.attach(one, 7);
    one.bind(7, first);
    one.unbind(7, first);
    first.leave();
    const second = anna!.attach(one, 7);
    one.bind(7, second);
    first.leave();
    one.unbind(7, first);
    expect(byte(one, ask(7))).toBe(1);
    one.unbind(7, second);
    second.leave();
    expect(byte(one, ask(7))).toMatch(/not bound/);
    units.disconnect(one);
    expect(units.use).toEqual(NOTHING);
  });

  test("is stale for nobody after it was left", () => {
    const parent = units.connect(PARENT, ANNA, PLAIN);
    for (const ats of [false, true]) {
      const place = anna!.attach(parent, 7);
      parent.bind(7, place);
      expect(byte(parent, ask(7, { ats }))).toBe(1);
      parent.unbind(7, place);
      place.leave();
      const next = bert!.attach(parent, 7);
      parent.bind(7, next);
      expect(byte(parent, ask(7, { ats }))).toBe(2);
      parent.unbind(7, next);
      next.leave();
    }
  });

  test("wants a domain-id, of which there are 65535; a domain gives its back with its last place", () => {
    const one = units.connect(ONE, ANNA, PLAIN);
    for (let taken = 1; taken < 65_535; taken++) units.of(ONE).newDomain();
    const places = [7, 8].map((pasid) => bert!.attach(one, pasid));
    const before = units.use;
    expect(before.domains).toBe(65_535);
    expect(errno(() => anna!.attach(one, 70_000))).toMatch(/^ENOSPC: .*65535/);
    expect(errno(() => anna!.reserve(one))).toMatch(/^ENOSPC/);
    expect(units.use).toEqual(before);
    places[0]!.leave();
    expect(errno(() => anna!.reserve(one))).toMatch(/^ENOSPC/);
    places[1]!.leave();
    expect(units.use.domains).toBe(65_534);
    anna!.attach(one, 70_000).leave();
    expect(units.use).toMatchObject({ domains: 65_534, entries: 0, secondLevels: 0 });
  });

  test("that comes and goes anywhere in the table leaves nothing behind", () => {
    const one = units.connect(ONE, ANNA, PLAIN);
    for (let pasid = 1; pasid < 2 ** 20; pasid += 997) anna!.attach(one, pasid).leave();
    expect(units.use.tablePages).toBe(0);
    anna!.attach(one, 70_000);
    expect(units.use.tablePages).toBe(2);
    units.disconnect(one);
    expect(units.use.tablePages).toBe(0);
  });
});
