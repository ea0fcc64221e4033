// garbage.mjs LIVE PAIRS: what MAP_DMA and UNMAP_DMA leave on V8's heap. To be run with room for it: collections are counted, and there should
// be none between the two measurements.
import { PerformanceObserver } from "node:perf_hooks";
import { answer, Program, Random } from "./model.mjs";

const [live, pairs] = process.argv.slice(2).map(Number);
const FIRST = 0x10_0000;

const program = new Program("lab", { limit: 0xffffffff });
const { file } = program.container(1);
program.preparePages(program.map(4096));
for (let i = 0; i < live; i++) program.mapPage(file, FIRST + 2 * i);
const random = new Random();

function run(count) {
  for (let i = 0; i < count; i++) {
    const page = FIRST + 2 * random.below(live);
    program.unmapPage(file, page);
    program.mapPage(file, page);
  }
}

let collections = 0;
new PerformanceObserver((list) => {
  collections += list.getEntries().length;
}).observe({ entryTypes: ["gc"] });
// V8 compiles, beside this thread, and the last arrays that were grown are given back
for (let warmUp = 0; warmUp < 4; warmUp++) {
  run(300_000);
  await new Promise((resolve) => setTimeout(resolve, 50));
}
global.gc();
await new Promise((resolve) => setTimeout(resolve, 50));
collections = 0;
const before = process.memoryUsage();
run(pairs);
const after = process.memoryUsage();
await new Promise((resolve) => setTimeout(resolve, 50));
answer({
  heap: after.heapUsed - before.heapUsed,
  external: after.arrayBuffers - before.arrayBuffers,
  collections,
});
