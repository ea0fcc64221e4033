import { writeSync } from "node:fs";
import { printable } from "../../kernel/printable.ts";
import { InputFileError, inputName, readInputChunks } from "../../machine/input-file.ts";
import { NamelessFile } from "../../machine/nameless-file.ts";
import { LINE_MAX } from "./read-lines.ts";
import { RecordingError } from "./recording-error.ts";

const NEWLINE = 10;

/**
 * Puts what can be read only once into a file without a name, so that it can be gone through several times.
 * @param check the first line, as soon as it is there: throws for what is no recording, which may have no end
 * @throws RecordingError
 */
export function spoolInput(path: string, check: (line: string) => void): NamelessFile {
  const name = inputName(path);
  const file = emptyFile(name);
  const head: Buffer[] = [];
  let isChecked = false;
  let inLine = 0;
  const look = (piece: Buffer) => {
    if (isChecked) return;
    const end = piece.indexOf(NEWLINE);
    head.push(end < 0 ? piece : piece.subarray(0, end));
    if (end < 0) return;
    isChecked = true;
    check(Buffer.concat(head.splice(0)).toString("utf8"));
  };
  try {
    let at = 0;
    readInputChunks(path, Number.POSITIVE_INFINITY, (piece) => {
      look(piece);
      const last = piece.lastIndexOf(NEWLINE);
      inLine = last < 0 ? inLine + piece.length : piece.length - last - 1;
      if (inLine > LINE_MAX)
        throw new RecordingError(`${name}: a line has more than ${LINE_MAX} bytes; this is no recording`);
      at += writeAll(file.fd, piece, at, name);
    });
    return file;
  } catch (error) {
    file.close();
    if (!(error instanceof InputFileError)) throw error;
    throw new RecordingError(
      name === path ? `${printable(path)}: this is no regular file, it ${error.message}` : `${name}: ${error.message}`,
    );
  }
}

function emptyFile(name: string): NamelessFile {
  try {
    return new NamelessFile();
  } catch (error) {
    throw notKept(name, error);
  }
}

function writeAll(fd: number, bytes: Buffer, at: number, name: string): number {
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
    return bytes.length;
  } catch (error) {
    throw notKept(name, error);
  }
}

function notKept(name: string, error: unknown): RecordingError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  return new RecordingError(
    `${printable(name)}: no room to keep it while it is read (${code} in the folder of temporary files); give it as a file, or set TMPDIR`,
  );
}
