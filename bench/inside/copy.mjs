// copy.mjs ROUNDS COUNT SIZE...: nanoseconds of one DMA access of SIZE bytes, by a device to a program in this process. Read and write take turns.
import { stagingBuffer } from "../../dist/devices/kinds/ioat/staging-buffer.js";
import { answer, Program, timed } from "./model.mjs";

const [rounds, count, ...sizes] = process.argv.slice(2).map(Number);
const program = new Program("lab");
const { file } = program.container(1);
const { dma } = file.backend;
const largest = Math.max(...sizes);

/** Where a program can have memory: a buffer that JavaScript looks at too, and pages that come as they are written. */
const kinds = { buffer: program.flat(largest).address, pages: program.map(largest) };
const results = {};
let iova = 0x1_0000_0000;
for (const [kind, address] of Object.entries(kinds)) {
  program.task.memory.copyOut(address, new Uint8Array(largest).fill(1), largest);
  program.mapDma(file, iova, address, largest);
  results[kind] = {};
  for (const size of sizes) {
    // as ioat's, which is where a copy goes through
    const device = stagingBuffer(size).fill(2);
    const at = BigInt(iova);
    const times = [];
    for (let round = -2; round < rounds; round++) {
      const time = timed(() => {
        for (let i = 0; i < count; i += 2) if (dma.read(at, device) ?? dma.write(at, device)) throw new Error("fault");
      });
      if (round >= 0) times.push(time / count);
    }
    results[kind][size] = times;
  }
  iova *= 2;
}
answer(results);
