// translate.mjs LIVE COUNT ROUNDS: where random pages of LIVE mappings go, as a device's access asks.
import { answer, Program, Random, timed } from "./model.mjs";

const [live, count, rounds] = process.argv.slice(2).map(Number);
const PAGE = 4096;
const FIRST = 0x700000;
const READ = 1;

const program = new Program("lab", { limit: 0xffffffff });
const { file } = program.container(1);
const vaddr = program.map(live * PAGE);
const random = new Random();
// mapped in no order, every second page of the range
const order = Uint32Array.from({ length: live }, (_, i) => i);
for (let i = live - 1; i > 0; i--) {
  const other = random.below(i + 1);
  [order[i], order[other]] = [order[other], order[i]];
}
for (const i of order) program.mapDma(file, (FIRST + 2 * i) * PAGE, vaddr + i * PAGE, PAGE);

const { dma } = file.backend;
let sum = 0;
function lookups() {
  let found = 0;
  // C makes this of % 1024; of a double the remainder would take as long as a lookup
  for (let i = 0; i < count; i++) found += dma.translate(FIRST + 2 * random.below(live), READ) & 1023;
  sum += found;
}

lookups();
const times = [];
for (let round = 0; round < rounds; round++) times.push(timed(lookups) / count);
answer({ times, sum });
