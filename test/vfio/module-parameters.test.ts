import { describe, expect, test } from "vitest";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { Host } from "../../src/vfio/host.ts";
import { Program, type Result } from "./program.ts";

const LIMIT = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";
const UNSAFE = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

class Shell extends Program {
  constructor(host = new Host(readyMadeHost("lab")!)) {
    super(host);
  }

  /** What a program does that opens a file, writes once and closes. */
  write(path: string, text: string): Result {
    const fd = this.open(path);
    const bytes = new TextEncoder().encode(text);
    const at = this.memory(65536);
    this.task.memory.copyOut(at, bytes, bytes.length);
    const result = this.attempt(() => this.task.files.get(Number(fd))!.write(this.task, at, bytes.length, 0));
    this.close(fd);
    return result;
  }

  read(path: string, offset = 0): string {
    const fd = this.open(path);
    const at = this.memory(4096);
    const length = this.task.files.get(Number(fd))!.read(this.task, at, 4096, offset);
    const bytes = new Uint8Array(length);
    this.task.memory.copyIn(at, bytes, length);
    this.close(fd);
    return new TextDecoder().decode(bytes);
  }
}

describe("a module parameter's file", () => {
  test.each([
    ["7", 1, "7\n"],
    ["7\n", 2, "7\n"],
    ["0x10", 4, "16\n"],
    ["010\0rubbish", 11, "8\n"],
    ["+5", 2, "5\n"],
    ["", 0, "65535\n"],
    ["abc", "EINVAL", "65535\n"],
    [" 7", "EINVAL", "65535\n"],
    ["7 ", "EINVAL", "65535\n"],
    ["-1", "EINVAL", "65535\n"],
    ["7\n\n", "EINVAL", "65535\n"],
    ["4294967295", 10, "4294967295\n"],
    ["4294967296", "ERANGE", "65535\n"],
    ["0".repeat(5000), 4096, "0\n"],
  ])("dma_entry_limit takes %j: %s, and reads %j", (text, answer, after) => {
    const shell = new Shell();
    expect(shell.write(LIMIT, text)).toBe(answer);
    expect(shell.read(LIMIT)).toBe(after);
  });

  test("a bool", () => {
    const shell = new Shell();
    expect([shell.write(UNSAFE, "1\n"), shell.read(UNSAFE)]).toEqual([2, "Y\n"]);
    expect([shell.write(UNSAFE, "maybe"), shell.read(UNSAFE)]).toEqual(["EINVAL", "Y\n"]);
    expect([shell.write(UNSAFE, "off"), shell.read(UNSAFE, 1)]).toEqual([3, "\n"]);
  });

  test("counts for containers from then on, and those that read it are told", () => {
    const host = new Host(readyMadeHost("lab")!);
    const told: [string, string][] = [];
    host.fileChanged = (path, text) => told.push([path, text]);
    const shell = new Shell(host);
    shell.write(LIMIT, "1");
    shell.write(LIMIT, "none");
    const { container } = shell.container(3);
    expect(shell.map(container, 0n, shell.memory(8192), 4096n)).toBe(0);
    expect(shell.map(container, 4096n, shell.memory(8192), 4096n)).toBe("ENOSPC");
    expect(told).toEqual([[LIMIT, "1\n"]]);
  });

  test("there are those of this host's modules", () => {
    const shell = new Shell();
    expect(shell.host.writableFiles().map(({ path }) => path)).toContain(LIMIT);
    expect(shell.open("/sys/module/vfio_iommu_type1/parameters/none")).toBe("ENOENT");
    const old = new Shell(new Host({ ...readyMadeHost("lab")!, kernel: "5.0" }));
    expect(old.open(LIMIT)).toBe("ENOENT");
  });

  test("what reaches a transport's plain file counts when it is new there", () => {
    const host = new Host(readyMadeHost("lab")!);
    let plain = "1\n";
    host.parameterReader = (path) => (path === "vfio_iommu_type1/parameters/dma_entry_limit" ? plain : undefined);
    const shell = new Shell(host);
    const entries = () => {
      const { container, group } = shell.container(3);
      const memory = shell.memory(4096);
      let count = 0;
      while (count < 9 && shell.map(container, BigInt(count) * 4096n, memory, 4096n) === 0) count++;
      shell.close(group);
      shell.close(container);
      return count;
    };
    expect(entries()).toBe(1);
    // a file that did not get the new value does not bring the old one back
    shell.write(LIMIT, "2");
    expect(entries()).toBe(2);
    plain = "3\n";
    expect(entries()).toBe(3);
  });
});
