import { describe, expect, it } from "vitest";
import { FileDescription } from "../../src/kernel/file-description.ts";
import { ModelFileTable } from "../../src/kernel/model-files.ts";
import { ModelTask } from "../../src/kernel/model-task.ts";
import { CAP_IPC_LOCK } from "../../src/kernel/task.ts";

class TestFile extends FileDescription {
  override readonly kind = "foreign";
  override readonly label = "test file";
  released = 0;

  override release(): void {
    this.released++;
  }
}

describe("descriptors", () => {
  it("begin at 3 and take the lowest that is free", () => {
    const table = new ModelFileTable();
    const fds = [1, 2, 3].map(() => table.install(new TestFile(), false));
    expect(fds).toEqual([3, 4, 5]);
    table.close(4);
    table.close(3);
    expect(table.install(new TestFile(), false)).toBe(3);
    expect(table.dup(5)).toBe(4);
    expect(table.install(new TestFile(), false)).toBe(6);
  });

  it("release their file when the last of them is closed", () => {
    const table = new ModelFileTable();
    const file = new TestFile();
    const fd = table.install(file, false);
    const copy = table.dup(fd);
    table.close(fd);
    expect(file.released).toBe(0);
    expect(table.get(copy)).toBe(file);
    table.close(copy);
    expect(file.released).toBe(1);
  });

  it("are shared by forked processes", () => {
    const parent = new ModelFileTable();
    const file = new TestFile();
    const fd = parent.install(file, false);
    const child = parent.fork();
    parent.close(fd);
    expect(file.released).toBe(0);
    child.closeAll();
    expect(file.released).toBe(1);
  });

  it("close on exec when they are marked so; their duplicates do not", () => {
    const table = new ModelFileTable();
    const [a, b] = [new TestFile(), new TestFile()];
    const fd = table.install(a, true);
    table.dup(fd);
    table.install(b, true);
    table.closeOnExec();
    expect([a.released, b.released]).toEqual([0, 1]);
  });

  it("make way for dup2", () => {
    const table = new ModelFileTable();
    const [a, b] = [new TestFile(), new TestFile()];
    const [fd, other] = [table.install(a, false), table.install(b, false)];
    expect(table.dup2(fd, other)).toBe(other);
    expect(b.released).toBe(1);
    expect(table.dup2(fd, other)).toBe(other);
    expect(table.dup2(fd, fd)).toBe(fd);
    expect(table.dup2(fd, 20)).toBe(20);
    for (const open of table.open()) table.close(open);
    expect(a.released).toBe(1);
  });

  it("are EBADF when they are not there and EMFILE at the limit", () => {
    const table = new ModelFileTable(5);
    expect(() => table.close(3)).toThrow("EBADF");
    expect(() => table.dup(-1)).toThrow("EBADF");
    table.install(new TestFile(), false);
    table.install(new TestFile(), false);
    const file = new TestFile();
    expect(() => table.install(file, false)).toThrow("EMFILE");
    expect(file.released).toBe(0);
  });
});

describe("a model task", () => {
  it("is root with root's capabilities, until it sets its user", () => {
    const task = new ModelTask();
    expect(task.capable(CAP_IPC_LOCK)).toBe(true);
    task.setuid(1000);
    expect(task.capable(CAP_IPC_LOCK)).toBe(false);
    expect(new ModelTask({ euid: 1000 }).capable(CAP_IPC_LOCK)).toBe(false);
    expect(new ModelTask({ euid: 1000, capabilities: [CAP_IPC_LOCK] }).capable(CAP_IPC_LOCK)).toBe(true);
  });

  it("has a limit that can change", () => {
    const task = new ModelTask({ memlock: 65536 });
    expect(task.memlockLimit()).toBe(65536);
    task.memlock = Number.POSITIVE_INFINITY;
    expect(task.memlockLimit()).toBe(Number.POSITIVE_INFINITY);
  });

  it("forks into another memory with the same files; its threads share both", () => {
    const task = new ModelTask({ pageSize: 65536 });
    const fd = task.files.install(new TestFile(), false);
    const child = task.fork();
    expect(child.pid).not.toBe(task.pid);
    expect(child.memory).not.toBe(task.memory);
    expect(child.memory.pageSize).toBe(65536);
    expect(child.files.get(fd)).toBe(task.files.get(fd));
    const thread = task.thread();
    expect([thread.pid, thread.memory, thread.files]).toEqual([task.pid, task.memory, task.files]);
    expect(thread.tid).not.toBe(task.tid);
    expect(thread.capable(CAP_IPC_LOCK)).toBe(true);
  });
});
