// koffi's native module out of the single executable. The C library loads a module from a file only, and a file in memory (memfd_create) cannot be had
// before there is a native module; so it becomes a file without a name, in the first folder that may have programs.
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheHome } from "./code-cache.mjs";

const { O_RDWR, O_DIRECTORY } = fs.constants;
/** Of <fcntl.h>; node has no constant for it. */
const O_TMPFILE = 0o20000000 | O_DIRECTORY;
const MODE = 0o700;

/** @throws NativeModuleError where there is no such folder */
export function loadCarried(bytes) {
  const refused = [];
  for (const folder of folders()) {
    for (const load of [fromNameless, fromNamed]) {
      try {
        return load(folder, bytes);
      } catch (error) {
        refused.push(`${folder}: ${error.message.split("\n")[0]}`);
      }
    }
  }
  const error = new Error(
    `a folder is needed that can be written and may have programs (no noexec), name one with TMPDIR; ${refused.at(-1)}`,
  );
  error.name = "NativeModuleError";
  throw error;
}

/** Memory first. */
function folders() {
  const { XDG_RUNTIME_DIR, HOME } = process.env;
  return ["/dev/shm", XDG_RUNTIME_DIR, tmpdir(), "/var/tmp", cacheHome(), HOME, "."].filter(Boolean);
}

function fromNameless(folder, bytes) {
  const fd = fs.openSync(folder, O_TMPFILE | O_RDWR, MODE);
  try {
    fs.writeFileSync(fd, bytes);
    return open(`/proc/self/fd/${fd}`);
  } finally {
    fs.closeSync(fd);
  }
}

/** For file systems that have no nameless files, and where /proc is not. */
function fromNamed(folder, bytes) {
  const own = fs.mkdtempSync(join(folder, ".uvfio-"));
  try {
    const file = join(own, "koffi.node");
    fs.writeFileSync(file, bytes, { mode: MODE });
    return open(file);
  } finally {
    fs.rmSync(own, { recursive: true, force: true });
  }
}

function open(path) {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}
