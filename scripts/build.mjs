// npm run build: dist/ from src/. With --if-changed, as the tests call it, nothing happens when dist/ is what the sources say already. Of two builds
// at the same time one waits for the other.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const SOURCES = [
  "src",
  "view",
  "scripts/joined",
  "scripts/start",
  "scripts/join-modules.mjs",
  "scripts/build-view.mjs",
];
const SETTINGS = ["package.json", "package-lock.json", "tsconfig.json", "tsconfig.build.json"];
const stamp = join(root, "dist/.built-from");
const WAIT_MS = 200;

const digest = digestOf();
const unlock = lock(join(root, "node_modules/.uvfio-build"));
try {
  if (!process.argv.includes("--if-changed") || readStamp() !== digest) build();
} finally {
  unlock();
}

function build() {
  rmSync(stamp, { force: true });
  // what went wrong has been said by them
  const isDone = (...args) => spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" }).status === 0;
  if (
    isDone("node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json") &&
    isDone("scripts/build-view.mjs") &&
    isDone("scripts/join-modules.mjs")
  )
    writeFileSync(stamp, digest);
  else process.exitCode = 1;
}

function digestOf() {
  const hash = createHash("sha256").update(process.version);
  const files = SOURCES.flatMap((place) =>
    place.endsWith(".mjs")
      ? [place]
      : readdirSync(join(root, place), { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath, entry.name).slice(root.length)),
  );
  for (const file of [...files.sort(), ...SETTINGS]) hash.update(`${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest("hex");
}

function readStamp() {
  try {
    return readFileSync(stamp, "utf8");
  } catch {
    return undefined;
  }
}

/** The lock is a file with the number of who has it: one whose process has ended counts for nothing. */
function lock(path) {
  mkdirSync(join(path, ".."), { recursive: true });
  for (;;) {
    try {
      const fd = openSync(path, "wx");
      writeFileSync(fd, `${process.pid}`);
      closeSync(fd);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      if (!isAlive(Number(readFileSync(path, "utf8")))) rmSync(path, { force: true });
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MS);
    }
  }
}

function isAlive(pid) {
  // between the file and the number in it
  if (pid === 0) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
