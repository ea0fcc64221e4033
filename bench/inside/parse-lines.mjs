// JSON.parse() of each line of a file, read piece by piece: prints the milliseconds that it took.
import { closeSync, openSync, readSync } from "node:fs";

const fd = openSync(process.argv[2], "r");
const piece = Buffer.alloc(1 << 20);
let rest = "";
let lines = 0;
const start = performance.now();
for (let count = readSync(fd, piece); count > 0; count = readSync(fd, piece)) {
  const parts = (rest + piece.latin1Slice(0, count)).split("\n");
  rest = parts.pop();
  for (const line of parts) if (JSON.parse(line) !== null) lines++;
}
closeSync(fd);
console.log(JSON.stringify({ milliseconds: performance.now() - start, lines }));
