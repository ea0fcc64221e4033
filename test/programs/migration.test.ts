import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { scratchFolder, UVFIO } from "../cli/uvfio.ts";
import { mayLock } from "../locked-memory.ts";
import { guestImage } from "./guest-image.ts";

/** A folder that scripts/debian-package.sh unpacked QEMU 10 into, and what scripts/guest-kernels.sh made. */
const NEWER = process.env.UVFIO_NEWER_QEMU ?? "";
const GUESTS = process.env.UVFIO_NVME_GUESTS ?? "";
const FILES = join(GUESTS, "amd64");

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const MEBIBYTE = 2 ** 20;
const DISK = 64 * MEBIBYTE;
/** Where the disk has a word that ends the guest. */
const STOP = DISK - 65536;
/** Memory of the guest that its kernel leaves alone. */
const PAGE = 0x1800_0000;

/**
 * In each round the disk is written and read back, and what edu's buffer has from the round before is fetched by DMA
 * and compared; a migration may come in between anywhere.
 */
const SCRIPT = `
insmod /nvme-auth.ko
insmod /nvme-core.ko
insmod /nvme.ko
sleep 2
edu=$(grep -l 0x11e8 /sys/bus/pci/devices/*/device)
edu=\${edu%/device}
echo 1 > $edu/enable
printf '\\006' | dd of=$edu/config bs=1 seek=4 conv=notrunc 2>/dev/null
bar=$(head -n 1 $edu/resource | cut -d ' ' -f 1)
at() { printf 0x%x $(( $1 + $2 )); }
put() { devmem $(at $bar $1) 64 $2; }
copy() { put 0x80 $1; put 0x88 $2; put 0x90 8; put 0x98 $3; }
echo "disk $(cat /sys/block/nvme0n1/size) edu $(devmem $bar 32)"
token=0x1
devmem ${PAGE} 64 $token
copy ${PAGE} 0x40000 1
i=0
while :; do
  yes "round $i" | dd of=/pattern bs=64k count=16 iflag=fullblock 2>/dev/null
  dd if=/pattern of=/dev/nvme0n1 bs=64k seek=$(( (i % 8) * 16 )) conv=fsync 2>/dev/null
  echo 3 > /proc/sys/vm/drop_caches
  dd if=/dev/nvme0n1 of=/back bs=64k skip=$(( (i % 8) * 16 )) count=16 2>/dev/null
  cmp /pattern /back && disk=same || disk=DIFFERENT
  copy 0x40000 $(at ${PAGE} 64) 3
  [ $(( $(devmem $(at ${PAGE} 64) 64) )) = $(( token )) ] && edu=same || edu=DIFFERENT
  token=$(( (i + 2) * 65537 ))
  devmem ${PAGE} 64 $token
  copy ${PAGE} 0x40000 1
  echo "round $i disk $disk edu $edu"
  i=$((i + 1))
  dd if=/dev/nvme0n1 bs=64k skip=${STOP / 65536} count=1 2>/dev/null | grep -q "^stop" && break
done
echo "sum $(md5sum < /dev/nvme0n1)"
dmesg | grep -i "nvme nvme0\\|i/o error"
`;

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

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface Ends {
  /** One `uvfio run` for each, or one for both. */
  readonly runs: 1 | 2;
  /** Options of the disk on both sides. */
  readonly disk: string;
}

/** Two QEMUs, the second of which waits for the guest of the first; what they write, and how to talk to them. */
class TwoQemus {
  readonly monitors: Monitor[] = [];
  readonly #folder: string;
  readonly #children: ChildProcess[] = [];
  errors = "";

  constructor(folder: string, { runs, disk }: Ends, image: { readonly kernel: string; readonly initrd: string }) {
    this.#folder = folder;
    const host = (count: number) =>
      ["name: two", "iommu: { model: intel-vtd, address_bits: 39 }", "groups:"]
        .concat(
          Array.from({ length: count }, (_, i) => i + 1).flatMap((n) => [
            `  - { id: ${2 * n}, devices: [{ bdf: "0000:0${n}:00.0", id: "1b36:0010", model: nvme, options: ${disk} }] }`,
            `  - { id: ${2 * n + 1}, devices: [{ bdf: "0000:0${n}:01.0", id: "1234:11e8" }] }`,
          ]),
        )
        .join("\n");
    const qemu = (side: "a" | "b", bus: number) => {
      const libraries = `${NEWER}/usr/lib/x86_64-linux-gnu`;
      return [
        ...["env", `QEMU_MODULE_DIR=${libraries}/qemu`, `${libraries}/ld-linux-x86-64.so.2`],
        ...["--library-path", libraries, `${NEWER}/usr/bin/qemu-system-x86_64`],
        ...["-L", `${NEWER}/usr/share/qemu`, "-L", `${NEWER}/usr/share/seabios`, "-L", "/usr/share/seabios"],
        ...["-M", "q35", "-accel", "tcg", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot"],
        ...["-kernel", image.kernel, "-initrd", image.initrd],
        ...["-append", `"console=ttyS0 quiet panic=-1 memmap=1M\\$0x${PAGE.toString(16)}"`],
        ...["-serial", `file:${side}.log`, "-qmp", `unix:${side}.sock,server=on,wait=off`],
        ...["-device", `vfio-pci,host=0000:0${bus}:00.0,id=disk`, "-device", `vfio-pci,host=0000:0${bus}:01.0,id=edu`],
        ...(side === "b" ? ["-incoming", "unix:migration.sock"] : []),
      ].join(" ");
    };
    writeFileSync(join(folder, "one.yaml"), host(1));
    writeFileSync(join(folder, "two.yaml"), host(2));
    if (runs === 2) {
      this.#run("one.yaml", qemu("a", 1));
      this.#run("one.yaml", qemu("b", 1));
    } else {
      this.#run("two.yaml", `${qemu("a", 1)} & ${qemu("b", 2)} & wait`);
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

const isReady = NEWER !== "" && existsSync(FILES) && mayLock(256, "a guest that moves");

describe.skipIf(!isReady)(
  "a guest moves from one QEMU 10 to another (needs UVFIO_NEWER_QEMU, UVFIO_NVME_GUESTS)",
  () => {
    test.each<[string, Ends]>([
      [
        "within one uvfio run, its disk an image that both have",
        { runs: 1, disk: "{ image: disk.raw, shared: true }" },
      ],
      ["from one uvfio run to another, its disk in memory", { runs: 2, disk: "{ size: 64M }" }],
    ])("%s, while it uses the disk and edu", { timeout: 400_000 }, async (_, ends) => {
      const folder = scratchFolder();
      const disk = join(folder.path, "disk.raw");
      writeFileSync(disk, "");
      truncateSync(disk, DISK);
      const image = guestImage(FILES, ["nvme-auth", "nvme-core", "nvme"], SCRIPT, folder.path);
      const qemus = new TwoQemus(folder.path, ends, image);
      try {
        await qemus.connect();
        await qemus.until("a", /^round 1 /m, 120);
        const info = await qemus.migrate(120);
        expect(info, qemus.errors).toMatchObject({ status: "completed" });
        expect(info.vfio, "the devices' state went over").toMatchObject({ transferred: expect.any(Number) });
        const before = qemus.log("a").match(/^round .*$/gm) ?? [];
        const last = Number(/\d+/.exec(before.at(-1)!)![0]);
        await qemus.until("b", new RegExp(`^round ${last + 4} `, "m"), 120);
        const rounds = [...before, ...(qemus.log("b").match(/^round \d+ disk .*$/gm) ?? [])];
        expect(rounds.filter((line) => !/disk same edu same$/.test(line))).toEqual([]);
        expect(qemus.errors).not.toMatch(/faults|internal error/);
        if (ends.runs === 1) {
          const stop = openSync(disk, "r+");
          writeSync(stop, "stop", STOP);
          await qemus.until("b", /^sum [0-9a-f]{32}/m, 120);
          const sum = /^sum ([0-9a-f]{32})/m.exec(qemus.log("b"))![1];
          expect(sum).toBe(createHash("md5").update(readFileSync(disk)).digest("hex"));
          expect(qemus.log("b")).not.toMatch(/i\/o error/i);
        }
      } finally {
        await qemus.end();
        folder.remove();
      }
    });
  },
);
