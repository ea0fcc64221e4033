import type { AddressSpace } from "../../kernel/address-space.ts";
import { KernelError } from "../../kernel/errors.ts";
import { FileDescription, ForeignFile } from "../../kernel/file-description.ts";
import type { HostKernel } from "../../kernel/host-kernel.ts";
import type { FileTable, Task } from "../../kernel/task.ts";
import { WatchedMemory } from "./watched-memory.ts";
import { WatchedTask } from "./watched-task.ts";
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
  readonly #tasks = new WeakMap<Task, WatchedTask>();
  readonly #watched = new WeakSet<FileDescription>();
  /** What the call in hand has given a descriptor to. */
  #installed: FileDescription | undefined;
  readonly #install = (file: FileDescription) => {
    this.#installed = file;
  };

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
    // a call may be made in the middle of another
    const outer = this.#installed;
    this.#installed = undefined;
    const task = call.task && this.#task(call.task);
    let error: KernelError | undefined;
    let ret = -1;
    try {
      for (const watcher of this.#watchers) this.#before(watcher, call);
      const carried = carryOut(task, this.#install);
      ret = carried.ret;
      return carried.value;
    } catch (thrown) {
      if (thrown instanceof KernelError) error = thrown;
      throw thrown;
    } finally {
      const microseconds = (performance.now() - start) * 1000;
      const result: CallResult = { ret, error, microseconds, installed: error ? undefined : this.#installed };
      this.#installed = outer;
      for (const watcher of this.#watchers) this.#after(watcher, call, result);
    }
  }

  #before(watcher: Watcher, call: ModelCall): void {
    try {
      watcher.before?.(call);
    } catch (error) {
      this.#judge(error);
    }
  }

  #after(watcher: Watcher, call: ModelCall, result: CallResult): void {
    try {
      watcher.after?.(call, result);
    } catch (error) {
      this.#judge(error);
    }
  }

  /** A watcher that fails is a defect of its own: only what it orders (KernelError) concerns the call. */
  #judge(error: unknown): void {
    if (error instanceof KernelError) throw error;
    this.#onBroken(`internal error while watching: ${error instanceof Error ? error.stack : String(error)}`);
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

  #task(task: Task): WatchedTask {
    let watched = this.#tasks.get(task);
    if (!watched) {
      watched = new WatchedTask(task, this.#watchers, (space) => this.#memory(space), this.#files(task));
      this.#tasks.set(task, watched);
    }
    return watched;
  }

  #files(task: Task): FileTable {
    return {
      get: (fd) => {
        const file = task.files.get(fd);
        if (file instanceof ForeignFile) this.#foreign(file);
        for (const watcher of this.#watchers) watcher.looked?.(fd, file);
        return file;
      },
      install: (file, closeOnExec) => {
        const fd = task.files.install(this.file(file), closeOnExec);
        this.#installed = file;
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
