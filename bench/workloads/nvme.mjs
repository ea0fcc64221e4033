import { spawnSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { alternate, median } from "../lib/measure.mjs";
import { NotHere } from "../lib/programs.mjs";

const QEMU_IMG = "/usr/bin/qemu-img";
const BDF = "0000:05:00.0";
const SIZE = 64 * 2 ** 20;
const READ = 4096;
/** Between two reads: they meet all of the disk, and none of them its neighbour. */
const STRIDE = 40_960;
const ROUNDS = { quick: 3, long: 9 };
const COUNTS = { 1: { quick: 2000, long: 10_000 }, 32: { quick: 10_000, long: 100_000 } };
/** Edges of the histogram, in microseconds. */
const EDGES = [25, 50, 100, 200, 400, 800, 1600, Number.POSITIVE_INFINITY];

function image(programs) {
  const path = programs.file("disk.raw");
  if (!existsSync(path)) writeFileSync(path, randomFillSync(Buffer.alloc(SIZE)));
  writeFileSync(
    programs.file("nvme.yaml"),
    `name: bench
iommu: { model: intel-vtd, address_bits: 39 }
groups: [{ id: 1, devices: [{ bdf: "${BDF}", id: "1b36:0010", options: { image: disk.raw } }] }]
`,
  );
  return path;
}

/** Seconds that qemu-img takes for so many reads. */
function seconds(command, depth, count, disk) {
  const [program, ...args] = command([
    ...[QEMU_IMG, "bench", "-f", "raw", "-c", `${count}`, "-d", `${depth}`, "-s", `${READ}`, "-S", `${STRIDE}`, disk],
  ]);
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  const time = /Run completed in ([\d.]+) seconds/.exec(stdout)?.[1];
  if (status !== 0 || time === undefined) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
  return Number(time);
}

function workload(depth, target, explanation) {
  return {
    name: `nvme, 4 KiB reads at depth ${depth}`,
    measures: `\`qemu-img bench\` over nvme:// reads 4 KiB at ${STRIDE} bytes' distance from an image of 64 MiB, ${depth} at a time`,
    baseline: "the same of the image itself",
    target,
    explanation,
    run(programs) {
      if (!existsSync(QEMU_IMG)) throw new NotHere("qemu-img is not here (Debian's qemu-utils)");
      const path = image(programs);
      const count = COUNTS[depth][programs.long ? "long" : "quick"];
      const under = (program) => programs.uvfio(program, { host: programs.file("nvme.yaml") });
      const rates = [];
      const compared = alternate(
        programs.long ? ROUNDS.long : ROUNDS.quick,
        () => {
          const time = seconds(under, depth, count, `nvme://${BDF}/1`);
          rates.push(count / time);
          return time;
        },
        () => seconds((program) => program, depth, count, path),
      );
      const details = [`${Math.round(median(rates))} reads a second.`];
      if (depth === 1) details.push(histogram(programs));
      return { ...compared, details: details.join("\n\n") };
    },
  };
}

/** Times from a doorbell to its completion, of a client that maps the registers and waits for the phase bit. */
function histogram(programs) {
  const client = programs.path("nvme-latency");
  const command = programs.uvfio([client, programs.long ? "20000" : "4000"], { host: programs.file("nvme.yaml") });
  const { status, stdout, stderr } = spawnSync(command[0], command.slice(1));
  if (status !== 0) throw new Error(`nvme-latency: ${stderr}`);
  const times = new Uint32Array(stdout.buffer.slice(stdout.byteOffset, stdout.byteOffset + stdout.length));
  const rows = EDGES.map((edge, index) => {
    const from = EDGES[index - 1] ?? 0;
    const count = times.filter((time) => time >= from * 1000 && time < edge * 1000).length;
    const name = edge === Number.POSITIVE_INFINITY ? `${from} and more` : `${from} to ${edge}`;
    return `| ${name} | ${((100 * count) / times.length).toFixed(1)} % |`;
  });
  return [
    "From the write of a mapped doorbell to the completion in memory, one read at a time:",
    "",
    "| microseconds | reads |",
    "| --- | --- |",
    ...rows,
  ].join("\n");
}

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  workload(
    32,
    { atMost: 3 },
    `The device is another process: the doorbell is seen when the mapping is looked at next, entries of a queue are read together, data go through two copies
(file, buffer, the program's memory), completions are written together with one interrupt.`,
  ),
  workload(
    1,
    { atMost: 8 },
    "Each read waits until the doorbell is seen, for the interrupt, and for two processes to get the processor: nothing is there to be done meanwhile.",
  ),
];
