// many.mjs LIVE ROUNDS: LIVE mappings of a page made and then taken away by one call, in nanoseconds; between them, in nanoseconds for one
// of many calls, GET_INFO, and a second group that comes in and leaves.
import { VFIO_GROUP_UNSET_CONTAINER } from "../../dist/uapi/vfio.js";
import { answer, Program, timed } from "./model.mjs";

const [live, rounds] = process.argv.slice(2).map(Number);
const PAGE = 4096;
/** Calls that are timed together, and how often. */
const CALLS = 200;
const BATCHES = 25;
const UNMAP_ALL = 2;

const program = new Program("lab", { limit: 0xffffffff });
const { file, fd } = program.container([1]);
const other = program.open("/dev/vfio/2");
const vaddr = program.map(PAGE);
// in 39 bits, and out of the way of the window for messages; neighbours are not adjacent
const FIRST = 0x1_0000_0000;

function bytesUsed() {
  global.gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const results = { make: [], unmapAll: [], info: [], attach: [], bytes: [] };
for (let round = 0; round < rounds; round++) {
  const before = round === 0 ? bytesUsed() : 0;
  results.make.push(
    timed(() => {
      for (let i = 0; i < live; i++) program.mapDma(file, FIRST + 2 * i * PAGE, vaddr, PAGE);
    }),
  );
  if (round === 0) results.bytes.push((bytesUsed() - before) / live);
  const info = () => {
    for (let i = 0; i < CALLS; i++) program.getInfo(file);
  };
  const attach = () => {
    for (let i = 0; i < CALLS; i++) {
      program.setContainer(other, fd);
      program.call(program.file(other), VFIO_GROUP_UNSET_CONTAINER);
    }
  };
  for (let batch = 0; batch < BATCHES; batch++) {
    results.info.push(timed(info) / CALLS);
    results.attach.push(timed(attach) / CALLS);
  }
  results.unmapAll.push(timed(() => program.unmapDma(file, 0, 0, UNMAP_ALL)));
  if (Number(program.view.getBigUint64(16, true)) !== live * PAGE) throw new Error("not all unmapped");
}
answer(results);
