import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { inputName } from "../../machine/input-file.ts";
import type { NamelessFile } from "../../machine/nameless-file.ts";
import { checkOperation, type Operation } from "./operation.ts";
import { isReadOnce, readLines } from "./read-lines.ts";
import { RecordingError } from "./recording-error.ts";
import { type RecordingFacts, surveyOf } from "./recording-facts.ts";
import { spoolInput } from "./spool-input.ts";

/**
 * The operations of a file, read anew each time that somebody goes through them: one line of it is in memory, however
 * many there are. What can be read only once (stdin, a pipe) is put into a file first.
 */
export class RecordedCalls implements Iterable<Operation> {
  /** As messages call it. */
  readonly name: string;
  readonly #spool: NamelessFile | undefined;
  #facts: RecordingFacts | undefined;

  /** @throws RecordingError for an input that can be read only once, and not kept */
  constructor(path: string) {
    this.name = inputName(path);
    this.#spool = isReadOnce(path) ? spoolInput(path, (line) => operationOf(line, this.name, 1)) : undefined;
  }

  /** Whether there is no file that could be read again: what else lies beside it is not looked for. */
  get isReadOnce(): boolean {
    return this.#spool !== undefined;
  }

  /** @throws RecordingError with the line of what is no recording */
  get facts(): RecordingFacts {
    this.#facts ??= surveyOf(this);
    return this.#facts;
  }

  /** The first operation; undefined where the first line holds none. */
  get first(): Operation | undefined {
    for (const line of this.#lines()) {
      const operation = parseLine(line);
      return typeof operation === "string" ? undefined : operation;
    }
    return undefined;
  }

  /**
   * The byte order of its structures, as the host.json beside it says; a trace of `uvfio run` is of a program of this
   * machine.
   */
  get isLittleEndian(): boolean {
    if (this.isReadOnce || this.facts.first?.op === "host") return true;
    try {
      return JSON.parse(readFileSync(join(dirname(this.name), "host.json"), "utf8")).byte_order !== "big";
    } catch {
      return true;
    }
  }

  /** @throws RecordingError with the line of what is no recording */
  [Symbol.iterator](): Generator<Operation> {
    return operationsOf(this.#lines(), this.name);
  }

  /** Gives back what a pipe was put into. */
  close(): void {
    this.#spool?.close();
  }

  #lines(): Generator<string> {
    return readLines(this.name, this.#spool?.fd);
  }
}

/** What is known of all operations: a file is gone through once for it. */
export function factsOf(operations: Iterable<Operation>): RecordingFacts {
  return operations instanceof RecordedCalls ? operations.facts : surveyOf(operations);
}

/** @param path for messages */
export function parseOperations(text: string, path: string): Operation[] {
  return text === "" ? [] : [...operationsOf(text.replace(/\n$/, "").split("\n"), path)];
}

function* operationsOf(lines: Iterable<string>, path: string): Generator<Operation> {
  let number = 0;
  for (const line of lines) {
    number++;
    yield operationOf(line, path, number);
  }
}

function operationOf(line: string, path: string, number: number): Operation {
  const operation = parseLine(line);
  if (typeof operation === "string") throw new RecordingError(`${path}:${number}: ${operation}`);
  return operation;
}

/** The operation of a line, or what is wrong with it. */
function parseLine(line: string): Operation | string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return "not a line of JSON; the file is cut off or no recording";
  }
  return checkOperation(parsed);
}
