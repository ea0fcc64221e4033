import { beforeEach, describe, expect, test } from "vitest";
import { IoPageTable } from "../../src/iommufd/memory/io-page-table.ts";
import { mapNew } from "../../src/iommufd/memory/map-area.ts";
import { MappedPages } from "../../src/iommufd/memory/mapped-pages.ts";
import { UserPages } from "../../src/iommufd/memory/page-source.ts";
import { PinAccounts } from "../../src/iommufd/memory/pin-account.ts";
import { TableAccess } from "../../src/iommufd/memory/table-access.ts";
import { unmapAll } from "../../src/iommufd/memory/unmap-area.ts";
import { MemfdFile } from "../../src/kernel/model-memfd.ts";
import { ModelTask } from "../../src/kernel/model-task.ts";
import { CAP_IPC_LOCK } from "../../src/kernel/task.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { ERRNO } from "../../src/uapi/errno.ts";
import * as uapi from "../../src/uapi/iommufd.ts";
import { VFIO_SET_IOMMU } from "../../src/uapi/vfio.ts";
import type { Result } from "../vfio/program.ts";
import { EduDevice } from "./edu-device.ts";
import { IommufdProgram } from "./iommufd-program.ts";

const PAGE = 4096n;
const BASE = 0x100000n;
const LAST = 2n ** 64n - 1n;
const lab = { ...readyMadeHost("lab")!, kernel: "7.2" };
const [SAMPLE, EDU] = ["/dev/vfio/devices/vfio3", "/dev/vfio/devices/vfio2"];

/** Registers and commands of docs/sample-mdev.md. */
const reg = { COMMAND: 8, STATUS: 0xc, IOVA: 0x10, COUNT: 0x18, FLAGS: 0x1c, OFFSET: 0x20, PINNED: 0x2c, TAKEN: 0x30 };
const command = { PIN: 1, UNPIN: 2, READ_PINNED: 4, WRITE_PINNED: 5, READ: 6, WRITE: 7 };
const BUFFER = 2 * 2 ** 40;

let program: IommufdProgram;
let fd: Result;
let device: Result;
let ioas: Result;
let memory: number;

beforeEach(() => {
  program = new IommufdProgram(lab);
  fd = program.iommufd();
  device = program.open(SAMPLE);
  program.bind(device, fd);
  ioas = program.ioas(fd);
  memory = program.memory(64 * 4096);
});

function put(offset: number, bytes: Uint8Array, task: ModelTask = program.task): void {
  const at = task.memory.mmap({ length: 4096, protection: 3 });
  task.memory.copyOut(at, bytes, bytes.length);
  task.files.get(Number(device))!.write(task, at, bytes.length, offset);
}

function get(offset: number, count: number): Uint8Array {
  const at = program.memory(4096);
  program.task.files.get(Number(device))!.read(program.task, at, count, offset);
  const bytes = new Uint8Array(count);
  program.task.memory.copyIn(at, bytes, count);
  return bytes;
}

function word(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

function register(offset: number): number {
  return new DataView(get(offset, 4).buffer).getUint32(0, true);
}

/** Runs a command of the sample device: "ok" or the errno that is in STATUS. */
function run(what: keyof typeof command, iova: bigint, count: number, flags = 0, task = program.task): string {
  put(reg.IOVA, new Uint8Array(new BigUint64Array([iova]).buffer), task);
  put(reg.COUNT, word(count), task);
  put(reg.FLAGS, word(flags), task);
  put(reg.COMMAND, word(command[what]), task);
  const status = register(reg.STATUS);
  return status === 0 ? "ok" : (Object.entries(ERRNO).find(([, value]) => value === status)?.[0] ?? String(status));
}

function text(at: number, length: number): string {
  const bytes = new Uint8Array(length);
  program.task.memory.copyIn(at, bytes, length);
  return Buffer.from(bytes).toString("latin1");
}

const bytesOf = (value: string) => new Uint8Array(Buffer.from(value, "latin1"));

describe("a mediated device in an iommufd", () => {
  test("reaches nothing before it is attached, and after it is detached", () => {
    expect(run("PIN", BASE, 1)).toBe("ENOENT");
    expect(run("READ", BASE, 1)).toBe("ENOENT");
    expect(program.attach(device, ioas)).toBe(ioas);
    program.mapIoas(fd, ioas, memory, PAGE, { iova: BASE });
    expect(run("PIN", BASE, 1)).toBe("ok");
    program.detach(device);
    expect(register(reg.PINNED)).toBe(0);
    expect(run("PIN", BASE, 1)).toBe("ENOENT");
  });

  test("pins, reads and writes memory", () => {
    program.attach(device, ioas);
    program.mapIoas(fd, ioas, memory, 8n * PAGE, { iova: BASE });
    expect(run("PIN", BASE + PAGE, 2, 1)).toBe("ok");
    expect(register(reg.PINNED)).toBe(2);
    expect(program.task.memory.pinnedPages).toBe(2);
    put(BUFFER, bytesOf("from the device"));
    expect(run("WRITE_PINNED", BASE + 2n * PAGE - 4n, 15)).toBe("ok");
    expect(text(memory + 2 * 4096 - 4, 15)).toBe("from the device");
    program.task.memory.copyOut(memory + 5 * 4096 - 3, bytesOf("program"), 7);
    expect(run("READ", BASE + 5n * PAGE - 3n, 7)).toBe("ok");
    expect(Buffer.from(get(BUFFER, 7)).toString()).toBe("program");
    expect(run("WRITE", BASE, 3)).toBe("ok");
    expect(text(memory, 3)).toBe("pro");
    // one at a time, though two were pinned together
    expect(run("UNPIN", BASE + PAGE, 1)).toBe("ok");
    expect([register(reg.PINNED), program.task.memory.pinnedPages]).toEqual([1, 1]);
  });

  test("is told of an unmap, and gives its pages back before it is done", () => {
    program.attach(device, ioas);
    program.mapIoas(fd, ioas, memory, 4n * PAGE, { iova: BASE });
    program.mapIoas(fd, ioas, memory, 4n * PAGE, { iova: BASE + 4n * PAGE });
    expect(run("PIN", BASE + 2n * PAGE, 4)).toBe("ok");
    expect(program.unmapIoas(fd, ioas, BASE, 4n * PAGE)).toBe(4n * PAGE);
    expect([register(reg.PINNED), register(reg.TAKEN)]).toEqual([2, 2]);
    // one that would cut a mapping leaves it alone
    expect(program.unmapIoas(fd, ioas, BASE + 4n * PAGE, PAGE)).toBe("ENOENT");
    expect(register(reg.PINNED)).toBe(2);
    expect(program.unmapIoas(fd, ioas)).toBe(4n * PAGE);
    expect([register(reg.PINNED), register(reg.TAKEN)]).toEqual([0, 4]);
    expect([program.task.memory.pinnedPages, program.task.memory.pinCount]).toEqual([0, 0]);
  });

  test("gives everything back when it moves to another address space", () => {
    program.attach(device, ioas);
    program.mapIoas(fd, ioas, memory, PAGE, { iova: BASE });
    run("PIN", BASE, 1);
    const other = program.ioas(fd);
    expect(program.attach(device, other)).toBe(other);
    expect([register(reg.PINNED), register(reg.TAKEN)]).toEqual([0, 1]);
    expect(program.destroy(fd, ioas)).toBe(0);
    // a move that fails changes nothing
    const parts = program.ioas(fd);
    program.mapIoas(fd, parts, memory, 100n, { iova: 0n });
    program.mapIoas(fd, other, memory, PAGE, { iova: BASE });
    run("PIN", BASE, 1);
    expect(program.attach(device, parts)).toBe("EADDRINUSE");
    expect(program.attach(device, 99)).toBe("ENOENT");
    expect(register(reg.PINNED)).toBe(1);
  });

  test("gives everything back with its last close", () => {
    program.attach(device, ioas);
    program.mapIoas(fd, ioas, memory, 2n * PAGE, { iova: BASE });
    run("PIN", BASE, 2);
    program.close(fd);
    expect(program.task.memory.pinnedPages).toBe(2);
    program.close(device);
    expect([program.task.memory.pinnedPages, program.task.memory.pinCount]).toEqual([0, 0]);
  });

  test("counts a page once with a device whose IOMMU has it", () => {
    program.attach(device, ioas);
    program.mapIoas(fd, ioas, memory, 4n * PAGE, { iova: BASE });
    run("PIN", BASE, 1);
    const edu = program.open(EDU);
    program.bind(edu, fd);
    program.attach(edu, ioas);
    expect(program.task.memory.pinnedPages).toBe(4);
    program.detach(edu);
    expect(program.task.memory.pinnedPages).toBe(1);
    expect(run("WRITE_PINNED", BASE, 5)).toBe("EROFS");
    expect(run("READ_PINNED", BASE, 5)).toBe("ok");
  });
});

describe("what a mediated device may not do", () => {
  beforeEach(() => {
    program.attach(device, ioas);
    program.mapIoas(fd, ioas, memory, 2n * PAGE, { iova: BASE });
    program.mapIoas(fd, ioas, memory, PAGE, { iova: BASE + 2n * PAGE, access: 4 });
    program.mapIoas(fd, ioas, memory, PAGE, { iova: BASE + 3n * PAGE, access: 2 });
  });

  test.each<[keyof typeof command, bigint, number, number, string]>([
    ["PIN", BASE, 0, 0, "EINVAL"],
    ["PIN", BASE + 4n * PAGE, 1, 0, "ENOENT"],
    ["PIN", BASE + PAGE, 2, 1, "EPERM"],
    ["PIN", BASE + 3n * PAGE, 1, 0, "EPERM"],
    ["PIN", LAST - PAGE + 1n, 2, 0, "EOVERFLOW"],
    ["READ", BASE, 0, 0, "EINVAL"],
    ["READ", BASE + 4n * PAGE, 1, 0, "ENOENT"],
    ["READ", BASE + 3n * PAGE, 1, 0, "EPERM"],
    ["WRITE", BASE + 2n * PAGE, 1, 0, "EPERM"],
    ["WRITE", LAST, 2, 0, "EOVERFLOW"],
  ])("%s at %o of %o with flags %o", (what, iova, count, flags, errno) => {
    expect(run(what, iova, count, flags)).toBe(errno);
    // all or none
    expect([register(reg.PINNED), program.task.memory.pinnedPages]).toEqual([0, 0]);
  });

  test("memory that is gone", () => {
    program.task.memory.munmap(memory, 2 * 4096);
    expect(run("PIN", BASE, 1)).toBe("EFAULT");
    expect(run("READ", BASE, 1)).toBe("EFAULT");
  });

  test("more than the limit of locked memory", () => {
    const limited = new IommufdProgram(lab, { memlock: 2 * 4096 });
    program = limited;
    fd = program.iommufd();
    device = program.open(SAMPLE);
    program.bind(device, fd);
    ioas = program.ioas(fd);
    program.attach(device, ioas);
    program.task.capabilities.delete(CAP_IPC_LOCK);
    expect(program.mapIoas(fd, ioas, program.memory(4 * 4096), 4n * PAGE, { iova: BASE })).toBe(BASE);
    expect(run("PIN", BASE, 3)).toBe("ENOMEM");
    expect(run("PIN", BASE, 2)).toBe("ok");
  });
});

test("what the driver of a mediated device writes is in no page table: nothing is dirty by it", () => {
  program.attach(device, ioas);
  const edu = program.open(EDU);
  const id = program.bind(edu, fd);
  const hwpt = program.hwpt(fd, id, ioas, 2);
  program.attach(edu, hwpt);
  program.mapIoas(fd, ioas, memory, 4n * PAGE, { iova: BASE });
  expect(program.setDirtyTracking(fd, hwpt, true)).toBe(0);
  put(BUFFER, bytesOf("processor"));
  expect([run("PIN", BASE, 1, 1), run("WRITE_PINNED", BASE, 9), run("WRITE", BASE + PAGE, 9)]).toEqual([
    "ok",
    "ok",
    "ok",
  ]);
  new EduDevice(program, edu).write(BASE + 2n * PAGE, 1);
  expect(text(memory + 4096, 9)).toBe("processor");
  expect(program.dirtyBits64(fd, hwpt, BASE, 4n * PAGE)).toBe(4n);
});

test("a mediated device with an IOMMU behind it has no other way to memory", () => {
  const backed = lab.groups.map((group) => ({
    ...group,
    devices: group.devices.map((each) => (each.bus === "mdev" ? { ...each, iommuBacked: true } : each)),
  }));
  program = new IommufdProgram({ ...lab, groups: backed });
  fd = program.iommufd();
  device = program.open(SAMPLE);
  program.bind(device, fd);
  const id = program.ioas(fd);
  expect(program.attach(device, id)).toBe(3);
  program.mapIoas(fd, id, program.memory(4096), PAGE, { iova: BASE });
  expect([run("PIN", BASE, 1), run("READ", BASE, 1)]).toEqual(["EINVAL", "EINVAL"]);
});

test("a mapping that goes cannot be pinned again", () => {
  const task = new ModelTask({});
  const table = new IoPageTable(4096);
  const address = BigInt(task.memory.mmap({ length: 4096, protection: 3 }));
  const account = new PinAccounts().of(task, "user");
  const source = new UserPages(task.memory, address);
  const pages = new MappedPages(source, address, { writable: true, pageSize: 4096, account });
  mapNew(table, { pages, startByte: 0n, length: PAGE }, BASE, { readable: true, writeable: true });
  const answers: string[] = [];
  const access: TableAccess = new TableAccess(table, () => {
    answers.push(program.attempt(() => access.pin(task, BASE, 1, true).length) as string, program.reason);
    access.unpin(BASE, 1);
  });
  expect(access.pin(task, BASE, 1, true)).toHaveLength(1);
  expect(unmapAll(table).bytes).toBe(PAGE);
  expect(answers).toEqual(["EINVAL", "the mapping 0x100000-0x100fff is being unmapped"]);
  expect(task.memory.pinnedPages).toBe(0);
});

test("memory of another process is reached too, unlike in a container", () => {
  program.attach(device, ioas);
  program.mapIoas(fd, ioas, memory, 4n * PAGE, { iova: BASE });
  const child = program.task.fork();
  program.task.memory.copyOut(memory + 4096 - 3, bytesOf("parent"), 6);
  expect(run("READ", BASE + PAGE - 3n, 6, 0, child)).toBe("ok");
  expect(Buffer.from(get(BUFFER, 6)).toString()).toBe("parent");
  put(BUFFER, bytesOf("device"));
  expect(run("WRITE", BASE + 2n * PAGE - 3n, 6, 0, child)).toBe("ok");
  expect(text(memory + 2 * 4096 - 3, 6)).toBe("device");
  expect([program.task.memory.pinnedPages, program.task.memory.pinCount]).toEqual([0, 0]);
});

test("a memfd is read, written and pinned", () => {
  program.attach(device, ioas);
  const file = program.task.memory.memfd(4 * 4096);
  const request = uapi.IommuIoasMapFile.encode({
    size: uapi.IommuIoasMapFile.size,
    flags: 7,
    ioas_id: Number(ioas),
    fd: program.task.files.install(new MemfdFile(file), false),
    start: PAGE,
    length: 4n * PAGE,
    iova: BASE,
  });
  expect(program.ioctlBytes(fd, uapi.IOMMU_IOAS_MAP_FILE, request)).toBe(0);
  put(BUFFER, bytesOf("in a file"));
  expect(run("WRITE", BASE, 9)).toBe("ok");
  expect(run("PIN", BASE + 2n * PAGE, 1, 1)).toBe("ok");
  expect(run("WRITE_PINNED", BASE + 2n * PAGE, 9)).toBe("ok");
  for (const page of [1, 3]) {
    const bytes = new Uint8Array(9);
    file.read(page * 4096, bytes);
    expect(Buffer.from(bytes).toString()).toBe("in a file");
  }
  // it ends before the mapping does
  expect(run("WRITE", BASE + 3n * PAGE, 1)).toBe("EINVAL");
  expect(run("PIN", BASE + 3n * PAGE, 1)).toBe("EINVAL");
});

test("through a group in the place of a container, it is the address space of VFIO's requests", () => {
  program = new IommufdProgram({ ...lab, vfioContainer: "iommufd" });
  fd = program.open("/dev/vfio/vfio");
  const group = program.open("/dev/vfio/4");
  expect(program.setContainer(group, fd)).toBe(0);
  device = program.deviceFd(group, "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
  expect(device).toBeTypeOf("number");
  memory = program.memory(2 * 4096);
  expect(program.mapIoas(fd, 1, memory, 2n * PAGE, { iova: BASE })).toBe(BASE);
  put(BUFFER, bytesOf("compatible"));
  expect(run("PIN", BASE, 1, 1)).toBe("ok");
  expect(run("WRITE_PINNED", BASE, 10)).toBe("ok");
  expect(text(memory, 10)).toBe("compatible");
  // a container of version 1 splits mappings, but not one whose pages a driver holds
  expect(program.ioctl(fd, VFIO_SET_IOMMU, 1)).toBe(0);
  expect(program.unmap(fd, BASE + PAGE, PAGE)).toBe("EINVAL");
  expect(program.reason).toContain("holds pages of the mapping 0x100000-0x101fff: it cannot be split");
  program.close(device);
  expect(program.task.memory.pinnedPages).toBe(0);
  expect(program.unmap(fd, BASE + PAGE, PAGE)).toBe(PAGE);
});
