import { describe, expect, test } from "vitest";
import { DmaGroup } from "../../src/iommu/dma-group.ts";
import { PasidPool } from "../../src/iommu/pasid-pool.ts";
import { VtdTables } from "../../src/iommu/vtd/tables.ts";
import { ModelMemory } from "../../src/kernel/model-memory.ts";
import { DIRECTORY } from "./area.ts";
import { ContainerWorld, hostDescription } from "./container-world.ts";
import { type Api, DIALECTS } from "./dialect.ts";
import { FailNth, type Point } from "./fail-nth.ts";
import { IommufdWorld, iommufdDescription } from "./iommufd-world.ts";
import { ModelMachine } from "./machine.ts";
import type { Step } from "./steps.ts";

/** Whatever refuses in the middle of a request: a device's entry, a number, a page, the caller's memory. */
const POINTS: readonly Point[] = [
  { name: "a device's entry", prototype: VtdTables.prototype, method: "enter", errno: "EBUSY" },
  { name: "a device's table", prototype: VtdTables.prototype, method: "takeOver", errno: "EBUSY" },
  { name: "a domain-id", prototype: VtdTables.prototype, method: "newDomain", errno: "ENOSPC" },
  { name: "a PASID", prototype: PasidPool.prototype, method: "allocate", errno: "ENOSPC" },
  { name: "the quota", prototype: PasidPool.prototype, method: "charge", errno: "ENOSPC" },
  { name: "a group", prototype: DmaGroup.prototype, method: "claim", errno: "EPERM" },
  { name: "pinning", prototype: ModelMemory.prototype, method: "pinFrom", errno: "ENOMEM", returns: true },
  { name: "pinning", prototype: ModelMemory.prototype, method: "pin", errno: "ENOMEM", returns: true },
  { name: "pinning", prototype: ModelMemory.prototype, method: "pinFast", errno: "EFAULT", returns: true },
  { name: "copying in", prototype: ModelMemory.prototype, method: "copyIn", errno: "EFAULT" },
  { name: "copying out", prototype: ModelMemory.prototype, method: "copyOut", errno: "EFAULT" },
];
const MOST = 60;

type Line = readonly [op: string, process: number, a?: number, b?: number, c?: number];
const step = ([op, process, a = 0, b = 0, c = 0]: Line): Step => ({ op, process, a, b, c, watch: 7 });

interface World {
  excuse: () => boolean;
  apply(step: Step): void;
  checkAll(): void;
  end(): void;
  readonly machine: { readonly reason: string };
}

interface Scene {
  readonly world: World;
  readonly machine: ModelMachine;
}

interface Case {
  readonly name: string;
  readonly prepare: readonly Line[];
  readonly request: Line;
  /** What a kernel does otherwise, or what cannot fail there. */
  readonly except?: readonly string[];
}

/** Memory with tables, 8 data pages, and a guest's table that leads to them. */
function mapped(process: number, slot = 0): Line[] {
  const pages = [0, DIRECTORY, 4, 5, 6, 7];
  return [
    ...pages.map((page): Line => ["map", process, slot, page, page + 1]),
    ...[0, 1, 2, 3].map((virtual): Line => ["point", process, slot, virtual, virtual]),
  ];
}

function container(process: number, groups: readonly number[], slot = 0): Line[] {
  return [
    ["box", process, slot],
    ...groups.map((group): Line => ["group", process, group]),
    ...groups.map((group): Line => ["join", process, group, slot]),
    ["type", process, slot, 1],
    ...mapped(process, slot),
    ...groups.map((group): Line => ["device", process, group]),
  ];
}

/** Fails each call of each point once, and compares all that anybody can see before and after. Returns how many failures there were. */
function failEach(make: () => Scene, { prepare, request, except = [] }: Case): Map<string, number> {
  const failures = new Map<string, number>();
  for (const point of POINTS) {
    if (except.includes(point.name)) continue;
    for (let nth = 1; nth <= MOST; nth++) {
      const { world, machine } = make();
      for (const line of prepare) world.apply(step(line));
      if (failures.size === 0 && nth === 1) world.checkAll();
      const before = JSON.stringify(inUse(machine));
      const injected = new FailNth(machine, point, nth);
      let hasFailed = false;
      world.excuse = () => {
        hasFailed ||= injected.fired;
        return injected.fired;
      };
      try {
        world.apply(step(request));
      } finally {
        injected.end();
      }
      world.excuse = () => false;
      if (injected.fired) world.checkAll();
      if (hasFailed) {
        expect(JSON.stringify(inUse(machine)), `${point.name} ${nth} (${world.machine.reason})`).toBe(before);
        // what was refused once is not refused for that
        world.apply(step(request));
        world.checkAll();
        failures.set(point.name, (failures.get(point.name) ?? 0) + 1);
      }
      world.end();
      if (!injected.fired) break;
    }
  }
  return failures;
}

function inUse(machine: ModelMachine) {
  const memories = [0, 1, 2].map((index) => machine.process(index).task.memory);
  return [machine.kernel.iommuUse, ...memories.map(({ pinCount, lockedPages }) => [pinCount, lockedPages])];
}

/** Groups by their place in GROUPS: 0, 1 PCI; 2, 3, 4 mediated devices of one parent; 5 of another; 6, 7 plain ones; 8 the other parent. */
function containerCases(api: Api): readonly Case[] {
  const isOld = api !== "rfc-2017";
  const alone = api === "vsva-v7";
  const take = (process: number): Line[] => (isOld ? [["alloc", process, 0]] : []);
  const bystanders: Line[] = [
    ...container(0, alone ? [2] : [0, 2]),
    ...take(0),
    ["bind", 0, 0, isOld ? -1 : 1],
    ...container(1, [3]),
    ...take(1),
    ["bind", 1, 0, isOld ? -1 : 1],
  ];
  // the third tenant's container, with a device that is bound already
  const mine: Line[] = [...bystanders, ...container(2, alone ? [4] : [1, 4, 5]), ...take(2), ...take(2)];
  const cases: Case[] = [
    {
      name: "SET_IOMMU",
      prepare: [
        ...bystanders,
        ["box", 2, 0],
        ...(alone ? [4] : [1, 4, 5, 6]).flatMap((group): Line[] => [
          ["group", 2, group],
          ["join", 2, group, 0],
        ]),
      ],
      request: ["type", 2, 0, 1],
    },
    { name: "bind", prepare: mine, request: ["bind", 2, 0, isOld ? -1 : 1] },
    { name: "MAP_DMA", prepare: mine, request: ["map", 2, 0, 9, 3] },
    {
      name: "the PCI device joins memory that was not pinned",
      prepare: [
        ...bystanders,
        ["box", 2, 0],
        ["group", 2, 6],
        ["join", 2, 6, 0],
        ["type", 2, 0, 8],
        ...mapped(2),
        ["group", 2, 1],
      ],
      request: ["join", 2, 1, 0],
    },
  ];
  if (!alone)
    cases.push({
      name: "a mediated device joins",
      prepare: [
        ...mine.filter(([op, process, group]) => process !== 2 || group !== 4 || op === "map" || op === "point"),
        ["group", 2, 4],
        ["bind", 2, 0, isOld ? -1 : 1],
      ],
      request: ["join", 2, 4, 0],
    });
  if (isOld) cases.push({ name: "an allocation", prepare: mine, request: ["alloc", 2, 0] });
  else {
    cases.push({ name: "bind process", prepare: mine, request: ["bindProcess", 2, 0, 2] });
    cases.push({ name: "bind table", prepare: [...bystanders, ...container(2, [1, 8])], request: ["bindTable", 2, 0] });
  }
  return cases;
}

/** -1 for the PASID that the process has. */
function resolved(world: ContainerWorld): ContainerWorld {
  const apply = world.apply.bind(world);
  world.apply = (each) => {
    const held = [...world.slots[each.process]![0]!.pasids];
    apply(each.b === -1 ? { ...each, b: held[0] ?? 0 } : each);
  };
  return world;
}

describe.each(["vsva-v1", "vsva-v7", "rfc-2017"] as const)(
  "%s: a request that fails at any step changes nothing",
  (api) => {
    const description = hostDescription(api);
    const dialect = DIALECTS[api]();
    const make = () => {
      const machine = ModelMachine.booted(description, 3);
      return { machine, world: resolved(new ContainerWorld(dialect, machine, 3, 1)) };
    };

    test.each(containerCases(api).map((each) => [each.name, each] as const))("%s", (_name, each) => {
      const failures = failEach(make, each);
      expect([...failures.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(1);
    });
  },
);

/** Devices by their place in DEVICES: 0, 1, 2 PCI; 3 mediated with an IOMMU; 4, 5 plain. */
function spaceOf(process: number, device: number): Line[] {
  return [
    ["iommufd", process, 0],
    ["device", process, device],
    ["bind", process, device, 0],
    ...mapped(process),
    ["parent", process, 0],
    ["nested", process, 0],
  ];
}

describe("iommufd: a request that fails at any step changes nothing", () => {
  const description = iommufdDescription();
  const make = () => {
    const machine = ModelMachine.booted(description, 3);
    return { machine, world: new IommufdWorld(machine, 3, 1) };
  };
  const bystanders: Line[] = [0, 1].flatMap((process): Line[] => [
    ...spaceOf(process, process),
    ["attach", process, process, 0],
    ["attachPasid", process, process, 1, 1],
    ["attachPasid", process, process, 0, 2],
  ]);
  const mine: Line[] = [...bystanders, ...spaceOf(2, 2)];

  // ioas.c:iommufd_ioas_map and device_cdev.c:vfio_df_ioctl_attach_pt leave a mapping and a PASID there when the answer cannot be written
  const answers = ["copying out"];
  // nobody else can have what the device has: an entry is there already, and domain-ids are reserved before it is left
  const moves = [...answers, "a device's entry"];

  test.each<[string, readonly Line[], Line, (readonly string[])?]>([
    ["bind", [...bystanders, ["iommufd", 2, 0], ["device", 2, 2]], ["bind", 2, 2, 0]],
    ["map", mine, ["map", 2, 0, 9, 3], answers],
    ["a parent table", mine.filter(([op, by]) => by !== 2 || (op !== "parent" && op !== "nested")), ["parent", 2, 0]],
    ["a nested table", mine.filter(([op, by]) => by !== 2 || op !== "nested"), ["nested", 2, 0]],
    ["attach", mine, ["attach", 2, 2, 0]],
    ["attach to a guest's table", mine, ["attach", 2, 2, 1]],
    ["attach a PASID", mine, ["attachPasid", 2, 2, 1, 1], answers],
    ["move to another table", [...mine, ["attach", 2, 2, 0]], ["attach", 2, 2, 1], moves],
    ["move a PASID", [...mine, ["attachPasid", 2, 2, 0, 1]], ["attachPasid", 2, 2, 1, 1], moves],
  ])("%s", (name, prepare, request, except = []) => {
    const failures = failEach(make, { name, prepare, request, except });
    expect([...failures.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
  });
});
