import fs from "node:fs";
import type { FileTree } from "../../kernel/file-tree.ts";
import type { HostFiles } from "../../kernel/host-files.ts";
import type { DeviceNode } from "../../kernel/host-kernel.ts";
import { Arena } from "../../native/arena.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { shortageText } from "../descriptor-shortage.ts";
import { Epoll } from "../epoll.ts";
import { FuseServer } from "../fuse/fuse-server.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { InterposerError } from "../interposer-error.ts";
import type { LedTree } from "../led-tree.ts";
import { close, syscall } from "../libc.ts";
import {
  AT_FDCWD,
  AT_RECURSIVE,
  F_SETFD,
  FD_CLOEXEC,
  O_CLOEXEC,
  OPEN_TREE_CLONE,
  PR_SET_NO_NEW_PRIVS,
} from "../linux.ts";
import { mayMount } from "../process-facts.ts";
import { receiveSome } from "../serve/unix-socket.ts";
import { CallList } from "./call-list.ts";
import { filterCalls } from "./filter-calls.ts";
import { describeFormat } from "./find-program.ts";
import { hasFuse, mountFuse, placeFuse } from "./fuse-calls.ts";
import { nearest } from "./graft.ts";
import { namespaceCalls } from "./namespace-calls.ts";
import { descriptorMessage, restoreProcess } from "./process-calls.ts";
import { type Launcher, spawnLauncher } from "./spawn-launcher.ts";
import { takeListener } from "./take-listener.ts";
import { TreeCalls } from "./tree-calls.ts";

/** What the process is to look like before it becomes the program. */
export interface World {
  readonly files: HostFiles;
  readonly nodes: readonly DeviceNode[];
  /** null leaves this process' own. */
  readonly cwd: string | null;
  readonly trapFstat: boolean;
  readonly trapPathStat: boolean;
  readonly trapReadOpens: boolean;
  /** The process goes into a user namespace made for it: this one may not mount. */
  readonly userNamespace: boolean;
  /** Serve the files where that can be; otherwise they are written down once. */
  readonly serveFiles: boolean;
  /** The process that will look into the program. */
  readonly supervisor: number;
  /** The host's files and nodes, for a program that gets no mounts: calls lead to them. */
  readonly tree?: LedTree;
  /** Serves the files: takes the descriptor for it. This process does when left out. */
  readonly takeFuse?: (fd: number) => void;
}

/** Waits for ever. */
const FOR_EVER = -1;

/** A process on its way to becoming the program: it makes the calls that it is sent (launcher-image.ts). */
export class Launch {
  readonly pid: number;
  /** Becomes readable at the end of the process. */
  readonly pidfd: number;
  /** Becomes readable when the process is the program, or will not be: see hear(). */
  readonly control: number;
  readonly #launcher: Launcher;
  readonly #arena = new Arena(8192);
  /** What the launcher has said and no list has taken. */
  #answer: Buffer = Buffer.alloc(0);
  #become: CallList | undefined;
  #status: number | undefined;
  /** Serves the host's files; undefined where they were written down, or somebody else does. Its owner closes it. */
  fuse: FuseServer | undefined;
  /** The host's files are served. */
  #isServed = false;

  /**
   * @param descriptors those above 2 that the program inherits under the same numbers
   * @param standard its stdin, stdout and stderr, in the place of ours
   * @param sends it is prepared with a `tree`
   */
  constructor(descriptors: readonly number[], standard?: readonly (number | undefined)[], sends = false) {
    this.#launcher = spawnLauncher(descriptors, { name: "uvfio-launcher", ...(standard && { standard }), sends });
    this.pid = this.#launcher.pid;
    this.control = this.#launcher.socket;
    this.pidfd = syscall(HOST_CALLS.pidfd_open, this.pid, 0);
  }

  /**
   * Makes the world around the process. Returns the listener of its filter, a descriptor of ours. InterposerError when
   * it cannot be done.
   */
  prepare(world: World): number {
    if (world.tree) return this.#prepareLed(world);
    const last = this.#show(world);
    const listener = filterCalls(last, { ...world, trapWriteOpens: !this.#isServed, trapPaths: false });
    this.#send(last);
    this.#hearAll(last);
    return takeListener(this.pid, last.result(listener));
  }

  /** Without mounts, and without fetching anything from the process: it sends the listener. */
  #prepareLed(world: World): number {
    const { socket, number } = this.#launcher.rights!;
    const list = new CallList();
    restoreProcess(list, world.supervisor);
    enterDirectory(list, world.cwd, new Set());
    // A filter asks for that or for CAP_SYS_ADMIN (kernel/seccomp.c:seccomp_prepare_filter).
    if (!mayMount()) list.call(HOST_CALLS.prctl, [PR_SET_NO_NEW_PRIVS, 1]);
    const { scratch } = this.#launcher;
    list.call(HOST_CALLS.dup3, [
      filterCalls(list, { ...world, trapWriteOpens: true, trapPaths: true }),
      scratch,
      O_CLOEXEC,
    ]);
    list.call(HOST_CALLS.sendmsg, [number, descriptorMessage(list, scratch)]);
    list.call(HOST_CALLS.close, [number]);
    this.#send(list);
    this.#hearAll(list);
    const received = receiveSome(socket);
    close(socket);
    const [listener] = typeof received === "number" ? [] : received.descriptors;
    if (listener === undefined) throw new InterposerError("host-failed", shortageText());
    return listener;
  }

  /**
   * Makes the world, and a copy of what is mounted on a directory of it and below, to be mounted elsewhere
   * (open_tree(2)). Returns the copy's number in the process. Nothing else comes of this process.
   */
  copyTree(world: World, directory: string): number {
    const last = this.#show(world);
    const flags = OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC;
    const refused = (errno: string) =>
      new InterposerError("not-permitted", `${directory} cannot be had for containers (${errno})`);
    const tree = last.call(HOST_CALLS.open_tree, [AT_FDCWD, directory, flags], refused);
    this.#send(last);
    this.#hearAll(last);
    return last.result(tree);
  }

  /** Ends a process that is not to become a program. */
  end(): void {
    this.signal("SIGKILL");
    this.wait();
    this.close();
  }

  /** Makes the world but for a last list of calls, which is returned. */
  #show(world: World): CallList {
    const { files, nodes, cwd, userNamespace, serveFiles, supervisor } = world;
    const namespaces = new CallList();
    restoreProcess(namespaces, supervisor);
    namespaceCalls(namespaces, userNamespace);
    // In a user namespace nobody is root; the files are the user's.
    const owner = userNamespace ? { uid: process.geteuid!(), gid: process.getegid!() } : { uid: 0, gid: 0 };
    const mounted = serveFiles && hasFuse() ? mountFuse(namespaces, this.#launcher.fuse, owner) : undefined;
    this.#send(namespaces);
    if (mounted !== undefined) {
      this.#hearAll(namespaces);
      if (namespaces.result(mounted) === 0) this.#takeFuse(world, owner);
    }

    // The launcher mounts while the rest is written down.
    const roots = this.#isServed ? files.roots : [];
    const parts = new TreeCalls(this.#isServed ? around(files) : files.snapshot(), nodes, roots);
    const grafts = new CallList();
    // Who serves has it: should that end, what waits for it here ends, too.
    grafts.call(HOST_CALLS.close, [this.#launcher.fuse]);
    const mask = grafts.call(HOST_CALLS.umask, [0]);
    parts.addGrafts(grafts, this.#launcher.scratch, userNamespace);
    this.#send(grafts);
    // Not before the answers are read: who writes and does not read may wait for ever for who does the same.
    let sent: readonly CallList[] = mounted === undefined ? [namespaces, grafts] : [grafts];
    for (const made of parts.files()) {
      for (const list of sent) this.#hearAll(list);
      this.#send(made);
      sent = [made];
    }
    for (const list of sent) this.#hearAll(list);
    const last = new CallList();
    parts.addStandIns(last);
    if (this.#isServed) placeFuse(last, roots);
    parts.sealGrafts(last);
    last.call(HOST_CALLS.umask, [grafts.result(mask)]);
    enterDirectory(last, cwd, parts.grafted);
    return last;
  }

  /**
   * Has the process become the program. Its execve() is under the filter: hear() tells how it went.
   * @param path where the program lies
   */
  become(path: Uint8Array, argv: readonly Uint8Array[], env: readonly Uint8Array[]): void {
    const list = new CallList();
    list.call(HOST_CALLS.fcntl, [this.#launcher.control, F_SETFD, FD_CLOEXEC]);
    const strings = (texts: readonly Uint8Array[]) =>
      list.words([...texts.map((text) => Buffer.concat([text, NUL])), 0]);
    const name = Buffer.concat([path, NUL]);
    const refused = (errno: string) => {
      const shown = String(path);
      if (errno === "ENOEXEC") return new InterposerError("wrong-format", `${shown}: ${describeFormat(path)}`);
      const missing = errno === "ENOENT" ? " (the interpreter or loader that it names is missing)" : "";
      return new InterposerError("not-executable", `${shown}: ${errno}${missing}`);
    };
    list.call(HOST_CALLS.execve, [name, strings(argv), strings(env)], refused);
    this.#send(list);
    this.#become = list;
  }

  /**
   * `control` is readable. Returns whether the process is the program now, or gone; InterposerError when it cannot
   * become it.
   */
  hear(): boolean {
    const answer = this.#receive();
    this.#become?.answer(answer);
    return answer.length === 0;
  }

  /** The status as a shell counts it (128 + n when signal n ended the process) once it has ended; waits for that. */
  wait(): number {
    while (this.#status === undefined) {
      const result = syscall(HOST_CALLS.wait4, this.pid, this.#arena.address, 0, 0);
      const status = this.#arena.u32(0);
      if (result === this.pid) this.#status = (status & 0x7f) === 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f);
      else if (result !== -ERRNO.EINTR) this.#status = 127;
    }
    return this.#status;
  }

  /** Passes a signal on. Returns whether the process was there to get it. */
  signal(signal: NodeJS.Signals): boolean {
    return this.#status === undefined && process.kill(this.pid, signal);
  }

  close(): void {
    close(this.control);
    close(this.pidfd);
  }

  /**
   * The launcher has mounted a file system: takes the descriptor that it is served by. Nothing of it was looked at so
   * far.
   */
  #takeFuse({ files, takeFuse }: World, owner: { readonly uid: number; readonly gid: number }): void {
    const fd = syscall(HOST_CALLS.pidfd_getfd, this.pidfd, this.#launcher.fuse, 0);
    if (fd < 0) return;
    this.#isServed = true;
    if (takeFuse) takeFuse(fd);
    else this.fuse = new FuseServer(fd, files, owner);
  }

  /** Waits until all calls of a list have been answered; throws the error of one that cannot be done without. */
  #hearAll(list: CallList): void {
    while (!list.done) {
      if (this.#answer.length === 0) {
        this.#serveMeanwhile();
        this.#answer = this.#receive();
      }
      if (this.#answer.length === 0)
        throw new InterposerError("host-failed", `the launcher ended early (status ${this.wait()})`);
      this.#answer = list.answer(this.#answer);
    }
  }

  #send(list: CallList): void {
    const bytes = list.encode();
    try {
      for (let done = 0; done < bytes.length; ) done += fs.writeSync(this.control, bytes, done);
    } catch {
      // The launcher is gone: so says what it answers.
    }
  }

  /** Until the launcher has something to say: its mounts may look for names in what we serve. */
  #serveMeanwhile(): void {
    const { fuse } = this;
    if (fuse === undefined) return;
    const epoll = new Epoll();
    epoll.add(this.control);
    epoll.add(fuse.fd);
    for (let isHeard = false; !isHeard; ) {
      const count = epoll.wait(FOR_EVER);
      for (let n = 0; n < count; n++) {
        if (epoll.descriptor(n) === this.control) isHeard = true;
        // it asks for one thing after the other
        else fuse.takeOne();
      }
      if (fuse.isOver) break;
    }
    epoll.close();
  }

  /** What the launcher has to say next; empty at the end. */
  #receive(): Buffer {
    try {
      return this.#arena.bytes.subarray(0, fs.readSync(this.control, this.#arena.bytes));
    } catch {
      return Buffer.alloc(0);
    }
  }
}

const NUL = Buffer.alloc(1);

/** What is to be there beside files that are served: the directories for those, and what lies elsewhere. */
function around({ roots, grafts, rest }: HostFiles): FileTree {
  return {
    ...rest,
    grafts: grafts.filter(({ directory }) => !roots.includes(directory)),
    directories: [...rest.directories, ...roots],
  };
}

function enterDirectory(list: CallList, cwd: string | null, grafted: ReadonlySet<string>): void {
  const here = cwd ?? workingDirectory();
  const refused = (errno: string) => new InterposerError("bad-input", `cannot enter ${cwd}: ${errno}`);
  if (cwd !== null) list.call(HOST_CALLS.chdir, [cwd], refused);
  // A working directory below a graft is the covered one until it is entered again.
  else if (here !== undefined && nearest(here, grafted) !== undefined) list.call(HOST_CALLS.chdir, [here]);
}

/** Undefined when somebody has deleted it: the program is there then all the same. */
function workingDirectory(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}
