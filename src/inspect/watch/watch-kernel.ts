import type { AddressSpace } from "../../kernel/address-space.ts";
import { KernelError } from "../../kernel/errors.ts";
import { FileDescription, ForeignFile } from "../../kernel/file-description.ts";
import type { HostKernel } from "../../kernel/host-kernel.ts";
import type { FileTable, Task } from "../../kernel/task.ts";
import { WatchedMemory } from "./watched-memory.ts";
import type { CallResult, ModelCall, Watcher } from "./watcher.ts";

/**
 * Has every call to a booted host's files heard by watchers, whatever transport makes it: the host and each file that
 * it opens get methods of their own. Nothing else knows of it, and a host that is not watched pays nothing.
 * @param onBroken hears when a watcher itself fails, which must not be the program's trouble
 */
export function watchKernel(
  kernel: HostKernel,
  watchers: readonly Watcher[],
  onBroken: (message: string) => void = () => {},
): void {
  if (watchers.length === 0) return;
  const watch = new KernelWatch(watchers, onBroken);
  const open = kernel.open.bind(kernel);
  kernel.open = (task, path, flags) =>
    watch.call({ op: "open", task, file: undefined, path, flags }, (watched, installed) => {
      const file = watch.file(open(watched!, path, flags));
      installed(file);
      return { value: file, ret: 0 };
    });
}

type Carried<T> = { readonly value: T; readonly ret: number };

class KernelWatch {
  readonly #watchers: readonly Watcher[];
  readonly #spaces = new WeakMap<AddressSpace, WatchedMemory>();
  readonly #watched = new WeakSet<FileDescription>();

  readonly #onBroken: (message: string) => void;

  constructor(watchers: readonly Watcher[], onBroken: (message: string) => void) {
    this.#watchers = watchers;
    this.#onBroken = onBroken;
  }

  /** Carries a call out between what watchers do before and after it. The first one is the outermost. */
  call<T>(
    call: ModelCall,
    carryOut: (task: Task | undefined, installed: (file: FileDescription) => void) => Carried<T>,
  ): T {
    const start = performance.now();
    let installed: FileDescription | undefined;
    const task = call.task && this.#task(call.task, (file) => (installed = file));
    let error: KernelError | undefined;
    let ret = -1;
    try {
      for (const watcher of this.#watchers) this.#tell(() => watcher.before?.(call));
      const carried = carryOut(task, (file) => (installed = file));
      ret = carried.ret;
      return carried.value;
    } catch (thrown) {
      if (thrown instanceof KernelError) error = thrown;
      throw thrown;
    } finally {
      const microseconds = (performance.now() - start) * 1000;
      const result: CallResult = { ret, error, microseconds, installed: error ? undefined : installed };
      for (const watcher of this.#watchers) this.#tell(() => watcher.after?.(call, result));
    }
  }

  /** A watcher that fails is a defect of its own: only what it orders (KernelError) concerns the call. */
  #tell(what: () => void): void {
    try {
      what();
    } catch (error) {
      if (error instanceof KernelError) throw error;
      this.#onBroken(`internal error while watching: ${error instanceof Error ? error.stack : String(error)}`);
    }
  }

  /** Gives a file methods that tell of its calls. */
  file(file: FileDescription): FileDescription {
    if (this.#watched.has(file) || file instanceof ForeignFile) return file;
    this.#watched.add(file);
    const ioctl = file.ioctl.bind(file);
    const read = file.read.bind(file);
    const write = file.write.bind(file);
    const mmap = file.mmap.bind(file);
    const release = file.release.bind(file);
    const number = (ret: number) => ({ value: ret, ret });
    file.ioctl = (task, request, arg) =>
      this.call({ op: "ioctl", task, file, request, arg }, (watched) => number(ioctl(watched!, request, arg)));
    // one call of a watched file is one event
    file.ioctlInSteps = file.ioctl;
    file.read = (task, address, count, offset) =>
      this.call({ op: "pread", task, file, address, count, offset }, (watched) =>
        number(read(watched!, address, count, offset)),
      );
    file.write = (task, address, count, offset) =>
      this.call({ op: "pwrite", task, file, address, count, offset }, (watched) =>
        number(write(watched!, address, count, offset)),
      );
    file.readInSteps = file.read;
    file.writeInSteps = file.write;
    file.mmap = (task, request) =>
      this.call({ op: "mmap", task, file, request }, (watched) => ({ value: mmap(watched!, request), ret: 0 }));
    file.release = () => this.call({ op: "close", task: undefined, file }, () => ({ value: release(), ret: 0 }));
    if (file.pollMemory !== FileDescription.prototype.pollMemory) {
      const poll = file.pollMemory.bind(file);
      file.pollMemory = () => this.call({ op: "poll", task: undefined, file }, () => ({ value: poll(), ret: 0 }));
      const carryOut = file.carryOutWrite.bind(file);
      file.carryOutWrite = (offset) =>
        this.call({ op: "poll", task: undefined, file }, () => ({ value: carryOut(offset), ret: 0 }));
    }
    return file;
  }

  #memory(space: AddressSpace): WatchedMemory {
    let watched = this.#spaces.get(space);
    if (!watched) {
      watched = new WatchedMemory(space, this.#watchers);
      this.#spaces.set(space, watched);
    }
    return watched;
  }

  #task(task: Task, installed: (file: FileDescription) => void): Task {
    const watchers = this.#watchers;
    const memory = (space: AddressSpace) => this.#memory(space);
    const files = this.#files(task, installed);
    return {
      get tid() {
        return task.tid;
      },
      get pid() {
        return task.pid;
      },
      get name() {
        return task.name;
      },
      get memory() {
        return memory(task.memory);
      },
      files,
      get euid() {
        const { euid } = task;
        for (const watcher of watchers) watcher.asked?.("euid", euid);
        return euid;
      },
      capable(capability) {
        const answer = task.capable(capability);
        for (const watcher of watchers) watcher.asked?.(capability, answer ? 1 : 0);
        return answer;
      },
      memlockLimit() {
        const bytes = task.memlockLimit();
        for (const watcher of watchers) watcher.asked?.("memlock", bytes);
        return bytes;
      },
    };
  }

  #files(task: Task, installed: (file: FileDescription) => void): FileTable {
    return {
      get: (fd) => {
        const file = task.files.get(fd);
        if (file instanceof ForeignFile) this.#foreign(file);
        for (const watcher of this.#watchers) watcher.looked?.(fd, file);
        return file;
      },
      install: (file, closeOnExec) => {
        const fd = task.files.install(this.file(file), closeOnExec);
        installed(file);
        return fd;
      },
    };
  }

  /** Interrupts that reach a program's eventfds are heard of. */
  #foreign(file: ForeignFile): void {
    if (this.#watched.has(file)) return;
    this.#watched.add(file);
    const event = file.event.bind(file);
    file.event = () => {
      const signal = event();
      if (!signal) return undefined;
      const raise = signal.signal.bind(signal);
      signal.signal = () => {
        for (const watcher of this.#watchers) watcher.signalled?.(file);
        raise();
      };
      return signal;
    };
  }
}
