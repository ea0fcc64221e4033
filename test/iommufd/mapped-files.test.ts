import { beforeEach, expect, test } from "vitest";
import { type FileMemory, ForeignFile } from "../../src/kernel/file-description.ts";
import { MemoryFile } from "../../src/kernel/model-pages.ts";
import * as uapi from "../../src/uapi/iommufd.ts";
import type { Result } from "../vfio/program.ts";
import { IommufdProgram } from "./iommufd-program.ts";

const PAGE = 4096n;
const LAST = 2n ** 64n - 1n;

/** A memfd as a transport has it: it keeps something open until it is released. */
class CountedFile extends ForeignFile {
  /** How often its memory was given out, and not released yet. */
  held = 0;

  override memory(): FileMemory {
    const file = new MemoryFile(4096, 8 * 4096);
    this.held++;
    return {
      size: file.size,
      read: (offset, into) => file.read(offset, into),
      write: (offset, from) => file.write(offset, from),
      release: () => void this.held--,
    };
  }
}

let program: IommufdProgram;
let fd: Result;
let ioas: Result;
let file: CountedFile;
let descriptor: number;

beforeEach(() => {
  program = new IommufdProgram();
  fd = program.iommufd();
  ioas = program.ioas(fd);
  file = new CountedFile();
  descriptor = program.task.files.install(file, false);
});

function mapFile(iova: bigint, length = 4n * PAGE, flags = 7): Result {
  const bytes = uapi.IommuIoasMapFile.encode({
    size: uapi.IommuIoasMapFile.size,
    flags,
    ioas_id: Number(ioas),
    fd: descriptor,
    start: 0n,
    length,
    iova,
  });
  return program.ioctlBytes(fd, uapi.IOMMU_IOAS_MAP_FILE, bytes);
}

test("a file is held until its last mapping goes", () => {
  expect(mapFile(0x10000n)).toBe(0);
  program.close(descriptor);
  expect(file.held).toBe(1);
  expect(program.copy(fd, ioas, ioas, 0x11000n, 0x20000n, 2n * PAGE)).toBe(0);
  expect(program.unmapIoas(fd, ioas, 0x10000n, 4n * PAGE)).toBe(4n * PAGE);
  expect(file.held).toBe(1);
  expect(program.unmapIoas(fd, ioas)).toBe(2n * PAGE);
  expect(file.held).toBe(0);
});

test("a file is let go with its address space, and with the iommufd", () => {
  mapFile(0x10000n);
  expect(program.destroy(fd, ioas)).toBe(0);
  expect(file.held).toBe(0);
  ioas = program.ioas(fd);
  mapFile(0x10000n);
  expect(file.held).toBe(1);
  program.close(fd);
  expect(file.held).toBe(0);
});

test("a file whose mapping is refused is not held", () => {
  mapFile(0x10000n);
  expect(mapFile(0x10000n)).toBe("EEXIST");
  expect(mapFile(0x20000n, LAST - PAGE)).toBe("EOVERFLOW");
  // nearly everything, where the length alone is looked at last
  expect(mapFile(0n, LAST - PAGE + 1n, 6)).toBe("EINVAL");
  const device = program.open("/dev/vfio/devices/vfio0");
  program.bind(device, fd);
  program.attach(device, ioas);
  expect(mapFile(0x40000n, 9n * PAGE)).toBe("EINVAL");
  expect(program.reason).toContain("of a file that has 0x8000 bytes");
  expect(file.held).toBe(1);
});
