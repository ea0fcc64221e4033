import { expect, test } from "vitest";
import type { Result } from "../program.ts";
import { BACKED, EDU, type Guest, NestingProgram, nestingHost, PLAIN } from "./nesting-program.ts";

const BUFFER = 0x40000n;
const NESTING = 6;

/** A program with a device whose registers it writes. */
class Registers {
  readonly program: NestingProgram;
  readonly container: Result;
  readonly #device: Result;
  readonly #scratch: number;
  readonly warnings: string[] = [];

  constructor(api: string, group: number, name: string, type: number) {
    this.program = new NestingProgram(nestingHost(api, "6.12", (message) => this.warnings.push(message)));
    const opened = this.program.container(group, type);
    this.container = opened.container;
    this.#device = this.program.deviceFd(opened.group, name);
    this.#scratch = this.program.memory(4096);
    // memory and bus master
    this.write(7 * 2 ** 40 + 4, 6n, 2);
  }

  write(at: number, value: bigint, width = 8): void {
    this.program.poke64(this.#scratch, value);
    const file = this.program.task.files.get(Number(this.#device))!;
    expect(file.write(this.program.task, this.#scratch, width, at)).toBe(width);
  }

  read(at: number, width = 8): bigint {
    const file = this.program.task.files.get(Number(this.#device))!;
    this.program.poke64(this.#scratch, 0n);
    expect(file.read(this.program.task, this.#scratch, width, at)).toBe(width);
    return this.program.peek64(this.#scratch);
  }

  /** edu: what its DMA reads at an address, by way of a page of the guest's memory. */
  eduRead(guest: Guest, address: bigint, pasid: bigint): { value: bigint; result: bigint } {
    this.write(0xa0, pasid);
    this.write(0x80, address);
    this.write(0x88, BUFFER);
    this.write(0x90, 8n);
    this.write(0x98, 1n);
    const result = this.read(0xa8);
    this.write(0xa0, 0n);
    this.write(0x80, BUFFER);
    this.write(0x88, guest.page(15));
    this.write(0x98, 3n);
    return { value: this.program.peek64(guest.memory + 15 * 4096), result };
  }
}

const ENABLE = 1n << 31n;
const ATS = 1n << 30n;
const PRIVILEGED = 1n << 29n;

test("edu reads through a bound table, with and without its own TLB, and says when it did not reach memory", () => {
  const device = new Registers("vsva-v1", 3, EDU, NESTING);
  const { program, container } = device;
  const guest = program.guest(container);
  const pasid = program.allocV1(container);
  const low = BigInt(pasid);
  expect(device.eduRead(guest, 0n, ENABLE | low)).toEqual({ value: 0n, result: 1n });
  expect(device.warnings.at(-1)).toMatch(
    /0000:03:00.0: DMA read of 0x8 bytes at iova 0x0 faults: PASID 1: VT-d fault 0x59/,
  );
  expect(program.bindV1(container, pasid, guest.root)).toBe(0);
  for (const own of [0n, ATS]) expect(device.eduRead(guest, 0n, ENABLE | own | low)).toEqual({ value: 4n, result: 0n });
  expect(device.eduRead(guest, 0n, ENABLE | PRIVILEGED | low).result).toBe(1n);
  expect(device.warnings.at(-1)).toMatch(/0x5d/);
  // the PASID is one thing, the plain address another
  expect(device.eduRead(guest, guest.page(7), 0n)).toEqual({ value: 7n, result: 0n });
  guest.point(0n, 5);
  for (const own of [0n, ATS]) expect(device.eduRead(guest, 0n, ENABLE | own | low).value).toBe(4n);
  program.unmap(container, guest.gpa, 0x1_0000n);
  for (const own of [0n, ATS]) {
    device.write(0xa0, ENABLE | own | low);
    device.write(0x80, 0n);
    device.write(0x88, BUFFER);
    device.write(0x98, 1n);
    expect(device.read(0xa8)).toBe(1n);
  }
});

test("a mainline edu has no such registers", () => {
  const device = new Registers("mainline", 3, EDU, 3);
  device.write(0xa0, ENABLE | 1n);
  expect([device.read(0xa0), device.read(0xa8)]).toEqual([2n ** 64n - 1n, 2n ** 64n - 1n]);
});

test("the mediated sample device does DMA through its parent's PASIDs, its own among them; a plain one does none", () => {
  for (const [group, name] of [
    [11, BACKED],
    [20, PLAIN],
  ] as const) {
    const device = new Registers("vsva-v1", group, name, NESTING);
    const { program, container } = device;
    const guest = program.guest(container);
    const pasid = program.allocV1(container);
    const bound = program.bindV1(container, pasid, guest.root);
    const run = (address: bigint, value: bigint) => {
      device.write(0x34, value, 4);
      device.write(0x10, address & 0xffff_ffffn, 4);
      device.write(0x14, address >> 32n, 4);
      device.write(0x18, 8n, 4);
      device.write(0x20, 0n, 4);
      device.write(0x08, 8n, 4);
      return [device.read(0x0c, 4), device.read(2 * 2 ** 40)];
    };
    const isBacked = group === 11;
    expect(bound).toBe(isBacked ? 0 : "ENODEV");
    expect(run(guest.page(6), 0n)).toEqual(isBacked ? [0n, 6n] : [5n, 0n]);
    expect(run(0n, ENABLE | BigInt(pasid))[0]).toBe(isBacked ? 0n : 5n);
    expect(run(0n, ENABLE | 999n)[0]).toBe(5n);
  }
});

test("on a mainline host the mediated device has no such commands", () => {
  const device = new Registers("mainline", 20, PLAIN, 3);
  device.write(0x08, 8n, 4);
  expect(device.read(0x0c, 4)).toBe(38n);
});
