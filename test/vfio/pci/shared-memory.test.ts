import { describe, expect, test } from "vitest";
import { Host } from "../../../src/host/host.ts";
import type { SharedMemory } from "../../../src/kernel/file-description.ts";
import type { HostDescription } from "../../../src/machine/host-description.ts";
import { readBundle } from "../../recordings/bundle.ts";
import { DEVICES, DeviceProgram, intelHost, REGION } from "./device-program.ts";

/** Memory as a transport shares it, sparse. */
class FakeMemory implements SharedMemory {
  readonly bytes = new Map<number, number>();
  /** What the program does while its memory is read, once a read has come to a byte. */
  meanwhile: { readonly at: number; readonly action: () => void } | undefined;

  read(offset: number, into: Uint8Array): void {
    for (let i = 0; i < into.length; i++) {
      if (this.meanwhile?.at === offset + i) {
        const { action } = this.meanwhile;
        this.meanwhile = undefined;
        action();
      }
      into[i] = this.bytes.get(offset + i) ?? 0;
    }
  }

  /** Where it was written, in order. */
  readonly writes: number[] = [];

  write(offset: number, from: Uint8Array): void {
    this.writes.push(offset);
    for (const [i, byte] of from.entries()) this.bytes.set(offset + i, byte);
  }

  /** What the program does right before something is replaced there. */
  before: { readonly at: number; readonly action: () => void } | undefined;

  replace(offset: number, expected: Uint8Array, by: Uint8Array): boolean {
    if (this.before?.at === offset) {
      const { action } = this.before;
      this.before = undefined;
      action();
    }
    if (expected.some((byte, i) => (this.bytes.get(offset + i) ?? 0) !== byte)) return false;
    this.write(offset, by);
    return true;
  }

  u32(offset: number): number {
    const bytes = new Uint8Array(4);
    this.read(offset, bytes);
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  set(offset: number, ...bytes: number[]): void {
    this.write(offset, Uint8Array.from(bytes));
  }
}

/** The machine with a network card that is plain memory. */
function plainHost(): Host {
  const { host } = readBundle("intel39");
  const groups = host.groups.map(({ devices, ...group }) => ({
    ...group,
    devices: devices.map((device) =>
      "bdf" in device && device.bdf === DEVICES.nic.name ? { ...device, model: "generic", options: {} } : device,
    ),
  }));
  return new Host({ ...host, groups } as HostDescription);
}

function attached(which: "edu" | "nic", host = intelHost()) {
  const program = new DeviceProgram(which, host);
  const memory = new FakeMemory();
  program.setConfig(4, 2, 6);
  program.file.attachMemory(memory);
  return { program, memory };
}

describe("regions in memory that a transport shares with the program", () => {
  test("registers show their values, and what the program writes there is carried out", () => {
    const { program, memory } = attached("edu");
    expect(memory.u32(0)).toBe(0x0100_00ed);
    memory.set(4, 0x78, 0x56, 0x34, 0x12);
    program.file.pollMemory();
    expect(memory.u32(4)).toBe(0xedcb_a987);
    expect(program.pread(4, 4)).toEqual(Uint8Array.of(0x87, 0xa9, 0xcb, 0xed));
  });

  test("DMA is started by the command register in memory", () => {
    const { program, memory } = attached("edu");
    const buffer = program.memory(4096);
    program.poke(buffer, Uint8Array.of(1, 2, 3, 4));
    program.map(program.containerFd, 0x1000n, buffer, 4096n);
    memory.set(0x80, 0x00, 0x10);
    memory.set(0x88, 0, 0, 4);
    memory.set(0x90, 4);
    memory.set(0x98, 1);
    program.file.pollMemory();
    expect(memory.u32(0x98) & 1).toBe(0);
    memory.set(0x80, 0, 0, 4);
    memory.set(0x88, 0x00, 0x18, 0);
    memory.set(0x98, 3);
    program.file.pollMemory();
    expect(program.peek(buffer + 0x800, 4)).toEqual(Uint8Array.of(1, 2, 3, 4));
  });

  test("what was written before the command is there with it, also when a look had passed it already", () => {
    const { program, memory } = attached("edu");
    const buffer = program.memory(4096);
    program.poke(buffer, Uint8Array.of(1, 2, 3, 4));
    program.map(program.containerFd, 0x1000n, buffer, 4096n);
    memory.meanwhile = {
      at: 0x98,
      action: () => {
        memory.set(0x80, 0x00, 0x10);
        memory.set(0x88, 0, 0, 4);
        memory.set(0x90, 4);
        memory.set(0x98, 1);
      },
    };
    program.file.pollMemory();
    program.file.pollMemory();
    memory.set(0x80, 0, 0, 4);
    memory.set(0x88, 0x00, 0x18, 0);
    memory.set(0x98, 3);
    program.file.pollMemory();
    expect(program.peek(buffer + 0x800, 4)).toEqual(Uint8Array.of(1, 2, 3, 4));
  });

  test("what was written before work begins shows before it has begun", () => {
    const { program, memory } = attached("nic");
    const [IMS, IMC, TDBAL, TDLEN, TCTL, TDH, TDT] = [0xd0, 0xd8, 0x3800, 0x3808, 0x400, 0x3810, 0x3818];
    const ring = program.memory(4096);
    program.map(program.containerFd, 0x1000n, ring, 4096n);
    memory.set(TDBAL, 0x00, 0x10);
    memory.set(TDLEN, 128);
    memory.set(TCTL, 2);
    memory.set(IMS, 4);
    program.file.pollMemory();
    expect(memory.u32(IMS)).toBe(4);
    memory.set(IMC, 4);
    memory.set(TDT, 1);
    memory.writes.length = 0;
    program.file.pollMemory();
    expect([memory.u32(IMS), memory.u32(TDH)]).toEqual([0, 1]);
    expect(memory.writes.indexOf(IMS)).toBeLessThan(memory.writes.indexOf(TDH));
  });

  test("what the program writes while registers are being shown is not written over", () => {
    const { program, memory } = attached("nic");
    const [IMS, IMC, CTRL] = [0xd0, 0xd8, 0];
    memory.set(IMS, 4);
    program.file.pollMemory();
    memory.set(IMC, 4);
    // a look, a second one, and then the one before the registers are shown
    let looks = 0;
    const write = () => {
      looks++;
      if (looks === 3) memory.set(IMS, 6);
      else memory.meanwhile = { at: CTRL, action: write };
    };
    memory.meanwhile = { at: CTRL, action: write };
    program.file.pollMemory();
    memory.meanwhile = undefined;
    program.file.pollMemory();
    expect([looks, memory.u32(IMS)]).toEqual([3, 6]);
  });

  test("nor what it writes in the moment in which one is shown", () => {
    const { program, memory } = attached("nic");
    const [IMS, IMC] = [0xd0, 0xd8];
    memory.set(IMS, 4);
    program.file.pollMemory();
    memory.set(IMC, 4);
    memory.before = { at: IMS, action: () => memory.set(IMS, 2) };
    program.file.pollMemory();
    expect(memory.u32(IMS)).toBe(2);
    program.file.pollMemory();
    expect(program.pread(IMS, 4)).toEqual(Uint8Array.of(2, 0, 0, 0));
  });

  test("plain memory is the same on both sides", () => {
    const { program, memory } = attached("nic", plainHost());
    program.pwrite(0x100, Uint8Array.of(9, 8, 7));
    expect(memory.bytes.get(0x101)).toBe(8);
    memory.set(REGION + 0x20, 5, 6);
    expect(program.pread(REGION + 0x20, 2)).toEqual(Uint8Array.of(5, 6));
  });
});
