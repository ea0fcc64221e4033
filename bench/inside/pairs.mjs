// pairs.mjs LIVE COUNT ROUNDS: MAP_DMA and UNMAP_DMA of single pages among LIVE mappings at random places, and the same on the bare map.
import { IntervalMap } from "../../dist/address/interval-map.js";
import { answer, Program, Random, timed } from "./model.mjs";

const [live, count, rounds] = process.argv.slice(2).map(Number);
/** Places for mappings: half of them are taken. */
const places = 2 * live;
const FIRST = 0x700000;

const program = new Program("lab", { limit: 0xffffffff });
const { file } = program.container(1);
program.preparePages(program.map(4096));
const map = new IntervalMap();

/** The pages that are mapped, in random order, and those that are not: a pair takes one from each. */
const mapped = new Uint32Array(live);
const free = new Uint32Array(places - live);
{
  const random = new Random();
  const order = Uint32Array.from({ length: places }, (_, i) => FIRST + 2 * i);
  for (let i = places - 1; i > 0; i--) {
    const other = random.below(i + 1);
    [order[i], order[other]] = [order[other], order[i]];
  }
  mapped.set(order.subarray(0, live));
  free.set(order.subarray(live));
}
for (const page of mapped) {
  program.mapPage(file, page);
  map.insert(page, 1, page % 1000);
}

/** `count` pairs: a page is mapped, another one unmapped. Both kinds walk the same pages. */
function pairs(put, take, random) {
  for (let i = 0; i < count; i++) {
    const to = random.below(free.length);
    const from = random.below(live);
    const page = free[to];
    put(page);
    take(mapped[from]);
    free[to] = mapped[from];
    mapped[from] = page;
  }
}

/** One pair's pages as they were, so that the other kind can do the same. */
function bare() {
  const random = new Random();
  const [m, f] = [mapped.slice(), free.slice()];
  const time = timed(() =>
    pairs(
      (page) => {
        if (map.overlaps(page, 1)) throw new Error("taken");
        map.insert(page, 1, page % 1000);
      },
      (page) => {
        if (!map.overlaps(page, 1)) throw new Error("free");
        map.removeHere();
      },
      random,
    ),
  );
  mapped.set(m);
  free.set(f);
  return time;
}

function ioctls() {
  const random = new Random();
  return timed(() =>
    pairs(
      (page) => program.mapPage(file, page),
      (page) => program.unmapPage(file, page),
      random,
    ),
  );
}

bare();
ioctls();
const results = { bare: [], ioctls: [] };
for (let round = 0; round < rounds; round++) {
  results.bare.push(bare() / count);
  results.ioctls.push(ioctls() / count);
}
answer(results);
