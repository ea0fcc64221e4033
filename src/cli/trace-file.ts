import { OutputError, type OutputFile, STDOUT, writeAll } from "./output.ts";

/** Bytes that are put together for one write. */
const WRITE_BYTES = 256 * 1024;
/** A character takes no more bytes in UTF-8. */
const CHARACTER_BYTES = 3;

/**
 * A trace that is being written: lines of JSON, in pieces. When it cannot be written any more that is said once, and
 * the program goes on without it: a full disk does not concern it.
 */
export class TraceFile {
  readonly #file: OutputFile;
  readonly #say: (line: string) => void;
  // texts that were held would live through several garbage collections, which copy them each time
  readonly #held = Buffer.allocUnsafe(WRITE_BYTES);
  #length = 0;
  #isLost = false;

  constructor(file: OutputFile, say: (line: string) => void) {
    this.#file = file;
    this.#say = say;
  }

  write(line: object): void {
    if (this.#isLost) return;
    const text = `${JSON.stringify(line)}\n`;
    const most = text.length * CHARACTER_BYTES;
    if (this.#length + most > WRITE_BYTES) this.end();
    if (most > WRITE_BYTES) this.#write(Buffer.from(text));
    else this.#length += this.#held.write(text, this.#length);
  }

  /** Writes what is held back. */
  end(): void {
    const bytes = this.#held.subarray(0, this.#length);
    this.#length = 0;
    if (bytes.length > 0) this.#write(bytes);
  }

  #write(bytes: Buffer): void {
    if (this.#isLost) return;
    const { fd, name } = this.#file;
    try {
      writeAll(fd, bytes, name);
    } catch (error) {
      if (!(error instanceof OutputError)) throw error;
      this.#isLost = true;
      // who closes a pipe behind a filter knows that nothing comes any more
      if (error.isClosedPipe && name === STDOUT) return;
      this.#say(
        `--trace ${name}: cannot be written (${error.reason}): the trace is lost from here on; the program goes on`,
      );
    }
  }
}
