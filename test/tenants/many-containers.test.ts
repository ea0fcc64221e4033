import { expect, test } from "vitest";
import { Host } from "../../src/host/host.ts";
import { viewOf } from "../../src/uapi/layout.ts";
import { VFIO_GROUP_GET_DEVICE_FD, VFIO_GROUP_SET_CONTAINER, VFIO_SET_IOMMU } from "../../src/uapi/vfio.ts";
import { VFIO_IOMMU_MAP_DMA, VfioIommuType1DmaMap } from "../../src/uapi/vfio-type1.ts";
import { amount } from "../amount.ts";
import { FIRST_DATA, PAGE, PAGES, pageAddress, pointVirtual, SCRATCH, VIRTUAL, WINDOW, writeTables } from "./area.ts";
import { GROUPS, hostDescription } from "./container-world.ts";
import { DIALECTS } from "./dialect.ts";
import { type Carrier, DmaDevice } from "./dma.ts";
import * as calls from "./iommufd-calls.ts";
import { nodeOf } from "./iommufd-reference.ts";
import { DEVICES, iommufdDescription } from "./iommufd-world.ts";
import { ModelMachine, type TenantProcess } from "./machine.ts";
import { Words } from "./words.ts";

/** All APIs together: beyond 2^16 of one they would run out of domain-ids that nobody gave back. UVFIO_TENANT_CONTAINERS has another number. */
const CONTAINERS = amount("UVFIO_TENANT_CONTAINERS", 1_000, 8_000);
const APIS = 4;
const LIMIT_MS = 3_600_000;
/** Of so many one is used: that takes longer than to make it. */
const USED = 16;

/** Fails with what went wrong; returns what a call returned. */
type Check = (result: number) => number;

interface Memory {
  readonly area: number;
  readonly word: number;
}

/** Memory with a guest's table, whose first virtual page leads to a word. */
function memoryOf(machine: ModelMachine): Memory {
  const process = machine.process(0);
  const words: number[] = [];
  const area = process.allocate(PAGES * PAGE);
  writeTables(process, area);
  new Words(machine).fill({ name: "guest", process: 0, slot: 0, area, words });
  pointVirtual(process, area, 0, FIRST_DATA);
  return { area, word: words[FIRST_DATA]! };
}

function carrier({ area }: Memory): Carrier {
  return {
    request: { pasid: undefined, ats: false, byDriver: false },
    at: pageAddress(SCRATCH),
    memory: area + SCRATCH * PAGE,
  };
}

/** One container from its beginning to its end, which comes in one of several orders. */
function useContainer(process: TenantProcess, api: keyof typeof DIALECTS, memory: Memory, round: number, check: Check) {
  const dialect = DIALECT_OF[api];
  const { id, kind, device } = GROUPS[[0, 2, 5][round % 3]!]!;
  const container = check(process.open("/dev/vfio/vfio"));
  const group = check(process.open(`/dev/vfio/${id}`));
  const number = new Uint8Array(4);
  viewOf(number).setInt32(0, container, true);
  check(process.exchange(group, VFIO_GROUP_SET_CONTAINER, number));
  check(process.ioctl(container, VFIO_SET_IOMMU, dialect.type));
  const map = { argsz: VfioIommuType1DmaMap.size, flags: 3, vaddr: BigInt(memory.area), iova: BigInt(WINDOW) };
  check(
    process.exchange(
      container,
      VFIO_IOMMU_MAP_DMA,
      VfioIommuType1DmaMap.encode({ ...map, size: BigInt(PAGES * PAGE) }),
    ),
  );
  const pasid = dialect.allocate ? check(dialect.allocate(process, container, 1, 2 ** 20 - 1)) : 1 + (round % 1000);
  check(dialect.bind(process, container, pasid));
  const files = [container, group];
  if (round % USED === 0) {
    files.push(check(process.exchange(group, VFIO_GROUP_GET_DEVICE_FD, new TextEncoder().encode(`${device}\0`))));
    const driven = new DmaDevice(process, files[2]!, kind);
    expect(driven.read({ pasid, ats: false, byDriver: false }, VIRTUAL, carrier(memory))).toBe(memory.word);
  }
  if (round % 5 === 0) check(dialect.unbind(process, container, pasid));
  for (const fd of round % 2 === 0 ? files : files.reverse()) check(process.close(fd));
}

const DIALECT_OF = {
  "vsva-v1": DIALECTS["vsva-v1"](),
  "vsva-v7": DIALECTS["vsva-v7"](),
  "rfc-2017": DIALECTS["rfc-2017"](),
};

/** The same with an iommufd: a guest's table on a PASID. */
function useIommufd(process: TenantProcess, memory: Memory, round: number, check: Check) {
  const facts = DEVICES[round % 3]!;
  const iommufd = check(process.open("/dev/iommu"));
  const ioas = check(calls.allocateSpace(process, iommufd));
  const file = check(process.open(nodeOf(facts)));
  const device = check(calls.bindDevice(process, file, iommufd));
  check(calls.mapPages(process, iommufd, ioas, { first: 0, count: PAGES, memory: memory.area }));
  const parent = check(calls.allocateParent(process, iommufd, device, ioas));
  const nested = check(calls.allocateNested(process, iommufd, device, parent, memory.area));
  check(calls.attachDevice(process, file, parent));
  const pasid = 1 + (round % 1000);
  check(calls.attachDevice(process, file, nested, pasid));
  if (round % USED === 0) {
    const driven = new DmaDevice(process, file, facts.kind);
    expect(driven.read({ pasid, ats: false, byDriver: false }, VIRTUAL, carrier(memory))).toBe(memory.word);
  }
  if (round % 5 === 0) check(calls.detachDevice(process, file, pasid));
  for (const fd of round % 2 === 0 ? [iommufd, file] : [file, iommufd]) check(process.close(fd));
}

test.each([...(["vsva-v1", "vsva-v7", "rfc-2017"] as const), "iommufd" as const])(
  "containers one after another give back what they took: %s",
  (api) => {
    const host = new Host(api === "iommufd" ? iommufdDescription() : hostDescription(api));
    const machine = new ModelMachine(host, 1);
    const process = machine.process(0);
    const memory = memoryOf(machine);
    const check: Check = (result) => {
      if (result < 0) throw new Error(`${result}: ${machine.reason}`);
      return result;
    };
    const before = JSON.stringify(host.iommuUse);
    for (let round = 0; round < CONTAINERS / APIS; round++) {
      try {
        if (api === "iommufd") useIommufd(process, memory, round, check);
        else useContainer(process, api, memory, round, check);
        const after = JSON.stringify(host.iommuUse);
        if (after !== before) throw new Error(`${after} is in use, ${before} before`);
      } catch (error) {
        throw new Error(`container ${round}: ${error}`, { cause: error });
      }
    }
    const { pinCount, lockedPages } = process.task.memory;
    expect([pinCount, lockedPages]).toEqual([0, 0]);
    machine.end();
  },
  LIMIT_MS,
);
