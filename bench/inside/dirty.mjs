// dirty.mjs ROUNDS: the dirty bitmap of 1 TiB in 4 KiB pages with one page of a hundred dirty, in runs of 64 KiB at random places, read by
// GET_BITMAP. Memory of the bitmap is measured on the way.
import { MemoryObject } from "../../dist/kernel/model-pages.js";
import * as type1 from "../../dist/uapi/vfio-type1.js";
import { answer, Program, Random, timed } from "./model.mjs";

const rounds = Number(process.argv[2]);
const TIB = 2 ** 40;
const PAGE = 4096;
const RUN = 16 * PAGE;
const BITMAP_BYTES = TIB / PAGE / 8;

/** A tebibyte in which nothing is kept. */
class Nowhere extends MemoryObject {
  pageCount() {
    return TIB / PAGE;
  }
  read(_offset, into) {
    into.fill(0);
  }
  write() {}
  discard() {}
  forget() {}
  clone() {
    return this;
  }
}

const program = new Program("lab");
// the group of the sample mediated device: what it writes is dirty, and nothing else
const { file } = program.container(4);
const vaddr = program.map(TIB, { object: new Nowhere(PAGE) });
const IOVA = TIB;
program.mapDma(file, IOVA, vaddr, TIB);
const bitmap = program.flat(BITMAP_BYTES);
const START = 1;
const GET = 4;

function track(flags) {
  program.view.setUint32(0, 8, true);
  program.view.setUint32(4, flags, true);
  program.call(file, type1.VFIO_IOMMU_DIRTY_PAGES);
}

function read() {
  const { view } = program;
  view.setUint32(0, 48, true);
  view.setUint32(4, GET, true);
  program.set64(8, IOVA);
  program.set64(16, TIB);
  program.set64(24, PAGE);
  program.set64(32, BITMAP_BYTES);
  program.set64(40, bitmap.address);
  program.call(file, type1.VFIO_IOMMU_DIRTY_PAGES);
}

const data = new Uint8Array(RUN);
const random = new Random();
function dirty(share, within = TIB) {
  const runs = Math.round((share * within) / RUN);
  for (let i = 0; i < runs; i++) {
    const at = random.below(within / RUN) * RUN;
    file.backend.mediated.write(program.task, BigInt(IOVA + at), data);
  }
}

function bytesOfBitmap(share, within) {
  global.gc();
  const before = process.memoryUsage().arrayBuffers;
  dirty(share, within);
  global.gc();
  const bytes = process.memoryUsage().arrayBuffers - before;
  read();
  return bytes;
}

track(START);
read();
const results = { bytes: BITMAP_BYTES, read: [], clustered: bytesOfBitmap(0.5, TIB / 50) };
for (let round = 0; round < rounds; round++) {
  dirty(0.01);
  results.read.push(timed(read));
}
let set = 0;
for (const byte of bitmap.bytes) for (let bits = byte; bits !== 0; bits &= bits - 1) set++;
results.share = set / (TIB / PAGE);
answer(results);
