import { afterEach, describe, expect, test, vi } from "vitest";
import type { Host } from "../../../src/host/host.ts";
import { PasidPool } from "../../../src/iommu/pasid-pool.ts";
import { VtdTables } from "../../../src/iommu/vtd/tables.ts";
import { KernelError } from "../../../src/kernel/errors.ts";
import * as rfc from "../../../src/uapi/rfc-2017.ts";
import { VFIO_GROUP_GET_STATUS, VFIO_SET_IOMMU, VfioGroupStatus } from "../../../src/uapi/vfio.ts";
import { Type1Iommu } from "../../../src/vfio/type1/iommu.ts";
import type { Result } from "../program.ts";
import {
  BACKED,
  BACKED_TOO,
  dmaRead,
  EDU,
  type Guest,
  NestingProgram,
  nestingHost,
  OTHER_EDU,
} from "./nesting-program.ts";

const SIX = ["0000:06:00.0", "0000:06:00.1", "0000:06:00.2"];
const NESTING = 6;

/** The steps of an attach or bind that can fail, as functions that throw instead. */
const STEPS = {
  "a PASID of the host's": [PasidPool.prototype, "allocate"],
  "the quota": [PasidPool.prototype, "charge"],
  "a domain-id": [VtdTables.prototype, "newDomain"],
  "an entry of a PASID table": [VtdTables.prototype, "enter"],
  "the table as a whole": [VtdTables.prototype, "takeOver"],
  "the page sizes of a new domain (type1)": [Type1Iommu.prototype, "updatePageSizes"],
} as const;

afterEach(() => {
  vi.restoreAllMocks();
});

/** The n-th call of a function throws; returns whether it came to that. */
function failAt(n: number, [object, name]: readonly [object, string]): () => boolean {
  const original = Reflect.get(object, name) as (...args: unknown[]) => unknown;
  let calls = 0;
  vi.spyOn(object as Record<string, () => unknown>, name).mockImplementation(function (
    this: unknown,
    ...args: unknown[]
  ) {
    if (++calls === n) throw new KernelError("ENOMEM", `step ${name} ${n} was made to fail`);
    return original.apply(this, args);
  } as () => unknown);
  return () => calls >= n;
}

class User {
  readonly program: NestingProgram;
  readonly devices: readonly string[];
  readonly groups = new Map<number, Result>();
  readonly container: Result;
  guest: Guest | undefined;

  constructor(host: Host, devices: readonly string[], groups: readonly number[]) {
    this.program = new NestingProgram(host);
    this.devices = devices;
    this.container = this.program.open("/dev/vfio/vfio");
    for (const group of groups) this.groups.set(group, this.program.open(`/dev/vfio/${group}`));
  }

  join(group: number): Result {
    return this.program.setContainer(this.groups.get(group)!, this.container);
  }

  setIommu(type = NESTING): Result {
    return this.program.ioctl(this.container, VFIO_SET_IOMMU, type);
  }

  op(number: number, data: Uint8Array): Result {
    const head = rfc.VfioIommuOperation.encode({ argsz: 16 + data.length, op: number });
    return this.program.ioctlBytes(this.container, rfc.VFIO_IOMMU_OP, new Uint8Array([...head, ...data]));
  }

  bind(pasid: number): Result {
    const table = this.guest!.root;
    return this.op(3, rfc.IommuPageTableBind.encode({ model: 1, table, pasid, addr_width: 48 }));
  }

  bindTable(): Result {
    const table = this.guest!.page(12);
    return this.op(1, rfc.IommuPasidTableBind.encode({ model: 1, table, pasid_bits: 10 }));
  }

  /** Everything that it can see: what its devices reach, its groups, what the container says of itself. */
  get state(): unknown {
    const { program, container } = this;
    const reads = this.devices.map((device) => [
      dmaRead(program, container, device, undefined, 0x10_6000n),
      ...Array.from({ length: 12 }, (_, pasid) => dmaRead(program, container, device, pasid, 0n)),
    ]);
    const groups = [...this.groups.values()].map((group) => {
      const status = VfioGroupStatus.encode({ argsz: VfioGroupStatus.size });
      return [program.ioctlBytes(group, VFIO_GROUP_GET_STATUS, status), VfioGroupStatus.decode(status).flags];
    });
    const info = new Uint8Array(512);
    new DataView(info.buffer).setUint32(0, 512, true);
    return { reads, groups, info: [program.ioctlBytes(container, 0x3b70, info), [...info]] };
  }
}

/** Two who have nothing to do with it, and the one whose calls fail. */
function scene() {
  const host = nestingHost("rfc-2017");
  const edu = new User(host, [EDU], [3]);
  const mediated = new User(host, [BACKED_TOO], [12]);
  for (const [user, group] of [
    [edu, 3],
    [mediated, 12],
  ] as const) {
    expect([user.join(group), user.setIommu()]).toEqual([0, 0]);
    user.guest = user.program.guest(user.container);
    for (const pasid of [2, 7]) expect(user.bind(pasid)).toBe(0);
  }
  const actor = new User(host, [...SIX, OTHER_EDU, BACKED], [6, 4, 11]);
  const state = () => ({ use: host.iommuUse, users: [edu, mediated, actor].map((user) => user.state) });
  return { host, edu, mediated, actor, state };
}

type Scene = ReturnType<typeof scene>;

const CALLS: Record<string, { prepare(scene: Scene): void; call(scene: Scene): Result }> = {
  "SET_IOMMU with three groups": {
    prepare: ({ actor }) => expect([6, 11, 4].map((group) => actor.join(group))).toEqual([0, 0, 0]),
    call: ({ actor }) => actor.setIommu(),
  },
  "SET_CONTAINER of a mediated device": {
    prepare: ({ actor }) => expect([actor.join(6), actor.setIommu()]).toEqual([0, 0]),
    call: ({ actor }) => actor.join(11),
  },
  "BIND_PAGE_TABLE on five devices": {
    prepare: ({ actor }) => {
      expect([6, 11, 4].map((group) => actor.join(group))).toEqual([0, 0, 0]);
      expect(actor.setIommu()).toBe(0);
      actor.guest = actor.program.guest(actor.container);
      expect(actor.bind(5)).toBe(0);
    },
    call: ({ actor }) => actor.bind(7),
  },
  "BIND_PASID on five devices": {
    prepare: ({ actor }) => {
      expect([11, 4, 6].map((group) => actor.join(group))).toEqual([0, 0, 0]);
      expect(actor.setIommu()).toBe(0);
    },
    call: ({ actor }) => actor.op(2, rfc.IommuPasidBind.encode({ pasid: 7 })),
  },
  "BIND_PASID_TABLE on four devices": {
    prepare: ({ actor }) => {
      expect([4, 6].map((group) => actor.join(group))).toEqual([0, 0]);
      expect(actor.setIommu()).toBe(0);
      actor.guest = actor.program.guest(actor.container);
    },
    call: ({ actor }) => actor.bindTable(),
  },
};

describe.each(Object.keys(CALLS))("%s", (name) => {
  const { prepare, call } = CALLS[name]!;
  test.each(Object.keys(STEPS) as (keyof typeof STEPS)[])("leaves everybody as they were when %s fails", (step) => {
    const here = scene();
    prepare(here);
    const before = here.state();
    let failures = 0;
    for (let n = 1; n < 20; n++) {
      const happened = failAt(n, STEPS[step]);
      const result = call(here);
      vi.restoreAllMocks();
      if (!happened()) {
        expect(result, here.actor.program.reason).toBe(0);
        break;
      }
      failures++;
      expect(result).toBe("ENOMEM");
      expect(here.state(), `step ${n}`).toEqual(before);
    }
    COUNTED.set(step, (COUNTED.get(step) ?? 0) + failures);
    // and it is what it is without failures before
    const plain = scene();
    prepare(plain);
    expect(call(plain)).toBe(0);
    expect(here.state()).toEqual(plain.state());
  });
});

const COUNTED = new Map<string, number>();

test("each step was made to fail", () => {
  expect([...COUNTED].filter(([, failures]) => failures === 0)).toEqual([]);
  expect(COUNTED.size).toBe(Object.keys(STEPS).length);
});

test("a join that type1 refuses leaves nothing of it in the IOMMU", () => {
  const { actor, state } = scene();
  expect([actor.join(6), actor.setIommu()]).toEqual([0, 0]);
  actor.guest = actor.program.guest(actor.container);
  // its mappings wait for their new vaddr: no group may join
  expect(actor.program.unmap(actor.container, actor.guest.gpa, 0x1_0000n, 4)).toBe(0x1_0000n);
  const before = state();
  for (const group of [11, 4]) {
    expect(actor.join(group)).toBe("EBUSY");
    expect(actor.program.reason).toMatch(/vaddr/);
  }
  expect(state()).toEqual(before);
  expect(actor.program.map(actor.container, actor.guest.gpa, actor.guest.memory, 0x1_0000n, 4)).toBe(0);
  expect([actor.join(11), actor.join(4), actor.bind(7)]).toEqual([0, 0, 0]);
});
