import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { UVFIO } from "../cli/uvfio.ts";

/** A folder that scripts/debian-package.sh unpacked QEMU 10 into. */
export const NEWER = process.env.UVFIO_NEWER_QEMU ?? "";

/** QEMU 10's command, with its modules and firmware. */
export function newerQemu(): readonly string[] {
  const libraries = `${NEWER}/usr/lib/x86_64-linux-gnu`;
  return [
    ...["env", `QEMU_MODULE_DIR=${libraries}/qemu`, `${libraries}/ld-linux-x86-64.so.2`],
    ...["--library-path", libraries, `${NEWER}/usr/bin/qemu-system-x86_64`],
    ...["-L", `${NEWER}/usr/share/qemu`, "-L", `${NEWER}/usr/share/seabios`, "-L", "/usr/share/seabios"],
    ...["-M", "q35", "-accel", "tcg", "-nodefaults", "-display", "none", "-no-reboot"],
  ];
}

/** A QEMU's monitor for programs (QMP). */
class Monitor {
  readonly #socket: Socket;
  #text = "";

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      this.#text += chunk.toString();
    });
  }

  static async open(path: string): Promise<Monitor> {
    for (let tries = 0; ; tries++) {
      try {
        const socket = connect(path);
        await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
        const monitor = new Monitor(socket);
        await monitor.command("qmp_capabilities");
        return monitor;
      } catch (error) {
        if (tries === 100) throw error;
        await sleep(300);
      }
    }
  }

  async command(execute: string, args: Readonly<Record<string, unknown>> = {}): Promise<Record<string, unknown>> {
    this.#text = "";
    this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    for (let tries = 0; tries < 600; tries++) {
      for (const line of this.#text.split("\n").slice(0, -1)) {
        const answer = JSON.parse(line) as { return?: Record<string, unknown>; error?: unknown };
        if (answer.error) throw new Error(JSON.stringify(answer.error));
        if (answer.return) return answer.return;
      }
      await sleep(50);
    }
    throw new Error(`no answer to ${execute}`);
  }
}

export const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The two ends of a migration. */
interface Ends {
  /** One `uvfio run` for each, or one for both. */
  readonly runs: 1 | 2;
  /** Groups of the host file that an end has, whose devices are on this bus. */
  readonly groups: (bus: number) => readonly string[];
  /** What its QEMU has of them, and more of its arguments. */
  readonly devices: (bus: number) => readonly string[];
  /** What runs beside them, under the same `uvfio run`: groups of the host file and a command. */
  readonly beside?: { readonly groups: readonly string[]; readonly command: string };
}

/** A guest's kernel and its initramfs. */
interface Image {
  readonly kernel: string;
  readonly initrd: string;
}

/** Two QEMUs, the second of which waits for the guest of the first; what they write, and how to talk to them. */
export class TwoQemus {
  readonly monitors: Monitor[] = [];
  readonly #folder: string;
  readonly #children: ChildProcess[] = [];
  errors = "";

  constructor(folder: string, { runs, groups, devices, beside }: Ends, image: Image) {
    this.#folder = folder;
    const host = (count: number) =>
      ["name: two", "iommu: { model: intel-vtd, address_bits: 39 }", "groups:"]
        .concat(...Array.from({ length: count }, (_, i) => groups(i + 1)), beside?.groups ?? [])
        .join("\n");
    const qemu = (side: "a" | "b", bus: number) =>
      [
        ...[...newerQemu(), "-kernel", image.kernel, "-initrd", image.initrd],
        ...["-serial", `file:${side}.log`, "-qmp", `unix:${side}.sock,server=on,wait=off`],
        ...devices(bus),
        ...(side === "b" ? ["-incoming", "unix:migration.sock"] : []),
      ].join(" ");
    writeFileSync(join(folder, "one.yaml"), host(1));
    writeFileSync(join(folder, "two.yaml"), host(2));
    if (runs === 2) {
      this.#run("one.yaml", qemu("a", 1));
      this.#run("one.yaml", qemu("b", 1));
    } else {
      const all = [qemu("a", 1), qemu("b", 2), ...(beside ? [beside.command] : [])];
      this.#run("two.yaml", `${all.join(" & ")} & wait`);
    }
  }

  #run(host: string, script: string): void {
    const args = [UVFIO, "run", "-m", host, "--", "/bin/sh", "-c", script];
    const child = spawn(process.execPath, args, { cwd: this.#folder });
    const hear = (chunk: Buffer) => {
      this.errors += chunk.toString();
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    this.#children.push(child);
  }

  async connect(): Promise<void> {
    for (const side of ["a", "b"]) this.monitors.push(await Monitor.open(join(this.#folder, `${side}.sock`)));
  }

  /** What the guest has written on one side. */
  log(side: "a" | "b"): string {
    const file = join(this.#folder, `${side}.log`);
    return existsSync(file) ? readFileSync(file, "latin1").replaceAll("\r", "") : "";
  }

  async until(side: "a" | "b", wanted: RegExp, seconds: number): Promise<void> {
    for (let tries = 0; tries < 4 * seconds; tries++) {
      if (wanted.test(this.log(side))) return;
      if (this.#children.some(({ exitCode }) => exitCode !== null && exitCode !== 0)) break;
      await sleep(250);
    }
    throw new Error(`no ${wanted} in ${side}.log:\n${this.log(side)}\n${this.errors}`);
  }

  /** @returns how it ended */
  async migrate(seconds: number): Promise<Record<string, unknown>> {
    await this.monitors[0]!.command("migrate", { uri: "unix:migration.sock" });
    for (let tries = 0; tries < 2 * seconds; tries++) {
      const info = await this.monitors[0]!.command("query-migrate");
      if (["completed", "failed", "cancelled"].includes(String(info.status))) return info;
      await sleep(500);
    }
    throw new Error(`the migration does not end: ${this.errors}`);
  }

  async end(): Promise<void> {
    for (const monitor of this.monitors) await monitor.command("quit").catch(() => {});
    await Promise.all(this.#children.map((child) => (child.exitCode === null ? closed(child) : undefined)));
  }
}

function closed(child: ChildProcess): Promise<void> {
  const killer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  return new Promise((resolve) => {
    child.once("close", () => {
      clearTimeout(killer);
      resolve();
    });
  });
}
