import fs from "node:fs";
import { ownProgram } from "../../native/own-program.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { close, syscall } from "../libc.ts";
import { AT_FDCWD, O_CLOEXEC } from "../linux.ts";
import { lastStat, openPath, statDescriptor } from "../path-stat.ts";
import { CallList } from "./call-list.ts";
import { spawnLauncher } from "./spawn-launcher.ts";
import { startOf } from "./tell-processes.ts";

/**
 * Tells the program's processes when this one is killed: the kernel does that for a child alone (PR_SET_PDEATHSIG), not
 * for what the child forks. A launcher that does not launch waits for the end of its control socket, which comes with
 * the end of this process whatever ends it, and becomes guard-main.ts then. So it costs a sleeping process of some
 * pages, and no second node while all is well.
 */
export class Guard {
  readonly #pid: number;
  readonly #socket: number;

  /**
   * @param launched a process in the mount namespace that was made for the program: that is how its processes are known
   * @param isShared none was made: they are known by their parents alone
   */
  constructor(launched: number, isShared = false) {
    // Held as long as the guard lives: a namespace that is gone leaves its number to another run's.
    const held = isShared ? -1 : openPath(AT_FDCWD, `/proc/${launched}/ns/mnt`, O_CLOEXEC);
    const namespace = held >= 0 && statDescriptor(held) === 0 ? lastStat.inode : 0;
    const nothing = fs.openSync("/dev/null", "r+");
    const { pid, socket, control } = spawnLauncher(held < 0 ? [] : [held], {
      name: "uvfio-guard",
      standard: [nothing, nothing, nothing],
      session: true,
    });
    fs.closeSync(nothing);
    if (held >= 0) close(held);
    this.#pid = pid;
    this.#socket = socket;
    // A path as it stands: each URL takes longer than what is sent here.
    const program = ownProgram("guard-main", import.meta.filename.replace(/guard(\.[jt]s)$/, "guard-main$1"));
    const list = new CallList();
    list.call(HOST_CALLS.chdir, ["/"]);
    list.call(HOST_CALLS.read, [control, Buffer.alloc(8), 1]);
    const argv = list.words([...program, String(namespace), String(launched), startOf(launched), 0]);
    list.call(HOST_CALLS.execve, [program[0], argv, list.words([0])]);
    fs.writeSync(socket, list.encode());
  }

  /** All has come to its end: there is nobody to tell. */
  release(): void {
    process.kill(this.#pid, "SIGKILL");
    syscall(HOST_CALLS.wait4, this.#pid, 0, 0, 0);
    close(this.#socket);
  }
}
