// The command's code as V8 has compiled it, kept from one start to the next. Who can write such a file has node run what he likes, so one is used only
// from a folder that nobody else can write to. It is no more than a cache: where it cannot be read or written all works without.
import fs from "node:fs";
import { dirname } from "node:path";

const MINE = new Set([0, process.geteuid()]);
const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;
/** Files that are kept: other commands, other versions of node, builds before this one. */
const KEPT = 6;

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

/** `run` is what is started most often, and uses other code than the other commands. */
export function startKind() {
  return process.argv[2] === "run" ? "run" : "other";
}

/** As the XDG Base Directory Specification has it. */
export function cacheHome() {
  const { XDG_CACHE_HOME: given, HOME: home } = process.env;
  if (given?.startsWith("/")) return given;
  return home?.startsWith("/") ? `${home}/.cache` : undefined;
}

function read(folder, file, room) {
  if (!isSafe(folder)) return undefined;
  const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile() || !MINE.has(stat.uid) || (stat.mode & OTHERS_WRITE) !== 0) return undefined;
    if (stat.size > room.length) return fs.readFileSync(fd);
    return room.subarray(0, fs.readSync(fd, room, 0, stat.size, 0));
  } finally {
    fs.closeSync(fd);
  }
}

function write(base, folder, file, data) {
  for (const each of [base, folder]) {
    if (fs.existsSync(each)) continue;
    // Not in a folder of somebody else's: root with the home of a user leaves nothing there.
    if (!isSafe(dirname(each))) return;
    fs.mkdirSync(each, { mode: 0o700 });
  }
  if (!isSafe(folder)) return;
  const part = `${file}.${process.pid}`;
  try {
    // All or nothing, whatever ends this process or the machine.
    fs.writeFileSync(part, data, { mode: 0o600, flag: "wx", flush: true });
    fs.renameSync(part, file);
  } catch (error) {
    fs.rmSync(part, { force: true });
    throw error;
  }
  removeOld(folder);
}

function removeOld(folder) {
  const files = fs.readdirSync(folder).map((name) => `${folder}/${name}`);
  const times = new Map(files.map((file) => [file, fs.lstatSync(file).mtimeMs]));
  files.sort((a, b) => times.get(b) - times.get(a));
  for (const file of files.slice(KEPT)) fs.rmSync(file, { force: true });
}

/** Whether nobody but this user and root can change what lies in a folder: neither it nor one above it. */
function isSafe(folder) {
  for (let at = fs.realpathSync.native(folder); ; at = dirname(at)) {
    const { uid, mode } = fs.statSync(at);
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
