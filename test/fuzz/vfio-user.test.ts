import { spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { DeviceClock } from "../../src/devices/device-clock.ts";
import type { DeviceBus, DeviceModel } from "../../src/devices/device-model.ts";
import { vfioUser } from "../../src/devices/kinds/vfio-user/kind.ts";
import { readOptions } from "../../src/devices/options.ts";
import { isSavable, SavedStateError } from "../../src/devices/saved-state.ts";
import type { MappingListener } from "../../src/iommu/mapping-feed.ts";
import { newMemory } from "../../src/vfio-user/sockets.ts";
import { amount } from "../amount.ts";
import { scratchFolder } from "../cli/uvfio.ts";
import { whileServed } from "../programs/device-servers.ts";

/** Spoilt messages in each direction; UVFIO_VFIO_USER_MESSAGES=100000 for many. */
const COUNT = amount("UVFIO_VFIO_USER_MESSAGES", 2000, 2000);
const SEED = Number(process.env.UVFIO_SEED ?? Math.floor(Math.random() * 2 ** 31));
const PEER = fileURLToPath(new URL("vfio_user_peer.py", import.meta.url));
const hasPython = spawnSync("python3", ["--version"]).status === 0;
const PAGE = 4096;

const scratch = scratchFolder();
afterAll(() => scratch.remove());

function peer(mode: string, socket: string) {
  const child = spawn("python3", [PEER, mode, socket, `${SEED}`, `${COUNT}`], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data) => {
      said += data;
    });
  const ended = new Promise<string>((resolve) => child.on("close", () => resolve(said)));
  return { child, ended, said: () => said };
}

/** A descriptor more of the same memory. */
const dup = (fd: number) => openSync(`/proc/self/fd/${fd}`, "r+");
const descriptors = (pid: number | "self") => readdirSync(`/proc/${pid}/fd`).length;

/** Memory of which one page is mapped, and what the model tells. */
class OnePage implements DeviceBus {
  readonly clock = new DeviceClock();
  readonly page = Buffer.alloc(PAGE, 1);
  readonly reports: string[] = [];
  readonly messagesEnabled = false;
  listener: MappingListener | undefined;

  dmaRead(iova: bigint, into: Uint8Array): boolean {
    into.fill(0);
    return this.#reaches(iova, into.length) && this.page.copy(into, 0, Number(iova) - PAGE) >= 0;
  }

  dmaWrite(iova: bigint, from: Uint8Array): boolean {
    if (!this.#reaches(iova, from.length)) return false;
    this.page.set(from, Number(iova) - PAGE);
    return true;
  }

  #reaches(iova: bigint, length: number): boolean {
    return iova >= BigInt(PAGE) && iova + BigInt(length) <= BigInt(2 * PAGE);
  }

  sendMessage(): void {}
  setLine(): void {}
  report(message: string): void {
    this.reports.push(message);
  }
  watchMappings(listener: MappingListener): void {
    this.listener = listener;
  }
}

/** Uses a device until it is gone, or for a while. @returns how long the longest access has taken, in milliseconds */
function use(socket: string, bus: OnePage, steps: number): number {
  const { values } = readOptions(vfioUser, { socket, timeout: 40, start: 0 });
  const instance = { name: "device", options: values as never };
  const shared = newMemory("shared", PAGE);
  const handOver = (step: number) => (step % 3 === 0 ? { fd: dup(shared), offset: 0 } : undefined);
  let longest = 0;
  const timed = (action: () => void) => {
    const start = performance.now();
    action();
    longest = Math.max(longest, performance.now() - start);
  };
  vfioUser.discover!(instance, { vendor: 0x1234, device: 0x11e8 });
  const model = vfioUser.create(bus, instance);
  const inSteps = (work: Generator<void, void> | undefined) => {
    while (work) {
      let isOver = false;
      timed(() => {
        isOver = work.next().done === true;
      });
      if (isOver) return;
    }
  };
  for (let i = 0; i < steps; i++) {
    if (i % 40 === 39) inSteps(migrated(model, i));
    if (i % 10 === 0) inSteps(model.prepare?.(0, 0x20, 4, undefined));
    if (i % 10 === 0) model.read(0, 0x20, 4);
    if (i % 10 === 5) inSteps(model.prepare?.(0, 0x20, 4, 1n));
    if (i % 10 === 5) model.write(0, 0x20, 4, 1n);
    timed(() => {
      switch (i % 12) {
        case 0:
          model.write(0, 0x100, 4, 7n);
          break;
        case 1:
          model.configWritten!(4, 2, i % 16 === 1 ? 6 : 2);
          break;
        case 2:
          bus.listener?.mapped({
            iova: BigInt(PAGE),
            size: BigInt(PAGE),
            read: true,
            write: true,
            handOver: () => handOver(i),
          });
          break;
        case 3:
          model.readConfig!(0x80, 4);
          break;
        case 4:
          model.advance!();
          break;
        case 5:
          bus.listener?.cleared();
          break;
        case 6:
          model.reset();
          break;
        case 7:
          model.write(1, 2 * PAGE, 4, 5n);
          model.read(1, 8, 4);
          for (const { offset } of model.registers(1).slice(0, 8)) model.showsNumber?.(1, offset, 4);
          break;
        case 8:
          model.ownWrites?.start([{ start: 0n, last: BigInt(64 * PAGE) - 1n }], BigInt(PAGE), (iova, length) => {
            if (iova < BigInt(PAGE) || iova + BigInt(length) > BigInt(2 * PAGE)) throw new Error("a write elsewhere");
          });
          break;
        case 9:
          model.ownWrites?.collect(0n, BigInt(64 * PAGE) - 1n);
          break;
        case 10:
          model.ownWrites?.stop();
          break;
        default:
          model.read(0, 0, 8);
      }
    });
  }
  // one answer may be all ones by chance
  const isGone = [0, 1, 2].every(() => model.readConfig!(0x80, 4) === 0xffff_ffff);
  expect(bus.reports.filter((line) => line.startsWith("the device is gone")).length).toBeLessThanOrEqual(1);
  if (isGone && bus.reports.length === 0) throw new Error("gone without a reason");
  model.close!();
  closeSync(shared);
  return longest;
}

/** Takes a device's state, or gives it one, and has it go on. */
function* migrated(model: DeviceModel, step: number): Generator<void, void> {
  if (!isSavable(model)) return;
  try {
    model.pause?.();
    while (model.isBusy?.()) yield;
    if (step % 3 === 0) yield* model.restoreInSteps!({ version: 1, bytes: new Uint8Array(300_000) });
    else yield* model.fetchState!();
    model.savedSize?.();
    model.save();
  } catch (error) {
    if (!(error instanceof SavedStateError)) throw error;
  }
  if (step % 2 === 0) model.reset();
  else model.resume?.();
}

describe.skipIf(!hasPython)(`a peer that does not keep to vfio-user (UVFIO_SEED=${SEED})`, () => {
  test("as a client ends no server, and reaches nothing but what it has mapped", { timeout: 3_600_000 }, async () => {
    const { said, value } = await whileServed(scratch.path, "lab", "0000:03:00.0", async (socket, pid) => {
      const before = descriptors(pid);
      const output = await peer("client", socket).ended;
      // the last connection is closed when the server has heard of that
      await new Promise((resolve) => setTimeout(resolve, 300));
      const left = descriptors(pid) - before;
      return { output, left };
    });
    expect(value.output).toMatch(/^done: \d+ spoilt messages, \d+ connections\n$/);
    const connections = Number(/(\d+) connections/.exec(value.output)![1]);
    const givenUp = said.match(/^uvfio: the client is given up: .*$/gm) ?? [];
    console.log(`${value.output.trim()}, ${givenUp.length} given up (UVFIO_SEED=${SEED})`);
    expect(givenUp.length).toBeGreaterThan(0);
    expect(givenUp.length).toBeLessThanOrEqual(connections);
    expect(said).not.toMatch(/internal error|defect/);
    expect(value.left).toBe(0);
  });

  test("as a server leaves a device that is gone, and reaches nothing but what is mapped", {
    timeout: 3_600_000,
  }, async () => {
    const socket = join(scratch.path, "hostile");
    const { child, ended, said } = peer("server", socket);
    while (!said().includes("ready") && child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 20));
    const before = descriptors("self");
    let longest = 0;
    let rounds = 0;
    let gone = 0;
    const reasons = new Set<string>();
    while (child.exitCode === null && existsSync(socket)) {
      const bus = new OnePage();
      longest = Math.max(longest, use(socket, bus, 40 + (rounds % 5) * 40));
      const reason = bus.reports.find((line) => line.startsWith("the device is gone"));
      if (reason) {
        gone++;
        reasons.add(reason.replace(/[0-9]+/g, "N"));
      }
      rounds++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const output = await ended;
    console.log(
      `${output.trim().split("\n").at(-1)}, ${gone} of ${rounds} devices gone for ${reasons.size} reasons, the longest access ${longest.toFixed(0)} ms (UVFIO_SEED=${SEED})`,
    );
    expect(output).toMatch(/^ready\ndone: \d+ spoilt messages, \d+ connections\n$/);
    expect(gone).toBeGreaterThan(0);
    expect(reasons.size).toBeGreaterThan(3);
    // ten times the timeout, on a machine that does other things
    expect(longest).toBeLessThan(3000);
    expect(descriptors("self")).toBeLessThanOrEqual(before + 1);
  });
});
