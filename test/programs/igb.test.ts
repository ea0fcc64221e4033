import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { scratchFolder, UVFIO } from "../cli/uvfio.ts";
import { mayLock } from "../locked-memory.ts";

const TESTPMD = "/usr/bin/dpdk-testpmd";
const LIBRARIES = "/usr/lib/x86_64-linux-gnu";
const DRIVER = join(LIBRARIES, "librte_net_e1000.so.23");
const PORTS = ["0000:01:00.0", "0000:02:00.0"];

const scratch = scratchFolder();
afterAll(() => scratch.remove());

/** Two ports that are wired to each other. */
function pairOf(model: string, id: string): string {
  const file = join(scratch.path, `${model}.yaml`);
  writeFileSync(
    file,
    `name: pair
iommu: { model: intel-vtd, address_bits: 39 }
groups:
  - { id: 1, devices: [{ bdf: "${PORTS[0]}", id: "${id}", model: ${model}, options: { link: "${PORTS[1]}" } }] }
  - { id: 2, devices: [{ bdf: "${PORTS[1]}", id: "${id}", model: ${model} }] }
`,
  );
  return file;
}

/** A program that one talks to. */
class Conversation {
  readonly #child: ChildProcessWithoutNullStreams;
  output = "";
  /** What it said before it took commands. */
  began = "";

  constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args);
    const take = (text: Buffer) => {
      this.output += text;
    };
    this.#child.stdout.on("data", take);
    this.#child.stderr.on("data", take);
  }

  /** What it says until it has said something that is so. */
  async until(is: RegExp, milliseconds = 60_000): Promise<string> {
    const end = Date.now() + milliseconds;
    while (!is.test(this.output)) {
      if (Date.now() > end || this.#child.exitCode !== null) throw new Error(`no ${is} in: ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const said = this.output;
    this.output = "";
    return said;
  }

  say(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  async end(): Promise<number | null> {
    if (this.#child.exitCode === null) await new Promise((resolve) => this.#child.once("exit", resolve));
    return this.#child.exitCode;
  }

  kill(): void {
    this.#child.kill();
  }
}

interface Flow {
  received: number;
  sent: number;
}

/**
 * What each port received and sent. With several queues testpmd shows what it counted itself in its streams, else what
 * the driver's counters say. Those are cleared by reads, which a mapping of registers does not see: they are right the
 * first time, and later have all from before once more.
 */
function flows(text: string): Flow[] {
  const ports = PORTS.map(() => ({ received: 0, sent: 0 }));
  const counts = "RX-packets: *(\\d+)[\\s\\S]*?TX-packets: *(\\d+)[\\s\\S]*?TX-dropped: *(\\d+)";
  const stream = new RegExp(`Forward Stats for RX Port= *(\\d).*TX Port= *(\\d)[\\s\\S]*?${counts}`, "g");
  const port = new RegExp(`Forward statistics for port (\\d)()[\\s\\S]*?${counts}`, "g");
  const streams = [...text.matchAll(stream)];
  for (const [, from, to, received, sent, dropped] of streams.length > 0 ? streams : text.matchAll(port)) {
    ports[Number(from)]!.received += Number(received);
    ports[Number(to || from)]!.sent += Number(sent);
    expect(dropped).toBe("0");
  }
  return ports;
}

/**
 * Waits until both ports have their link as testpmd sees it. On a busy machine the driver may have waited too short for
 * its PHY when it was told of the link, and it looks once: then the ports are started again.
 */
async function linkUp(testpmd: Conversation): Promise<void> {
  for (let tries = 1; tries < 200; tries++) {
    testpmd.say("show port summary all");
    const summary = await testpmd.until(/\n1 .*\n/);
    if (summary.match(/up +1 Gbps/g)?.length === 2) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (tries % 40 !== 0) continue;
    testpmd.say("port stop all");
    testpmd.say("port start all");
    await testpmd.until(/Checking link statuses[\s\S]*Done/);
  }
  throw new Error("the link does not come up");
}

/**
 * testpmd with both ports. Its drivers wait 96 ms by the clock for what they ask of a PHY, and give the port up when
 * uvfio gets no processor for so long: that is no failure of uvfio, and it is begun again, twice at most.
 */
async function started(args: readonly string[]): Promise<Conversation> {
  for (let tries = 1; ; tries++) {
    const testpmd = new Conversation(process.execPath, args);
    testpmd.began = await testpmd.until(/testpmd> /);
    if (tries === 3 || !/Requested device .* cannot be used/.test(testpmd.began)) return testpmd;
    console.log(`igb: a port was given up, which is tried once more:\n${testpmd.began}`);
    testpmd.kill();
    await testpmd.end();
  }
}

describe.skipIf(!existsSync(TESTPMD) || !existsSync(DRIVER) || !mayLock(128, "DPDK's network drivers"))(
  "DPDK's drivers (need Debian's dpdk)",
  () => {
    test.each([
      { model: "igb", id: "8086:10c9", driver: "net_e1000_igb", queues: ["--rxq=2", "--txq=2"] },
      // its driver has one queue
      { model: "e1000e", id: "8086:10d3", driver: "net_e1000_em", queues: [] },
    ])(
      "two ports of $driver that are wired to each other: what one sends the other receives",
      { timeout: 180_000 },
      async ({ model, id, driver, queues }) => {
        const libraries = [DRIVER, join(LIBRARIES, "librte_mempool_ring.so.23")].flatMap((file) => ["-d", file]);
        const eal = ["--no-huge", "-m", "128", "--iova-mode=va", "-l", "0,1", "--no-shconf", ...libraries];
        const ports = PORTS.flatMap((port) => ["-a", port]);
        const testpmd = await started([
          ...[UVFIO, "run", "-m", pairOf(model, id), "--", "stdbuf", "-oL", TESTPMD, ...eal, ...ports],
          ...["--", "-i", "--total-num-mbufs=4096", ...queues],
        ]);
        try {
          expect(testpmd.began.match(new RegExp(`Probe PCI driver: ${driver}`, "g"))).toHaveLength(2);
          await linkUp(testpmd);
          // some hundred packets each way, and then nobody sends
          testpmd.say("set fwd rxonly");
          testpmd.say("start tx_first 5");
          await new Promise((resolve) => setTimeout(resolve, 5000));
          testpmd.say("stop");
          const [first, second] = flows(await testpmd.until(/Accumulated[\s\S]*Done\./));
          expect(first!.sent).toBe(Math.max(queues.length, 1) * 5 * 32);
          expect(second).toEqual({ received: first!.sent, sent: first!.received });
          // what comes in at one port goes out at the other, round and round; and in the end all of it is somewhere
          testpmd.say("set fwd io");
          testpmd.say("start tx_first");
          await new Promise((resolve) => setTimeout(resolve, 3000));
          testpmd.say("set fwd rxonly");
          testpmd.say("stop");
          const [left, right] = flows(await testpmd.until(/Accumulated[\s\S]*Done\./));
          const before = queues.length === 0 ? first!.received + second!.received : 0;
          expect(left!.received + right!.received).toBeGreaterThan(before + 128);
          testpmd.say("quit");
          expect(await testpmd.end()).toBe(0);
        } finally {
          testpmd.kill();
        }
      },
    );
  },
);
