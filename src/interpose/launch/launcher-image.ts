/**
 * The launcher: a program of 200-odd bytes that becomes the program that is run. It does one thing: it reads lists of
 * system calls from its control socket, makes them, and writes their results back; the last one is execve(). So
 * everything that must be done by the process itself (its namespaces, its mounts, the filter) is decided and written
 * down in the supervisor, and a second boot of node is saved.
 *
 * The next list may be written while one is worked on. A list is read to BUFFER as it stands, with addresses that are
 * absolute in the launcher:
 *
 *     u64 length of all, u64 number of calls, u64 address for the results
 *     per call: u64 number, u64 arguments[6], u64 flags
 *
 * Flag bit n says that argument n is the address of a value, an earlier result for one; FLAG_REQUIRED ends the launcher
 * when the call fails: a mount in a namespace that was not made would be everybody's. The answer is the results, u64
 * each, up to the last call made. At the end of the control stream the launcher exits with 1.
 */

/** Where a list is read to; nothing of it is touched but by reading it. */
export const BUFFER = 0x1000_0000;
/** Bytes of BUFFER, and so of the longest list. */
export const BUFFER_SIZE = 0x100_0000;
export const LIST_HEADER = 24;
export const CALL_SIZE = 64;
export const FLAG_REQUIRED = 0x100;

const BASE = 0x40_0000;
const HEADER = 64;
const SEGMENT = 56;
/** The control socket's number, a u32 in front of the code. */
const CONTROL = HEADER + 3 * SEGMENT;
const CODE = CONTROL + 8;
const PAGE = 0x1_0000;

const PT_LOAD = 1;
const PT_GNU_STACK = 0x6474_e551;
const EXECUTE = 1;
const WRITE = 2;
const READ = 4;

interface Machine {
  /** e_machine. */
  readonly elf: number;
  /** What test/clients/launcher-x64.s and launcher-arm64.s assemble to. */
  readonly code: string;
}

const MACHINES: Readonly<Record<string, Machine>> = {
  x64: {
    elf: 62,
    code: `
      41bc000000104531ed8b3c25e80040004b8d342cba180000004139d57204418b14244429ea31c00f054885c00f8eb600
      00004901c54983fd1876ce4d3b2c2472c84d8b7424084d8b7c2410498d5c24184d85f674718b6b38488b03488b7b0848
      8b7310488b53184c8b53204c8b43284c8b4b300fbae5007303488b3f0fbae5017303488b360fbae5027303488b120fba
      e50373034d8b120fbae50473034d8b000fbae50573034d8b090f054989074983c7080fbae50873054885c078094883c3
      4049ffceeb8a8b3c25e8004000498b7424104c89fa4829f2b8010000000f054d85f60f8418ffffffbf01000000b8e700
      00000f05`,
  },
  arm64: {
    elf: 183,
    code: `
      59000010394300d11300a2d2140080d2200340b96102148b020380d29f6200f143000054620240f9420014cbe80780d2
      010000d41f0000f10d0500549402008b9f6200f169feff54690240f99f0209eb03feff5475da40a977620091350300b4
      f81e40f9e80240f9e08640a9e28e41a9e49642a958000036000040f958000836210040f958001036420040f958001836
      630040f958002036840040f958002836a50040f9010000d4c08600f8580040368000f8b7f7020191b50600d1e8ffff17
      200340b9610a40f9c20201cb080880d2010000d4b5f9ffb4200080d2c80b80d2010000d4`,
  },
};

/** The machine code for an architecture as node names it; undefined for one that has none. */
export function launcherCode(architecture: string): Buffer | undefined {
  const machine = MACHINES[architecture];
  return machine && Buffer.from(machine.code.replaceAll(/\s/g, ""), "hex");
}

/** The whole ELF file. @param control the number of the launcher's control socket */
export function launcherImage(architecture: string, control: number): Buffer | undefined {
  const code = launcherCode(architecture);
  if (code === undefined) return undefined;
  const image = Buffer.alloc(CODE + code.length);
  // Not by methods of Buffer: what node checks in each, compiled first, takes longer than all the rest of this.
  const view = new DataView(image.buffer, image.byteOffset);
  // Elf64_Ehdr: ident, type EXEC, machine, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum
  image.write("\x7fELF\x02\x01\x01", "latin1");
  view.setUint16(16, 2, true);
  view.setUint16(18, MACHINES[architecture]!.elf, true);
  view.setUint32(20, 1, true);
  view.setUint32(24, BASE + CODE, true);
  view.setUint32(32, HEADER, true);
  view.setUint16(52, HEADER, true);
  view.setUint16(54, SEGMENT, true);
  view.setUint16(56, 3, true);
  writeSegment(view, 0, {
    type: PT_LOAD,
    flags: READ | EXECUTE,
    address: BASE,
    inFile: image.length,
    size: image.length,
  });
  writeSegment(view, 1, { type: PT_LOAD, flags: READ | WRITE, address: BUFFER, inFile: 0, size: BUFFER_SIZE });
  writeSegment(view, 2, { type: PT_GNU_STACK, flags: READ | WRITE, address: 0, inFile: 0, size: 0 });
  view.setUint32(CONTROL, control, true);
  image.set(code, CODE);
  return image;
}

interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly inFile: number;
  readonly size: number;
}

/** Elf64_Phdr: type, flags, offset, vaddr, paddr, filesz, memsz, align. All of the file is at its start. */
function writeSegment(view: DataView, index: number, { type, flags, address, inFile, size }: Segment): void {
  const at = HEADER + index * SEGMENT;
  view.setUint32(at, type, true);
  view.setUint32(at + 4, flags, true);
  view.setUint32(at + 16, address, true);
  view.setUint32(at + 24, address, true);
  view.setUint32(at + 32, inFile, true);
  view.setUint32(at + 40, size, true);
  view.setUint32(at + 48, PAGE, true);
}
