import fs from "node:fs";
import type { FileDescription } from "../kernel/file-description.ts";
import type { HostKernel } from "../kernel/host-kernel.ts";
import { CallContext } from "./call-context.ts";
import { Credentials } from "./credentials.ts";
import { dispatch } from "./dispatch.ts";
import { Doorbells } from "./doorbells/doorbells.ts";
import { Epoll } from "./epoll.ts";
import { EventWatches } from "./event-watches.ts";
import { InjectedFiles } from "./injected-files.ts";
import { close } from "./libc.ts";
import { AT_FDCWD, EPOLLHUP, EPOLLIN, O_CLOEXEC, O_DIRECTORY, O_PATH } from "./linux.ts";
import { Listener } from "./listener.ts";
import { MappingWatch } from "./mapping-watch.ts";
import { NodeFiles } from "./node-files.ts";
import type { Observer } from "./observer.ts";
import { PathResolver } from "./path-resolver.ts";
import { openPath } from "./path-stat.ts";
import { ProcessTable } from "./process-table.ts";
import { ProcessTask } from "./process-task.ts";
import { ProgramFiles } from "./program-files.ts";

export interface ServeOptions {
  /** The seccomp listener; closed at the end. */
  readonly listener: number;
  /** An eventfd that ends serving. */
  readonly stop: number;
  readonly kernel: HostKernel;
  /** The process that will be the program: its tree is the program's, its user namespace the one capabilities count in. */
  readonly launcher: number;
  /** The program runs in a user namespace made for it. */
  readonly userNamespace: boolean;
  readonly observer?: Observer | undefined;
  /** Called when the first call can be taken: from then on the launcher may become the program. */
  readonly ready?: (() => void) | undefined;
}

/**
 * A dying task lets go of its filter before it closes its files. So the listener may hang up while files are open still;
 * those of processes that we know are waited for, those of others for this long.
 */
const LAST_CLOSES_MS = 500;
const TICK_US = 20_000;

/**
 * Serves programs until the last task under the filter is gone, or until `stop`. Blocks the thread: every call is handled
 * to its end before the next is looked at, so the model needs no locks.
 */
export function serve(options: ServeOptions): void {
  const { kernel, observer } = options;
  const epoll = new Epoll();
  const root = openPath(AT_FDCWD, `/proc/${options.launcher}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC);
  const files = new InjectedFiles((description) => release(description, observer));
  const isDeviceMemory = (inode: number, major: number, minor: number) => files.find(inode, major, minor) !== undefined;
  const processes = new ProcessTable(isDeviceMemory, ({ pidfd }) => epoll.add(pidfd));
  const watches = new EventWatches(epoll, () => processes.pids());
  const mappings = new MappingWatch(files);
  const doorbells = new Doorbells(
    epoll,
    (inode, offset) => guarded(() => mappings.ring(inode, offset), observer),
    (message) => observer?.noticed?.(message),
  );
  const listener = new Listener(options.listener);
  const nodes = new NodeFiles(root, kernel.deviceNodes());
  const credentials = new Credentials(options.userNamespace, options.launcher);
  const task = new ProcessTask(processes, credentials, new ProgramFiles(files, listener, watches));
  const resolver = new PathResolver(nodes);
  const context = new CallContext({
    listener,
    kernel,
    processes,
    task,
    files,
    doorbells,
    nodes,
    resolver,
    credentials,
  });
  kernel.parameterReader = (path) => readBelow(`/proc/self/fd/${root}/sys/module`, path);
  for (const fd of [listener.fd, files.inotify, options.stop]) epoll.add(fd);

  listener.wakeOnSameCpu();
  options.ready?.();
  // What the program did before a call, without a call that we see, must have had its effect when the call is handled.
  const catchUp = () =>
    guarded(() => {
      files.drain();
      watches.check();
      mappings.look();
    }, observer);
  let hungUp = 0;
  let stopped = false;
  try {
    while (!stopped) {
      const tick = mappings.interval();
      const count = epoll.wait(tick > 0 ? tick : hungUp > 0 || files.undecided ? TICK_US : -1);
      let notified = 0;
      let rung = false;
      const gone: number[] = [];
      for (let i = 0; i < count; i++) {
        const fd = epoll.descriptor(i);
        if (fd === listener.fd) notified = epoll.events(i);
        else if (fd === options.stop) stopped = true;
        else if (fd === doorbells.fd) rung = true;
        else if (fd !== files.inotify) gone.push(fd);
      }
      for (const fd of gone) processes.gone(fd);
      if (rung) doorbells.hear();
      const received = (notified & EPOLLIN) !== 0 && listener.receive();
      catchUp();
      if (received) dispatch(context, observer);
      else if ((notified & EPOLLHUP) !== 0) {
        epoll.remove(listener.fd);
        hungUp = performance.now();
      }
      if (hungUp === 0) continue;
      if (processes.size > 0) hungUp = performance.now();
      if (files.size === 0 || performance.now() - hungUp > LAST_CLOSES_MS) stopped = true;
    }
  } finally {
    // From here on a trapped call of a program that still runs answers ENOSYS.
    close(listener.fd);
    doorbells.close();
    delete kernel.parameterReader;
    files.releaseAll();
    processes.clear();
    files.close();
    epoll.close();
    close(root);
  }
}

/** An error of the model outside of a call is reported, and ends nothing. */
function guarded<T>(action: () => T, observer: Observer | undefined): T | undefined {
  try {
    return action();
  } catch (error) {
    observer?.broken?.(`internal error outside of a call: ${String(error)}`, error);
    return undefined;
  }
}

function release(description: FileDescription, observer: Observer | undefined): void {
  try {
    description.release();
  } catch (error) {
    observer?.broken?.(`internal error in the release of ${description.label}: ${String(error)}`, error);
  }
}

function readBelow(directory: string, path: string): string | undefined {
  try {
    return fs.readFileSync(`${directory}/${path}`, "utf8");
  } catch {
    return undefined;
  }
}
