// sequence.mjs FILE ROUNDS [tce]: the calls in a file (bench/c/sequence.c says what is in it) by file.ioctl() with structures in the program's
// memory, on a type1 container or on a window of 64K TCEs.
import { readFileSync } from "node:fs";
import { answer, Program, timed } from "./model.mjs";
import { TceProgram } from "./tce-program.mjs";

const [path, rounds, kind] = process.argv.slice(2);
const PAGE = 4096;
const UNMAP_ALL = 2;

const calls = (() => {
  const { buffer, byteOffset, length } = readFileSync(path);
  return new Float64Array(buffer.slice(byteOffset, byteOffset + length));
})();

function type1() {
  const program = new Program("intel", { limit: 0xffffffff });
  const { file } = program.container(12);
  let most = 0;
  for (let i = 0; i < calls.length; i += 3) if (calls[i] === 0) most = Math.max(most, calls[i + 2]);
  const vaddr = program.map(most * PAGE);
  return () => {
    for (let i = 0; i < calls.length; i += 3) {
      if (calls[i] === 0) program.mapDma(file, calls[i + 1] * PAGE, vaddr, calls[i + 2] * PAGE);
      else if (calls[i] === 1) program.unmapDma(file, calls[i + 1] * PAGE, calls[i + 2] * PAGE);
      else program.unmapDma(file, 0, 0, UNMAP_ALL);
    }
  };
}

function tces() {
  const program = new TceProgram();
  return () => {
    for (let i = 0; i < calls.length; i += 3) program.map(calls[i + 1] * PAGE, calls[i + 2] * PAGE);
  };
}

const run = kind === "tce" ? tces() : type1();
run();
const times = [];
for (let round = 0; round < Number(rounds); round++) times.push(timed(run));
answer({ times });
