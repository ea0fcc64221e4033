/**
 * The process that becomes the program: makes the file tree in a mount namespace of its own, undoes what node changed
 * about the process, puts the filter on itself, hands its listener over and calls execve(). Started by launch.ts with
 * the numbers of three kinds of descriptors: CONTROL STDERR [INHERITED...]. An entry of its own, with as few imports as
 * possible, because the program waits for it.
 */
import fs from "node:fs";
import { errnoName } from "../uapi/errno.ts";
import { Arena } from "./arena.ts";
import { describeFormat, findProgram } from "./find-program.ts";
import { isBelow } from "./graft.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { installFilter } from "./install-filter.ts";
import { installTree } from "./install-tree.ts";
import { InterposerError } from "./interposer-error.ts";
import { encodeMessage, type LaunchAnswer, type LaunchOrders } from "./launch-protocol.ts";
import { defaultSignal, syscall } from "./libc.ts";
import {
  F_SETFD,
  FD_CLOEXEC,
  LINUX_CAPABILITY_VERSION_3,
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_SET_PDEATHSIG,
  RLIMIT_NOFILE,
} from "./linux.ts";
import { privateMounts } from "./mount.ts";

const SIGKILL = 9;
const SIGTERM = 15;
const SIGSTOP = 19;
const LAST_SIGNAL = 31;

const [control, standardError, ...inherited] = process.argv.slice(2).map(Number) as [number, number, ...number[]];

function receive(): unknown {
  const exactly = (length: number) => {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; ) {
      const count = fs.readSync(control, bytes, at, length - at, null);
      // The supervisor is gone: nobody is left to run the program for.
      if (count === 0) process.exit(1);
      at += count;
    }
    return bytes;
  };
  return JSON.parse(exactly(exactly(4).readUInt32LE(0)).toString("utf8"));
}

function answer(message: LaunchAnswer): void {
  fs.writeSync(control, encodeMessage(message));
}

/** Undoes what node did to its own process and what a program would inherit through execve(). */
function restoreProcess(orders: LaunchOrders): void {
  // node ignores SIGPIPE, and "ignored" survives execve().
  for (let signal = 1; signal <= LAST_SIGNAL; signal++) {
    if (signal !== SIGKILL && signal !== SIGSTOP) defaultSignal(signal);
  }
  const arena = new Arena(64);
  if (orders.openFiles !== null) {
    syscall(HOST_CALLS.prlimit64, 0, RLIMIT_NOFILE, 0, arena.address);
    arena.setU64(0, orders.openFiles);
    syscall(HOST_CALLS.prlimit64, 0, RLIMIT_NOFILE, arena.address, 0);
  }
  // When the supervisor is killed, every trapped call answers ENOSYS from then on; the program is told with SIGTERM, so
  // that it can still put its own things in order. Its children are not told; theirs is the ENOSYS.
  syscall(HOST_CALLS.prctl, PR_SET_PDEATHSIG, SIGTERM);
}

/** An ordinary user's program runs as that user without capabilities: those of our namespace were for the mounts. */
function dropCapabilities(): void {
  syscall(HOST_CALLS.prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
  const arena = new Arena(64);
  // struct __user_cap_header_struct {version, pid} @0; struct __user_cap_data_struct {effective, permitted, inheritable}[2] @8
  arena.setU32(0, LINUX_CAPABILITY_VERSION_3);
  if (syscall(HOST_CALLS.capget, arena.address, arena.address + 8) < 0) return;
  arena.setU32(16, 0);
  arena.setU32(28, 0);
  syscall(HOST_CALLS.capset, arena.address, arena.address + 8);
}

/** argv and envp in memory, because execve() comes when nothing else may. */
function execArguments(argv: readonly Buffer[], env: readonly Buffer[]): { argv: number; env: number; arena: Arena } {
  const texts = [...argv, ...env];
  const pointers = 8 * (texts.length + 2);
  const arena = new Arena(pointers + texts.reduce((sum, text) => sum + text.length + 1, 0));
  let at = pointers;
  let slot = 0;
  const store = (list: readonly Buffer[]) => {
    const start = arena.address + slot;
    for (const text of list) {
      arena.bytes.set(text, at);
      arena.setU64(slot, arena.address + at);
      at += text.length + 1;
      slot += 8;
    }
    slot += 8;
    return start;
  };
  return { argv: store(argv), env: store(env), arena };
}

function enterDirectory(cwd: string | null, grafted: readonly string[]): void {
  try {
    const here = cwd ?? process.cwd();
    // A working directory below a graft is the covered one until it is entered again.
    if (cwd !== null || grafted.some((directory) => isBelow(here, directory))) process.chdir(here);
  } catch (error) {
    if (cwd === null) return;
    throw new InterposerError("bad-input", `cannot enter ${cwd}: ${(error as Error).message}`);
  }
}

function launch(): never {
  const orders = receive() as LaunchOrders;
  const decode = (texts: readonly string[]) => texts.map((text) => Buffer.from(text, "base64"));
  const argv = decode(orders.argv);
  const env = decode(orders.env);
  const mask = process.umask(0);
  if (!orders.userNamespace) privateMounts();
  const grafted = installTree(orders.tree, orders.nodes);
  process.umask(mask);
  enterDirectory(orders.cwd, grafted);
  const path = env.find((entry) => entry.toString("latin1", 0, 5) === "PATH=")?.toString("utf8", 5);
  // From the filter on, an open() of ours would wait for a supervisor that waits for us: the program is found before.
  const program = findProgram(argv[0]?.toString("utf8") ?? "", path);
  const vectors = execArguments(argv, env);
  const name = new Arena(8192);
  // A path with an invalid UTF-8 name is only known as given.
  if (argv[0]!.includes("/")) name.bytes.set(argv[0]!);
  else name.text(0, program);
  restoreProcess(orders);
  const listener = installFilter({ trapFstat: orders.trapFstat });
  if (orders.userNamespace) dropCapabilities();
  answer({ listener });
  receive();
  syscall(HOST_CALLS.dup3, standardError, 2, 0);
  syscall(HOST_CALLS.fcntl, standardError, F_SETFD, FD_CLOEXEC);
  syscall(HOST_CALLS.fcntl, control, F_SETFD, FD_CLOEXEC);
  // node marks every descriptor that it finds at its start, these too.
  for (const fd of [0, 1, ...inherited]) syscall(HOST_CALLS.fcntl, fd, F_SETFD, 0);
  const result = syscall(HOST_CALLS.execve, name.address, vectors.argv, vectors.env);
  const errno = errnoName(-result);
  if (errno === "ENOEXEC") throw new InterposerError("wrong-format", `${program}: ${describeFormat(program)}`);
  const missing = errno === "ENOENT" ? " (the interpreter or loader that it names is missing)" : "";
  throw new InterposerError("not-executable", `${program}: ${errno}${missing}`);
}

try {
  launch();
} catch (error) {
  const code = error instanceof InterposerError ? error.code : "tree-failed";
  answer({ error: { code, message: (error as Error).message } });
  process.exit(127);
}
