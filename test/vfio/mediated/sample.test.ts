import { describe, expect, test } from "vitest";
import * as reg from "../../../src/devices/mediated/sample/registers.ts";
import { PROT_READ } from "../../../src/kernel/model-areas.ts";
import { ERRNO } from "../../../src/uapi/errno.ts";
import { VFIO_DEVICE_RESET } from "../../../src/uapi/vfio-device.ts";
import { Program } from "../program.ts";
import { CONFIG, PAGE, PCI_GROUP, SAMPLES, Sample, sampleHost, setup } from "./sample-program.ts";

const bytesAt = (program: Program, address: number, length: number) => {
  const bytes = new Uint8Array(length);
  program.task.memory.copyIn(address, bytes, length);
  return [...bytes];
};

describe("the sample device", () => {
  test("says what it is", () => {
    const { sample } = setup();
    expect(sample.get(reg.ID)).toBe(reg.ID_VALUE);
    expect(new TextDecoder().decode(sample.pread(reg.ID, 4) as Uint8Array)).toBe("mdv1");
    expect(sample.get(reg.PAGE_BYTES)).toBe(4096);
  });

  test("pins pages, which are charged to their process, and gives them back", () => {
    const { program, sample } = setup();
    expect(sample.pin(0n, 4)).toBe(0);
    expect(sample.pin(PAGE, 1)).toBe(0);
    expect([sample.get(reg.PINNED), program.task.memory.lockedPages]).toEqual([4, 4]);
    expect(sample.unpin(0n, 4)).toBe(0);
    expect([sample.get(reg.PINNED), program.task.memory.lockedPages]).toEqual([1, 1]);
    expect(sample.unpin(PAGE, 1)).toBe(0);
    expect(sample.unpin(PAGE, 1)).toBe(ERRNO.ENXIO);
    expect([sample.get(reg.PINNED), program.task.memory.pinCount]).toEqual([0, 0]);
  });

  test("writes and reads memory that it holds, across pages", () => {
    const { program, sample, memory } = setup();
    sample.pin(0n, 2);
    sample.setBuffer([1, 2, 3, 4]);
    expect(sample.run("WRITE_PINNED", PAGE - 2n, 4)).toBe(0);
    expect(bytesAt(program, memory + 4094, 4)).toEqual([1, 2, 3, 4]);
    program.task.memory.copyOut(memory + 4095, Uint8Array.of(9, 8), 2);
    expect(sample.run("READ_PINNED", PAGE - 1n, 2)).toBe(0);
    expect(sample.buffer(2)).toEqual([9, 8]);
    expect(sample.run("READ_PINNED", 2n * PAGE - 1n, 2)).toBe(ERRNO.ENXIO);
    expect(sample.run("READ_PINNED", 0n, 4097)).toBe(ERRNO.ERANGE);
  });

  test("keeps what it holds although the program's memory is something else by now", () => {
    const { program, sample, memory } = setup();
    program.task.memory.copyOut(memory, Uint8Array.of(7), 1);
    sample.pin(0n, 1);
    program.task.memory.munmap(memory, 4096);
    expect(sample.run("READ_PINNED", 0n, 1)).toBe(0);
    expect(sample.buffer(1)).toEqual([7]);
    // without pinning there is nothing to reach any more
    expect(sample.run("READ", 0n, 1)).toBe(ERRNO.EFAULT);
  });

  test("reaches memory without pinning it", () => {
    const { program, sample, memory } = setup();
    sample.setBuffer([5, 6]);
    expect(sample.run("WRITE", 3n, 2)).toBe(0);
    expect(bytesAt(program, memory + 3, 2)).toEqual([5, 6]);
    sample.setBuffer([0, 0]);
    expect(sample.run("READ", 3n, 2)).toBe(0);
    expect(sample.buffer(2)).toEqual([5, 6]);
    expect(program.task.memory.lockedPages).toBe(0);
    expect(sample.run("READ", 16n * PAGE - 1n, 2)).toBe(ERRNO.EINVAL);
    expect(sample.run("READ", 0n, 0)).toBe(ERRNO.EINVAL);
  });

  test("is refused what the container refuses, and says why", () => {
    const warnings: string[] = [];
    const host = sampleHost((message) => warnings.push(message));
    const { program, container, sample, memory } = setup({ memlock: 2 * 4096, capabilities: [] }, host);
    program.map(container, 0x100_0000n, memory, PAGE, 1);
    program.map(container, 0x200_0000n, memory, PAGE, 2);
    expect(sample.pin(0n, 3)).toBe(ERRNO.ENOMEM);
    expect(sample.pin(15n * PAGE, 2)).toBe(ERRNO.EINVAL);
    expect(sample.pin(0n, 0)).toBe(ERRNO.EINVAL);
    expect(sample.pin(0n, 513)).toBe(ERRNO.E2BIG);
    expect(sample.pin(0x100_0000n, 1)).toBe(ERRNO.EPERM);
    expect(sample.run("WRITE", 0x100_0000n, 1)).toBe(ERRNO.EPERM);
    // writing takes the right to read as well
    expect(sample.run("WRITE", 0x200_0000n, 1)).toBe(ERRNO.EPERM);
    expect([sample.get(reg.PINNED), program.task.memory.lockedPages]).toEqual([0, 0]);
    expect(sample.pin(0x100_0000n, 1, false)).toBe(0);
    expect(sample.run("WRITE_PINNED", 0x100_0000n, 1)).toBe(ERRNO.EROFS);
    expect(warnings.join("\n")).toMatch(/PIN of 3 at iova 0x0 ends with ENOMEM: RLIMIT_MEMLOCK .* \(8192 bytes\)/);
    expect(warnings.join("\n")).toMatch(/PIN of 1 at iova 0x1000000 ends with EPERM: .* is not mapped for writing/);
  });

  test("cannot pin in a v1 container", () => {
    const program = new Program(sampleHost());
    const { container, group } = program.container(SAMPLES[0].group, 1);
    program.map(container, 0n, program.memory(4096), PAGE);
    const sample = new Sample(program, group);
    expect(sample.pin(0n, 1)).toBe(ERRNO.EACCES);
    expect(sample.run("READ", 0n, 1)).toBe(0);
  });

  test("counts against the limit of the process that made the mapping, whoever drives the device", () => {
    const { program, sample } = setup({ memlock: 4096, capabilities: [] });
    const child = program.task.fork();
    child.memlock = 16 * 4096;
    const pin = (iova: bigint) => sample.run("PIN", iova, 1, { task: child });
    expect(pin(0n)).toBe(0);
    expect(pin(PAGE)).toBe(ERRNO.ENOMEM);
    expect([program.task.memory.lockedPages, child.memory.lockedPages]).toEqual([1, 0]);
    // what is not pinned is reached in the caller's own memory only
    expect(sample.run("READ", 0n, 1, { task: child })).toBe(ERRNO.EFAULT);
    child.exit();
  });

  test("does not pin memory of another device", () => {
    const { program, container, sample } = setup();
    const pci = program.open(`/dev/vfio/${PCI_GROUP}`);
    program.setContainer(pci, container);
    const file = program.task.files.get(Number(program.deviceFd(pci, "0000:00:1b.0")))!;
    const bar = { offset: 0, length: 4096, read: true, write: true, shared: true };
    file.mmap(program.task, bar);
    const vaddr = program.task.memory.mmap({ length: 4096, protection: 3, ...file.mappedObject(bar)!, shared: true });
    expect(program.map(container, 0x100_0000n, vaddr, PAGE)).toBe(0);
    expect(sample.pin(0x100_0000n, 1)).toBe(ERRNO.EINVAL);
    expect(sample.get(reg.PINNED)).toBe(0);
  });

  test("cannot pin what is not readable, and knows no other commands", () => {
    const { program, sample, memory } = setup();
    program.task.memory.mprotect(memory, 4096, PROT_READ);
    expect(sample.pin(0n, 1)).toBe(ERRNO.EFAULT);
    sample.set(reg.COMMAND, 99);
    expect(sample.get(reg.STATUS)).toBe(ERRNO.ENOSYS);
  });
});

describe("pages that the sample device holds", () => {
  test("are let go before their mapping goes, and the device tells", () => {
    const { program, container, sample } = setup();
    const event = sample.eventfd(1);
    sample.set(reg.IRQ_ENABLE, reg.IRQ_TAKEN);
    sample.pin(0n, 2);
    sample.pin(0n, 1);
    expect(program.unmap(container, 0n, 16n * PAGE)).toBe(16n * PAGE);
    expect([program.task.memory.lockedPages, program.task.memory.pinCount]).toEqual([0, 0]);
    expect([sample.get(reg.PINNED), sample.get(reg.TAKEN)]).toEqual([0, 2]);
    expect(sample.get(reg.IRQ_STATUS)).toBe(reg.IRQ_DONE | reg.IRQ_TAKEN);
    expect(event.take()).toBe(1n);
    expect(sample.run("READ_PINNED", 0n, 1)).toBe(ERRNO.ENXIO);
  });

  test("go with the device's file, of which there may be several", () => {
    const { program, group, sample } = setup();
    const second = program.deviceFd(group, SAMPLES[0].name);
    sample.pin(0n, 3);
    sample.close();
    expect(program.task.memory.lockedPages).toBe(3);
    program.close(second);
    expect([program.task.memory.lockedPages, program.task.memory.pinCount]).toEqual([0, 0]);
    const again = new Sample(program, group);
    expect([again.get(reg.PINNED), again.get(reg.COUNT), again.get(reg.STATUS)]).toEqual([0, 0, 0]);
  });

  test("stay while the device is open, whatever else is closed", () => {
    const { program, container, group, sample } = setup();
    sample.pin(0n, 2);
    program.close(container);
    program.close(group);
    expect(program.task.memory.lockedPages).toBe(2);
    sample.close();
    expect([program.task.memory.lockedPages, program.task.memory.pinCount]).toEqual([0, 0]);
  });

  test("go with a reset, through the request and through config space", () => {
    const { program, sample } = setup();
    sample.pin(0n, 2);
    expect(program.ioctl(sample.fd, VFIO_DEVICE_RESET)).toBe(0);
    expect(program.task.memory.lockedPages).toBe(0);
    sample.pin(0n, 2);
    const [, capability] = sample.pread(CONFIG + 0x40, 2) as Uint8Array;
    expect([...(sample.pread(CONFIG + capability!, 4) as Uint8Array)]).toEqual([0x13, 0, 6, 3]);
    sample.pwrite(CONFIG + capability! + 4, Uint8Array.of(1));
    expect([program.task.memory.lockedPages, sample.get(reg.PINNED)]).toEqual([0, 0]);
  });

  test("are charged once with a PCI device in the container, and remain when it leaves", () => {
    const { program, container, sample } = setup();
    const pci = program.open(`/dev/vfio/${PCI_GROUP}`);
    sample.pin(0n, 3);
    program.setContainer(pci, container);
    expect(program.task.memory.lockedPages).toBe(16);
    sample.pin(3n * PAGE, 2);
    expect(program.task.memory.lockedPages).toBe(16);
    program.unsetContainer(pci);
    expect(program.task.memory.lockedPages).toBe(5);
    sample.run("UNPIN_ALL", 0n, 0);
    expect(program.task.memory.lockedPages).toBe(0);
  });

  test("of two devices are held by both", () => {
    const { program, container, sample } = setup();
    const other = program.open(`/dev/vfio/${SAMPLES[1].group}`);
    program.setContainer(other, container);
    const second = new Sample(program, other, SAMPLES[1].name);
    sample.pin(0n, 2);
    second.pin(PAGE, 2);
    expect(program.task.memory.lockedPages).toBe(3);
    sample.close();
    expect([program.task.memory.lockedPages, second.get(reg.PINNED)]).toEqual([2, 2]);
    program.unmap(container, 0n, 16n * PAGE);
    expect([program.task.memory.lockedPages, second.get(reg.TAKEN)]).toEqual([0, 2]);
  });

  test("alone are dirty, with what is written", () => {
    const { program, container, sample } = setup();
    program.dirty(container, "start");
    const dirty = () => program.dirtyBits(container, 0n, 16);
    expect(dirty()).toEqual([]);
    sample.pin(2n * PAGE, 2, false);
    sample.run("WRITE", 6n * PAGE - 1n, 2);
    sample.run("READ", 8n * PAGE, 8);
    expect(dirty()).toEqual([2, 3, 5, 6]);
    expect(dirty()).toEqual([2, 3]);
    sample.unpin(2n * PAGE, 1);
    expect(dirty()).toEqual([2, 3]);
    expect(dirty()).toEqual([3]);
  });
});

describe("interrupts of the sample device", () => {
  test("are one message each by MSI, without bus mastering", () => {
    const { sample } = setup();
    const event = sample.eventfd(1);
    sample.pin(0n, 1);
    expect(() => event.take()).toThrow(/EAGAIN/);
    // what has happened already is told as soon as it is enabled
    sample.set(reg.IRQ_ENABLE, reg.IRQ_DONE);
    expect(event.take()).toBe(1n);
    sample.pin(0n, 1);
    sample.pin(0n, 1);
    expect(event.take()).toBe(2n);
  });

  test("assert INTx until they are acknowledged; each one masks it", () => {
    const { sample } = setup();
    const event = sample.eventfd(0);
    sample.set(reg.IRQ_ENABLE, reg.IRQ_DONE);
    sample.pin(0n, 1);
    sample.pin(0n, 1);
    expect(event.take()).toBe(1n);
    expect(sample.irqs(0, "unmask", 1)).toBe(0);
    expect(event.take()).toBe(1n);
    sample.set(reg.IRQ_STATUS, reg.IRQ_DONE);
    expect(sample.irqs(0, "unmask", 1)).toBe(0);
    expect(() => event.take()).toThrow(/EAGAIN/);
    sample.pin(0n, 1);
    expect(event.take()).toBe(1n);
  });

  test("end with the set-up, and there are no others", () => {
    const { program, sample } = setup();
    const event = sample.eventfd(1);
    expect(sample.irqs(0, "trigger", 1)).toBe("EINVAL");
    expect(program.reason).toMatch(/uses MSI now/);
    expect(sample.irqs(1, "trigger", 1)).toBe(0);
    expect(event.take()).toBe(1n);
    expect(sample.irqs(1, "trigger", 0)).toBe(0);
    expect(sample.irqs(1, "mask", 1)).toBe("ENOTTY");
    for (const index of [2, 3, 4]) expect(sample.irqs(index, "trigger", 1)).toBe("EINVAL");
  });
});
