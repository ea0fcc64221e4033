import { beforeEach, describe, expect, test } from "vitest";
import {
  ABLE,
  ATS,
  ENABLE,
  ENGINE,
  NEST_PARENT,
  NestingLab,
  PASID_FLAG,
  PLAIN,
  PRESENT,
  PRIVILEGED,
  page,
  RWU,
  USER,
} from "./nesting-lab.ts";

const FAULT = 4;
const [SUCCESS, INVALID] = [0, 1];
const RESPONSE_SIZE = 8;

let lab: NestingLab;
let able: ReturnType<NestingLab["device"]>;
let parent: number | string;
let queue: ReturnType<NestingLab["faultQueue"]>;
let nested: number | string;
let warnings: string[];

beforeEach(() => {
  warnings = [];
  lab = new NestingLab(undefined, (message) => warnings.push(message));
  able = lab.device(ABLE);
  parent = lab.hwpt(lab.iommu, able.id, lab.space, NEST_PARENT | PASID_FLAG);
  queue = lab.faultQueue();
  nested = lab.nested(able.id, parent, { fault: queue.id, flags: PASID_FLAG });
});

function isReadable(): boolean {
  return lab.task.files.get(queue.fd)!.readiness!.isReadable;
}

describe("a page that is missing", () => {
  beforeEach(() => {
    lab.attach(able.fd, nested);
  });

  test("is asked for, and used when it is there", () => {
    lab.point(0x5000n, undefined);
    lab.transfer(able.fd, 0x5123n & ~7n, false);
    expect(lab.state(able.fd)).toBe("waits");
    expect(lab.faults(queue.fd)).toEqual([
      { flags: 2, dev_id: able.id, pasid: 0, grpid: 0, perm: 1, addr: 0x5000n, length: 0, cookie: 1, __reserved: 0 },
    ]);
    lab.point(0x5000n, 9);
    lab.poke(lab.guest + 9 * 4096 + 0x120, 99n);
    expect(lab.respond(queue.fd, [1, SUCCESS])).toBe(RESPONSE_SIZE);
    expect(lab.state(able.fd)).toBe("done");
    expect(lab.buffer(able.fd)).toBe(99n);
    expect(warnings).toEqual([]);
  });

  test("is not used when it is refused, and the reason is told", () => {
    lab.point(0x5000n, 9, PRESENT | USER);
    lab.transfer(able.fd, 0x5000n, true);
    expect(lab.faults(queue.fd)).toMatchObject([{ perm: 2, addr: 0x5000n, cookie: 1 }]);
    expect(lab.respond(queue.fd, [1, INVALID])).toBe(RESPONSE_SIZE);
    expect(lab.state(able.fd)).toBe("failed");
    expect(warnings.join()).toMatch(/VT-d fault 0x85.*refused/);
  });

  test("is asked for again when it is not there after all, and the next one too", () => {
    lab.point(0x5000n, undefined);
    lab.point(0x6000n, undefined);
    lab.transfer(able.fd, 0x5ffcn, false);
    expect(lab.faults(queue.fd)).toMatchObject([{ addr: 0x5000n, grpid: 0, cookie: 1 }]);
    lab.respond(queue.fd, [1, SUCCESS]);
    expect(lab.faults(queue.fd)).toMatchObject([{ addr: 0x5000n, grpid: 1, cookie: 1 }]);
    lab.point(0x5000n, 9);
    lab.respond(queue.fd, [1, SUCCESS]);
    expect(lab.faults(queue.fd)).toMatchObject([{ addr: 0x6000n, grpid: 2, cookie: 1 }]);
    lab.point(0x6000n, 10);
    lab.respond(queue.fd, [1, SUCCESS]);
    expect(lab.state(able.fd)).toBe("done");
  });

  test("of the parent's is asked for as well", () => {
    const far = 0x4000_0000n;
    lab.poke(lab.entryAt(0x5000n), far | RWU);
    lab.transfer(able.fd, 0x5000n, false);
    expect(lab.faults(queue.fd)).toMatchObject([{ addr: 0x5000n }]);
    lab.mapIoas(lab.iommu, lab.space, lab.guest + 9 * 4096, 4096n, { iova: far });
    lab.respond(queue.fd, [1, SUCCESS]);
    expect(lab.buffer(able.fd)).toBe(9n);
  });

  test("is not asked for when the table is broken", () => {
    lab.poke(lab.guest, page(1) | RWU | 0x80n);
    lab.transfer(able.fd, 0n, false);
    expect(lab.state(able.fd)).toBe("failed");
    expect(isReadable()).toBe(false);
    expect(warnings.join()).toContain("0x72");
  });

  test("keeps the registers of the transfer, and a reset forgets it", () => {
    lab.point(0x5000n, undefined);
    lab.transfer(able.fd, 0x5000n, false);
    lab.put(able.fd, 0x80, 0n);
    lab.put(able.fd, 0x98, 1n);
    expect(lab.get(able.fd, 0x80)).toBe(0x5000n);
    expect(lab.faults(queue.fd)).toHaveLength(1);
    expect(lab.ioctl(able.fd, 0x3b6f)).toBe(0);
    expect(lab.get(able.fd, 0x98)).toBe(0n);
    lab.point(0x5000n, 9);
    expect(lab.respond(queue.fd, [1, SUCCESS])).toBe(RESPONSE_SIZE);
    expect(lab.get(able.fd, 0x98)).toBe(0n);
    expect(lab.get(able.fd, 0xa8)).toBe(0n);
  });
});

describe("the descriptor of a fault queue", () => {
  beforeEach(() => {
    lab.attach(able.fd, nested);
    lab.point(0x5000n, undefined);
  });

  test("gives whole requests, and none when there are none", () => {
    const file = lab.task.files.get(queue.fd)!;
    const read = (count: number, address = lab.guest, offset = 0) =>
      lab.attempt(() => file.read(lab.task, address, count, offset));
    expect([read(80), read(39), read(40, 0, 8), read(0)]).toEqual([0, "ESPIPE", "ESPIPE", 0]);
    lab.transfer(able.fd, 0x5000n, false);
    expect(isReadable()).toBe(true);
    // a request that could not be written is there still, under the same cookie
    expect([read(0), read(40, 16), isReadable()]).toEqual([0, "EFAULT", true]);
    expect(lab.faults(queue.fd)).toMatchObject([{ cookie: 1 }]);
    expect([isReadable(), read(40)]).toEqual([false, 0]);
  });

  test("takes whole responses, in order up to a bad one", () => {
    const file = lab.task.files.get(queue.fd)!;
    const write = (count: number, offset = 0) => lab.attempt(() => file.write(lab.task, lab.guest, count, offset));
    expect([write(7), write(8, 8), write(0)]).toEqual(["ESPIPE", "ESPIPE", 0]);
    expect(lab.respond(queue.fd, [1, SUCCESS])).toBe("EINVAL");
    lab.transfer(able.fd, 0x5000n, false);
    // not read yet: it has no cookie
    expect(lab.respond(queue.fd, [1, SUCCESS])).toBe("EINVAL");
    lab.faults(queue.fd);
    expect(lab.respond(queue.fd, [1, 2])).toBe("EINVAL");
    expect(lab.respond(queue.fd, [2, SUCCESS])).toBe("EINVAL");
    expect(lab.respond(queue.fd, [1, INVALID], [1, INVALID])).toBe(RESPONSE_SIZE);
    expect(lab.state(able.fd)).toBe("failed");
  });

  test("says when there is something to read", () => {
    const seen: boolean[] = [];
    const stop = lab.task.files.get(queue.fd)!.readiness!.watch(() => seen.push(isReadable()));
    lab.transfer(able.fd, 0x5000n, false);
    lab.faults(queue.fd);
    expect(seen).toEqual([true, false]);
    stop();
    lab.respond(queue.fd, [1, INVALID]);
    lab.transfer(able.fd, 0x5000n, false);
    expect(seen).toHaveLength(2);
  });

  test("keeps its queue, and its iommufd", () => {
    expect(lab.destroy(lab.iommu, queue.id)).toBe("EBUSY");
    lab.close(lab.iommu);
    lab.transfer(able.fd, 0x5000n, false);
    lab.close(able.fd);
    expect(lab.faults(queue.fd)).toEqual([]);
    lab.close(queue.fd);
    expect(lab.task.memory.pinCount).toBe(0);
  });
});

describe("what is asked for when the attachment ends", () => {
  beforeEach(() => {
    lab.attach(able.fd, nested);
    lab.point(0x5000n, undefined);
    lab.transfer(able.fd, 0x5000n, false);
  });

  test("is refused by a detach, read or not", () => {
    lab.detach(able.fd);
    expect(isReadable()).toBe(false);
    expect(lab.get(able.fd, 0x98)).toBe(0n);
    lab.attach(able.fd, nested);
    lab.transfer(able.fd, 0x5000n, false);
    expect(lab.faults(queue.fd)).toHaveLength(1);
    lab.detach(able.fd);
    expect(lab.respond(queue.fd, [1, SUCCESS])).toBe("EINVAL");
    expect(lab.get(able.fd, 0xa8)).toBe(1n);
  });

  test("is refused by a replace, though the queue stays", () => {
    lab.faults(queue.fd);
    const other = lab.nested(able.id, parent, { fault: queue.id });
    lab.attach(able.fd, other);
    expect(lab.state(able.fd)).toBe("failed");
    expect(lab.respond(queue.fd, [1, SUCCESS])).toBe("EINVAL");
    lab.transfer(able.fd, 0x5000n, false);
    expect(lab.faults(queue.fd)).toMatchObject([{ cookie: 1 }]);
  });
});

describe("page requests", () => {
  test("need a device that can make them", () => {
    for (const node of [PLAIN, ENGINE]) {
      const { fd, id } = lab.device(node);
      expect(lab.attach(fd, lab.nested(id, parent, { fault: queue.id }))).toBe("ENODEV");
      expect(lab.reason).toContain("pri");
      expect(lab.attach(fd, lab.nested(id, parent))).toBeTypeOf("number");
    }
  });

  test("are refused where nobody takes them", () => {
    lab.attach(able.fd, lab.nested(able.id, parent));
    lab.point(0x5000n, undefined);
    lab.transfer(able.fd, 0x5000n, false);
    expect(lab.state(able.fd)).toBe("failed");
    expect(isReadable()).toBe(false);
  });

  test("work on plain page tables: memory is mapped when it is used", () => {
    const other = lab.ioas(lab.iommu);
    const onDemand = lab.onDemand(able.id, other, queue.id);
    lab.attach(able.fd, onDemand);
    lab.transfer(able.fd, 0x7000n, false);
    expect(lab.faults(queue.fd)).toMatchObject([{ flags: 2, addr: 0x7000n, perm: 1, pasid: 0 }]);
    lab.mapIoas(lab.iommu, other, lab.guest + 11 * 4096, 4096n, { iova: 0x7000n });
    lab.respond(queue.fd, [1, SUCCESS]);
    expect(lab.state(able.fd)).toBe("done");
    lab.mapIoas(lab.iommu, other, lab.guest + 15 * 4096, 4096n, { iova: 0x8000n });
    lab.back = 0x8000n;
    expect(lab.buffer(able.fd)).toBe(11n);
    // what is unmapped is gone at once
    lab.unmapIoas(lab.iommu, other, 0x7000n, 4096n);
    lab.transfer(able.fd, 0x7000n, false);
    expect(lab.faults(queue.fd)).toHaveLength(1);
  });

  test("carry their PASID", () => {
    lab.attach(able.fd, parent);
    lab.back = page(15);
    expect(lab.attachPasid(able.fd, 0x123, nested)).toBe(nested);
    lab.point(0x5000n, undefined);
    lab.transfer(able.fd, 0x5000n, false, ENABLE | ATS | 0x123n);
    // the kernel's own flag 4 comes along: the response needs the PASID
    expect(lab.faults(queue.fd)).toMatchObject([{ flags: 7, pasid: 0x123, addr: 0x5000n, perm: 1, cookie: 1 }]);
    lab.point(0x5000n, 9);
    lab.respond(queue.fd, [1, SUCCESS]);
    expect(lab.buffer(able.fd)).toBe(9n);
    // requests that the IOMMU translates for the device fail at once
    lab.point(0x6000n, undefined);
    lab.transfer(able.fd, 0x6000n, false, ENABLE | 0x123n);
    expect(lab.state(able.fd)).toBe("failed");
    // Linux answers requests with privilege itself
    lab.transfer(able.fd, 0x6000n, false, ENABLE | ATS | PRIVILEGED | 0x123n);
    expect(lab.state(able.fd)).toBe("failed");
    expect(isReadable()).toBe(false);
    lab.transfer(able.fd, 0x6000n, false, ENABLE | ATS | 0x123n);
    lab.faults(queue.fd);
    lab.detachPasid(able.fd, 0x123);
    expect(lab.state(able.fd)).toBe("failed");
  });

  test("are not for parents", () => {
    expect(lab.onDemand(able.id, lab.space, queue.id, FAULT | NEST_PARENT)).toBe("EOPNOTSUPP");
  });
});
