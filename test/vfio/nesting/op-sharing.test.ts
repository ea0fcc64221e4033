import { expect, test } from "vitest";
import { encodeDescriptor } from "../../../src/uapi/intel-invalidation.ts";
import { BACKED, BACKED_TOO, dmaRead, EDU, NestingProgram, nestingHost } from "./nesting-program.ts";
import { bindTable, descriptors, invalidate, PARENT_SOURCE } from "./op-program.ts";

/** Two programs, each with a mediated device of the same parent and a guest of its own. */
function neighbours() {
  const host = nestingHost("rfc-2017");
  return [11, 12].map((group, i) => {
    const program = new NestingProgram(host);
    const { container } = program.container(group, 3);
    const guest = program.guest(container);
    for (let page = 4; page < 16; page++) program.poke64(guest.memory + page * 4096, BigInt(page + 100 * (i + 1)));
    return { program, container, guest, device: i === 0 ? BACKED : BACKED_TOO };
  });
}

test("two guests pick the same number on one parent: each reaches its own memory", () => {
  const [a, b] = neighbours() as [ReturnType<typeof neighbours>[0], ReturnType<typeof neighbours>[0]];
  const read = ({ program, container, device }: typeof a) => dmaRead(program, container, device, 7, 0n);
  for (const { program, container, guest } of [a, b])
    expect(bindTable(program, container, 7, guest.root), program.reason).toBe(0);
  expect([read(a), read(b)]).toEqual([104n, 204n]);
  a.guest.point(0n, 5);
  b.guest.point(0n, 5);
  // by the guest's number, whatever the host has made of it; and for nobody else
  expect(invalidate(a.program, a.container, { scope: 3, pasid: 7, size: 4096n }), a.program.reason).toBe(0);
  expect([read(a), read(b)]).toEqual([105n, 204n]);
  const flush = [
    encodeDescriptor("pasidIotlb", { granularity: 2, pasid: 7 }),
    encodeDescriptor("pasidDeviceTlb", { sourceId: PARENT_SOURCE, pasid: 7, size: 1, address: 2n ** 51n - 1n }),
  ];
  a.guest.point(0n, 6);
  expect(descriptors(a.program, a.container, ...flush), a.program.reason).toBe(0);
  expect([read(a), read(b)]).toEqual([106n, 204n]);
  expect(bindTable(a.program, a.container, 7, 0n, { flags: 1 })).toBe(0);
  expect(read(a)).not.toBe(106n);
  expect(read(b)).toBe(204n);
});

test("a device that joins later has no part in a binding until it is made anew", () => {
  const program = new NestingProgram(nestingHost("rfc-2017"));
  const { container } = program.container(3, 3);
  const guest = program.guest(container);
  expect(bindTable(program, container, 7, guest.root)).toBe(0);
  program.add(container, 11);
  expect(dmaRead(program, container, EDU, 7, 0n)).toBe(4n);
  expect(dmaRead(program, container, BACKED, 7, 0n)).not.toBe(4n);
  expect(bindTable(program, container, 7, 0n, { flags: 1 })).toBe(0);
  expect(bindTable(program, container, 7, guest.root), program.reason).toBe(0);
  expect(dmaRead(program, container, BACKED, 7, 0n)).toBe(4n);
});
