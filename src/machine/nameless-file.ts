import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PIECE = 1 << 20;

/** A file without a name in the place of a program's stdin, stdout or stderr. */
export class NamelessFile {
  readonly fd: number;

  constructor() {
    const folder = mkdtempSync(join(tmpdir(), "uvfio-"));
    try {
      this.fd = openSync(join(folder, "file"), "w+", 0o600);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  /** A file with this in it, to be read from its start. */
  static of(text: string): NamelessFile {
    const file = new NamelessFile();
    const bytes = Buffer.from(text);
    // at a place: the offset, which the program shares, stays where it is
    for (let done = 0; done < bytes.length; ) done += writeSync(file.fd, bytes, done, bytes.length - done, done);
    return file;
  }

  /** All of it, from the start. */
  text(): string {
    const pieces: Buffer[] = [];
    for (let at = 0; ; ) {
      const piece = Buffer.allocUnsafe(PIECE);
      const count = readSync(this.fd, piece, 0, piece.length, at);
      if (count === 0) return Buffer.concat(pieces).toString("utf8");
      pieces.push(piece.subarray(0, count));
      at += count;
    }
  }

  close(): void {
    closeSync(this.fd);
  }
}
