// What --version and --help print is written down when the command is built: nothing of it need be loaded for that.
import { fstatSync, writeSync } from "node:fs";

/** Of /dev/null and its kin (Documentation/admin-guide/devices.txt). */
const MEMORY_MAJOR = 1;
/** For a reader that is slow. */
const POLL_MS = 5;

/**
 * Prints what the command line asks for, if that is a text.
 * @param args of the command
 * @param read a text by the name of its command, "uvfio" for all of it; undefined for none
 * @returns whether it did
 */
export function printedText(args, version, read) {
  const [first = "", second] = args;
  if (args.length === 1 && (first === "--version" || first === "-V")) return printed(`${version}\n`);
  if (args.length === 1 && isHelp(first)) return printedHelp(read("uvfio"));
  return args.length === 2 && isHelp(second) && /^[a-z][a-z-]*$/.test(first) && printedHelp(read(first));
}

function isHelp(word) {
  return word === "--help" || word === "-h";
}

/** A terminal has lines of its own length. */
function printedHelp(text) {
  return text !== undefined && !isTerminal() && printed(text);
}

function isTerminal() {
  const stat = fstatSync(1);
  return stat.isCharacterDevice() && stat.rdev >> 8 !== MEMORY_MAJOR;
}

/** Where it cannot be written, the command tries it again and says so. */
function printed(text) {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      if (error.code !== "EAGAIN") return false;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS);
    }
  }
  return true;
}
