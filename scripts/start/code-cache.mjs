// The command's code as V8 has compiled it, kept from one start to the next. Who can write such a file has node run what he likes, so one is used only
// from a folder that nobody else can write to. It is no more than a cache: where it cannot be read or written all works without.
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { mayHaveMany } from "./later.mjs";

const MINE = new Set([0, process.geteuid()]);
const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;
/** Files that are kept: other commands, other versions of node, builds before this one. */
const KEPT = 8;

/**
 * @param build tells this build's code from others'
 * @returns undefined where no cache can be: no home, or options that make V8 compile otherwise; `read` reads to the memory that it is given, if there is
 * enough of it
 */
export function codeCache(build) {
  const base = cacheHome();
  if (base === undefined || process.execArgv.length > 0 || process.env.NODE_OPTIONS) return undefined;
  const folder = `${base}/uvfio`;
  const file = `${folder}/${build}-${process.version}-${process.arch}-${startKind()}`;
  return {
    read: (room) => quietly(() => read(folder, file, room)),
    write: (parts) => quietly(() => write(base, folder, file, parts)),
  };
}

/**
 * `run` is what is started most often, and uses other code than the other commands. Since node 22 V8 takes no code that it compiled before an option was
 * first set, even when that is as it was.
 */
export function startKind() {
  return `${isRun() ? "run" : "other"}${mayHaveMany() ? "+later" : ""}`;
}

export function isRun() {
  return process.argv[2] === "run";
}

/** As the XDG Base Directory Specification has it. */
export function cacheHome() {
  const { XDG_CACHE_HOME: given, HOME: home } = process.env;
  if (given?.startsWith("/")) return given;
  return home?.startsWith("/") ? `${home}/.cache` : undefined;
}

function read(folder, file, room) {
  if (!isSafe(folder)) return undefined;
  const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || !MINE.has(stat.uid) || (stat.mode & OTHERS_WRITE) !== 0) return undefined;
    if (stat.size > room.length) return readFileSync(fd);
    return room.subarray(0, readSync(fd, room, 0, stat.size, 0));
  } finally {
    closeSync(fd);
  }
}

function write(base, folder, file, data) {
  for (const each of [base, folder]) {
    if (existsSync(each)) continue;
    // Not in a folder of somebody else's: root with the home of a user leaves nothing there.
    if (!isSafe(dirname(each))) return;
    mkdirSync(each, { mode: 0o700 });
  }
  if (!isSafe(folder)) return;
  const part = `${file}.${process.pid}`;
  try {
    // All or nothing, whatever ends this process or the machine.
    writeFileSync(part, data, { mode: 0o600, flag: "wx", flush: true });
    renameSync(part, file);
  } catch (error) {
    rmSync(part, { force: true });
    throw error;
  }
  removeOld(folder);
}

function removeOld(folder) {
  const files = readdirSync(folder).map((name) => `${folder}/${name}`);
  const times = new Map(files.map((file) => [file, lstatSync(file).mtimeMs]));
  files.sort((a, b) => times.get(b) - times.get(a));
  for (const file of files.slice(KEPT)) rmSync(file, { force: true });
}

/** Whether nobody but this user and root can change what lies in a folder: neither it nor one above it. */
function isSafe(folder) {
  for (let at = realpathSync.native(folder); ; at = dirname(at)) {
    const { uid, mode } = statSync(at);
    // In a sticky folder (/tmp) others can make files, but not touch those of this user.
    if (!MINE.has(uid) || ((mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0)) return false;
    if (at === "/") return true;
  }
}

function quietly(call) {
  try {
    return call();
  } catch {
    return undefined;
  }
}
