import fs from "node:fs";
import { InterposerError } from "../interposer-error.ts";

/**
 * Finds the program as execvp() does: a name with a slash is a path, any other is looked for along PATH.
 * @param path the program's PATH; execvp's default when undefined
 * @param directory what relative names are relative to
 */
export function findProgram(program: Buffer, path: Buffer | undefined, directory: string): Buffer {
  // Each character is a byte here.
  const name = program.toString("latin1");
  const start = Buffer.from(directory).toString("latin1");
  const look = (candidate: string) => lookAt(bytes(candidate.startsWith("/") ? candidate : `${start}/${candidate}`));
  if (name === "") throw new InterposerError("program-not-found", "the program's name is empty");
  if (name.includes("/")) {
    const found = look(name);
    // throws where the working directory itself is gone, which says more
    if (found === "missing" && !name.startsWith("/")) process.cwd();
    if (found === "missing") throw new InterposerError("program-not-found", `${program}: no such file`);
    if (found !== "program") throw new InterposerError("not-executable", `${program}: ${found}`);
    return program;
  }
  let refused: string | undefined;
  for (const folder of (path?.toString("latin1") ?? "/bin:/usr/bin").split(":")) {
    const candidate = folder === "" ? `./${name}` : `${folder}/${name}`;
    const found = look(candidate);
    if (found === "program") return bytes(candidate);
    if (found !== "missing") refused ??= `${bytes(candidate)}: ${found}`;
  }
  if (refused !== undefined) throw new InterposerError("not-executable", refused);
  throw new InterposerError("program-not-found", `${program}: not found along PATH`);
}

function bytes(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

function lookAt(candidate: Buffer): string {
  try {
    if (!fs.statSync(candidate).isFile()) return "not a file that can be run";
    fs.accessSync(candidate, fs.constants.X_OK);
    return "program";
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === "ENOENT" || code === "ENOTDIR" ? "missing" : "no permission to run it";
  }
}

/** Why execve() refused a file that is there: its first bytes tell. */
export function describeFormat(path: Uint8Array): string {
  const head = Buffer.alloc(20);
  const fd = fs.openSync(Buffer.from(path), "r");
  const length = fs.readSync(fd, head, 0, head.length, 0);
  fs.closeSync(fd);
  if (length === 0) return "the file is empty";
  if (length === 20 && head.toString("latin1", 0, 4) === "\x7fELF") {
    return `made for another machine (ELF machine ${head.readUInt16LE(18)}, this is ${process.arch})`;
  }
  return head.toString("latin1", 0, 2) === "#!"
    ? "the interpreter in its #! line cannot be run"
    : "neither an ELF program nor a script with a #! line";
}
