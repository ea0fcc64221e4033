// tce.mjs ROUNDS: a window of 64K pages mapped with 64 GiB by one call and emptied by another, and emptied when little of it is used; and a
// Uint32Array of as many entries filled and looked at.
import { answer, timed } from "./model.mjs";
import { TCE_PAGE, TceProgram, WINDOW } from "./tce-program.mjs";

const rounds = Number(process.argv[2]);
const program = new TceProgram();
const entries = new Uint32Array(WINDOW / TCE_PAGE);
/** Entries of a piece of a window that is little used, and from one to the next. */
const PIECE = 16;
const STEP = 10_000;

let sum = 0;
function scan() {
  for (let i = 0; i < entries.length; i++) sum += entries[i] === 0 ? 1 : 0;
}

const results = { fill: [], scan: [], map: [], unmap: [], unmapSparse: [] };
for (let round = -5; round < rounds; round++) {
  const times = {
    fill: timed(() => entries.fill(round)),
    scan: timed(scan),
    map: timed(() => program.map(0, WINDOW)),
    unmap: timed(() => program.unmap(0, WINDOW)),
  };
  for (let at = 0; at < WINDOW; at += STEP * TCE_PAGE) program.map(at, PIECE * TCE_PAGE);
  times.unmapSparse = timed(() => program.unmap(0, WINDOW));
  if (round >= 0) for (const [name, time] of Object.entries(times)) results[name].push(time);
}
answer({ ...results, sum });
