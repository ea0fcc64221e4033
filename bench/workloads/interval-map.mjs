import { fileURLToPath } from "node:url";
import { AskedProgram } from "../lib/asked.mjs";
import { inside, least } from "../lib/measure.mjs";
import { NotHere } from "../lib/programs.mjs";
import { once } from "../lib/workload.mjs";

const OURS = fileURLToPath(new URL("../inside/interval-map.mjs", import.meta.url));
const ROUNDS = { quick: 10, long: 30 };
const SIZES = { quick: [1000, 100_000, 1_000_000], long: [1000, 100_000, 1_000_000, 10_000_000] };
/** How often each operation is done in a round. */
const COUNTS = { find: 100_000, overlap: 50_000, pair: 50_000, mixed: 25_000 };
/** GTree is slow to fill, and no target holds it against us: it takes part at sizes up to this one. */
const GTREE_LARGEST = 1_000_000;
const TARGET_BYTES = 64;
const MILLION = 1_000_000;

/** Times of one operation at one size, in nanoseconds for each operation, by program. */
class Times {
  ours = [];
  rbtree = [];
  gtree = [];

  /** How many times as fast as the red-black tree, in each round. */
  get rounds() {
    return this.ours.map((time, round) => this.rbtree[round] / time);
  }

  get ratio() {
    return least(this.rbtree) / least(this.ours);
  }
}

/** All times: measured.get("1000000 random").find.ratio. Beside the operations there are build, clear, and bytes. */
const measure = once(async (programs) => {
  const measured = new Map();
  for (const size of programs.long ? SIZES.long : SIZES.quick)
    for (const order of ["random", "rising"])
      measured.set(`${size} ${order}`, await measureSize(programs, size, order));
  return measured;
});

async function measureSize(programs, size, order) {
  const asked = {
    ours: new AskedProgram([process.execPath, "--expose-gc", OURS]),
    rbtree: new AskedProgram([programs.path("rbtree-map")]),
  };
  const gtree = size <= GTREE_LARGEST ? gtreePath(programs) : undefined;
  if (gtree) asked.gtree = new AskedProgram([gtree]);
  const times = Object.fromEntries(["build", ...Object.keys(COUNTS), "clear"].map((name) => [name, new Times()]));
  try {
    await askAll(asked, `build ${size} ${order}`, times.build, size);
    for (let round = 0; round < (programs.long ? ROUNDS.long : ROUNDS.quick); round++) {
      for (const [name, count] of Object.entries(COUNTS)) await askAll(asked, `${name} ${count}`, times[name], count);
    }
    times.bytes = (await asked.ours.ask("memory"))[0] / size;
    await askAll(asked, "clear", times.clear, size);
    return times;
  } finally {
    for (const program of Object.values(asked)) program?.end();
  }
}

function gtreePath(programs) {
  try {
    return programs.path("gtree-map", ["glib-2.0"]);
  } catch (error) {
    if (error instanceof NotHere) return undefined;
    throw error;
  }
}

/** Has every program do the same, one after the other, and notes the times. What they found must be the same. */
async function askAll(asked, line, times, count) {
  const names = Object.keys(asked).filter((name) => asked[name]);
  // none is always the first
  if (times.ours.length % 2 === 1) names.reverse();
  const sums = new Set();
  for (const name of names) {
    const [nanoseconds, sum] = await asked[name].ask(line);
    times[name].push(nanoseconds / count);
    sums.add(sum);
  }
  if (sums.size > 1) throw new Error(`${line}: the programs found different things: ${[...sums].join(", ")}`);
}

/** Everything that was measured, as multiples of the red-black tree's speed. */
function table(measured) {
  const heads = ["runs", "against", "build", ...Object.keys(COUNTS), "clear"];
  const rows = [...measured].flatMap(([key, times]) => {
    const cells = (against) =>
      heads.slice(2).map((name) => {
        const other = times[name][against];
        return other.length === 0 ? "-" : (least(other) / least(times[name].ours)).toFixed(2);
      });
    return [
      [key, "tree.h", ...cells("rbtree")],
      [key, "GTree", ...cells("gtree")],
    ];
  });
  const lines = [heads, heads.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  return `How many times as fast as the red-black tree and as GTree:\n\n${lines.join("\n")}`;
}

const BASELINE =
  "a red-black tree in C (`bench/c/rbtree-map.c`, <sys/tree.h>) that does the same on the same random numbers";

function speed(name, key, operation, atLeast, measures, explanation, details) {
  return {
    name,
    measures: `${measures}; how many times as many in the same time`,
    baseline: BASELINE,
    target: { atLeast },
    explanation,
    async run(programs) {
      const measured = await measure(programs);
      const { ratio, rounds } = measured.get(key)[operation];
      return { ratio, rounds, ...(details ? { details: details(measured) } : {}) };
    },
  };
}

const PAIRS = "a run found at a random page and taken out, another checked for overlap and inserted";

/** @type {import("../lib/workload.mjs").Workload[]} */
export const workloads = [
  speed(
    "lookups among 1,000,000 runs",
    `${MILLION} random`,
    "find",
    3,
    "the first run at or behind a random page",
    `The time is that of waiting for memory. The tree waits about ten times for a lookup, each time for a line that the
processor could not know before. The map (\`src/address/interval-map.ts\`) waits twice: the two levels above its
leaves stay in the cache, all lines of a leaf are asked for at once, and the length and value lie together in another
line of the same leaf. 16 bytes a run, comparisons that become numbers and not jumps, and no object on the heap for a
lookup do the rest.`,
    table,
  ),
  speed(
    "pairs among 1,000,000 runs",
    `${MILLION} random`,
    "pair",
    2,
    PAIRS,
    "Two lookups, behind which the leaves are in the cache; moving half a leaf along costs less than one wait for memory.",
  ),
  speed(
    "pairs among 100,000 runs",
    "100000 random",
    "pair",
    1.5,
    PAIRS,
    "As above; the tree's nodes are mostly in the cache here, so that it waits less.",
  ),
  speed(
    "lookups among 1,000 runs",
    "1000 random",
    "find",
    1,
    "the first run at or behind a random page",
    `All is in the cache on both sides. 28 comparisons of which none is a jump against ten that are, half of them foretold
wrongly; V8 checks the bounds of each. 18 comparisons in seven steps instead of four take 5 % longer here and 40 %
longer among a million: a step waits for the one before it. Two more nanoseconds of 36 are the looks at the run of the
cursor and the one behind it, by which lookups at rising pages need no search.

The same tree in WebAssembly (a prototype in AssemblyScript: no bounds checks, a call of 2 to 4 ns) takes 27 ns for a
lookup and 104 ns for a pair, where this one takes 36 and 145 and the tree in C 37 and 158. It is not used: its memory
can grow but never be given back, and all maps of a process would have to share one, because only then V8 knows at
compile time which instance it calls; lookups at rising pages would take 7 ns and not 4; and loading it takes each
process 0.7 ms.`,
  ),
  speed(
    "pairs among 1,000 runs",
    "1000 random",
    "pair",
    1,
    PAIRS,
    `Two fifths of the time are the two searches (\`perf\`). Where a run comes or goes the runs before it or those behind it
move along in their leaf, whichever are fewer: eight of 32 on average. Smaller leaves would be better here and worse
among a million.`,
  ),
  speed(
    "lookups at rising pages, 1,000,000 runs",
    `${MILLION} rising`,
    "find",
    3,
    "page after page",
    `Rising pages are what the tree is best at: every jump is foretold, every line is in the cache, and a lookup is twenty
steps without a wait. The map answers nearly all lookups from its cursor, or from the run behind it, without a search.`,
  ),
  speed(
    "pairs at rising pages, 1,000,000 runs",
    `${MILLION} rising`,
    "pair",
    2,
    "the lowest run taken out, one added behind the highest",
    `Mappings that come and go in the same order, as a ring of buffers has them. Neither end is searched for: the map knows
where its lowest run ends and where its highest does. A leaf has a gap in front of its runs that grows as the first
ones are taken out, so that none of the others moves. The tree walks its twenty steps at either end.`,
  ),
  speed(
    "lookups at rising pages, 1,000 runs",
    "1000 rising",
    "find",
    1,
    "page after page",
    "As with a million runs; the tree's way is half as long, and all of it in the nearest cache.",
  ),
  speed(
    "pairs at rising pages, 1,000 runs",
    "1000 rising",
    "pair",
    1,
    "the lowest run taken out, one added behind the highest",
    `The tree does all of it in the time that one search among random pages takes: each jump is foretold, and with a thousand
runs there is no wait for memory by which the map could win. The map neither searches nor moves runs here; its time is
that of leading the cursor from one end to the other and back, each number read from an array whose bounds V8 checks
(\`perf\`: a fifteenth goes to leaves that come and go, one each in 48 pairs). Some 500 instructions, evenly spread: the
time differs by a third between processes that run the very same code at other addresses, 25 to 33 ns, against 32.`,
  ),
  {
    name: "interval map, growth from 1,000 to 1,000,000",
    measures: "lookup, overlap check and pair at random pages, with 1,000,000 runs",
    baseline: "the same with 1,000 runs",
    target: { atMost: 4 },
    explanation: `A thousand runs are in the processor's nearest cache, a million in none: a search then waits for memory, and for the
address of the page that it lies in. Two thirds of the time with a million runs is that one function (\`perf\`),
though it does no more work than with a thousand. Where node's memory is in pages of 4 KiB, one such wait takes as
long as three whole lookups among a thousand runs; there are two of them, and the next lookup begins before the last
has ended, so that the growth is not larger. Large pages would help, but node has no way to ask for them. Whatever
makes the map faster among a thousand runs makes the growth larger: it is the quotient of both.`,
    async run(programs) {
      const measured = await measure(programs);
      const large = measured.get(`${MILLION} random`).mixed;
      const small = measured.get("1000 random").mixed;
      const details = `The red-black tree's time grows ${(least(large.rbtree) / least(small.rbtree)).toFixed(1)} times.`;
      return {
        ratio: least(large.ours) / least(small.ours),
        rounds: large.ours.map((time, round) => time / small.ours[round]),
        details,
      };
    },
  },
  {
    name: "interval map, memory for each run",
    measures: "heap and arrays for each of 1,000,000 runs, after runs have come and gone at random pages",
    baseline: `${TARGET_BYTES} bytes`,
    target: { atMost: 1 },
    explanation:
      "16 bytes a run (first page 8, length 4, value 4) in leaves that are filled to two thirds, and a tenth of that for the index.",
    async run(programs) {
      const measured = await measure(programs);
      const { bytes } = measured.get(`${MILLION} random`);
      const rising = measured.get(`${MILLION} rising`).bytes;
      const details = `${bytes.toFixed(1)} bytes for a run; ${rising.toFixed(1)} when they were made at rising pages.`;
      return { ratio: bytes / TARGET_BYTES, rounds: [bytes / TARGET_BYTES], details };
    },
  },
  {
    name: "interval map, the first thousand inserts of a process",
    measures: "a thousand inserts in no order by a process that has made none",
    baseline: "the same in the same process, the least of 200 later rounds",
    target: { atMost: 5 },
    explanation: `V8 begins with bytecode that it interprets, and compiles what runs often while it does: a process that has just started has no
machine code of its own, and no way to bring any (a start-up snapshot and the code cache hold bytecode). So the first inserts take what the
interpreter takes. It is some three milliseconds in all, once: the MAP_DMA of a program takes some ten microseconds each on the way to uvfio.

Where they go: 0.6 ms into the first hundred inserts, in which each function is parsed and runs for the first time; 0.5 ms into a collection of
the numbers that the interpreter makes an object of each; 1.2 ms into bytecode or the unoptimized code that follows it, a microsecond for an
insert; the rest into code that is being optimized. What was tried against it, each the least of several processes:

| | first thousand, ms | warm, ms |
| --- | --- | --- |
| as it is | 2.7 | 0.056 |
| V8 without its optimizer (\`--no-opt\`) | 2.5 | 1.1 |
| machine code from the first call on (\`--always-sparkplug\`) | 2.7 | 0.057 |
| feedback from the first call on (\`--no-lazy-feedback-allocation\`) | 3.9 | 0.059 |
| optimization later (\`--interrupt-budget=500000\`) | 2.7 | 0.065 |
| optimization earlier (\`--interrupt-budget=20000\`) | 3.7 | 0.056 |
| no tree: one sorted array, a binary search and \`copyWithin()\` | 0.62 | 0.065 |
| an insert that only stores its page | 0.08 | 0.001 |
| the tree in WebAssembly | 0.72, and 0.72 to be loaded | 0.030 |

Even ten steps of a binary search take twice as long as five times the warm time, so no other data structure in JavaScript reaches it.
WebAssembly's own code is there at once, but V8 runs a call of it from JavaScript through a slow path a thousand times and then compiles one,
which alone takes 0.45 ms.`,
    run(programs) {
      const runs = Array.from({ length: programs.long ? 31 : 11 }, () => inside("cold-map"));
      const ratios = runs.map(({ cold, warm }) => cold / warm);
      return { ratio: least(runs.map(({ cold }) => cold)) / least(runs.map(({ warm }) => warm)), rounds: ratios };
    },
  },
];
