import { OutputError, type OutputFile, STDOUT, writeAll } from "./output.ts";

/** Characters that are put together for one write. */
const WRITE_CHARACTERS = 64 * 1024;

/**
 * A trace that is being written: lines of JSON, in pieces. When it cannot be written any more that is said once, and
 * the program goes on without it: a full disk does not concern it.
 */
export class TraceFile {
  readonly #file: OutputFile;
  readonly #say: (line: string) => void;
  #text = "";
  #isLost = false;

  constructor(file: OutputFile, say: (line: string) => void) {
    this.#file = file;
    this.#say = say;
  }

  write(line: object): void {
    if (this.#isLost) return;
    this.#text += `${JSON.stringify(line)}\n`;
    if (this.#text.length > WRITE_CHARACTERS) this.end();
  }

  /** Writes what is held back. */
  end(): void {
    const text = this.#text;
    this.#text = "";
    if (this.#isLost || text === "") return;
    const { fd, name } = this.#file;
    try {
      writeAll(fd, Buffer.from(text), name);
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
