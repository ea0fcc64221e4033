// The first thousand inserts of a process, and a thousand of the same once V8 has compiled them: prints nanoseconds of each.
import { IntervalMap } from "../../dist/address/interval-map.js";

const COUNT = 1000;
const BASE = 0x7_0000_0000;
const WARM_ROUNDS = 200;

/** Pages in no order, each once. */
const pages = Array.from({ length: COUNT }, (_, i) => BASE + ((i * 7919) % COUNT) * 2);

function nanoseconds() {
  const map = new IntervalMap();
  const start = process.hrtime.bigint();
  for (let i = 0; i < COUNT; i++) map.insert(pages[i], 1, i);
  const time = Number(process.hrtime.bigint() - start);
  if (map.size !== COUNT) throw new Error(`${map.size} runs`);
  return time;
}

const cold = nanoseconds();
let warm = Number.POSITIVE_INFINITY;
for (let round = 0; round < WARM_ROUNDS; round++) warm = Math.min(warm, nanoseconds());
console.log(JSON.stringify({ cold, warm }));
