import { explainFindings, type LogExplanation } from "../../inspect/explain/explanation.ts";
import { FindingCollector } from "../../inspect/explain/findings.ts";
import type { HostOracle } from "../../inspect/explain/host-view.ts";
import { LINE_MAX, LineJoiner } from "../../inspect/explain/log-lines.ts";
import { printable } from "../../kernel/printable.ts";
import { InputFileError, inputName, readInputChunks } from "../../machine/input-file.ts";
import { UsageError } from "../usage-error.ts";

/** Bytes of a log. */
const LOG_MAX = 1 << 30;
const NEWLINE = 0x0a;

/** Files that are no text, by their first bytes, and how to make text of them. */
const NO_TEXT: readonly (readonly [magic: readonly number[], what: string, how: string])[] = [
  [[0x1f, 0x8b], "compressed (gzip)", "zcat"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], "compressed (xz)", "xzcat"],
  [[0x28, 0xb5, 0x2f, 0xfd], "compressed (zstd)", "zstdcat"],
  [[0x42, 0x5a, 0x68], "compressed (bzip2)", "bzcat"],
  [[0x4c, 0x50, 0x4b, 0x53, 0x48, 0x48, 0x52, 0x48], "a journal of systemd", "journalctl --file"],
  [[0x7f, 0x45, 0x4c, 0x46], "a program (ELF)", "strings"],
];

/**
 * Reads a log of a VMM, a library or the kernel, and explains what in it is about VFIO and the IOMMU. Time and memory
 * are bounded by the size of the log, whatever is in it.
 * @param file "-" for stdin
 * @throws UsageError: a file that cannot be read, or that is no text
 */
export function explainLog(file: string, host: HostOracle | undefined): LogExplanation {
  const collector = new FindingCollector();
  const joiner = new LineJoiner((line) => collector.add(line));
  try {
    readLines(file, (line) => joiner.line(line));
  } catch (error) {
    if (!(error instanceof InputFileError)) throw error;
    throw new UsageError(`${printable(inputName(file))} ${error.message}`);
  }
  joiner.end();
  return explainFindings(collector, joiner.count, host);
}

/** Hands out lines of at most LINE_MAX characters; of a longer one its beginning. */
function readLines(file: string, take: (line: string) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  let isFirst = true;
  let isCut = false;
  const emit = (bytes: Buffer) => {
    if (!isCut) take(textOf(bytes));
    isCut = false;
  };
  readInputChunks(file, LOG_MAX, (chunk) => {
    if (isFirst) refuseNoText(chunk, file);
    isFirst = false;
    let begin = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, begin)) {
      const line = chunk.subarray(begin, end);
      emit(rest.length === 0 ? line : Buffer.concat([rest, line]));
      rest = Buffer.alloc(0);
      begin = end + 1;
    }
    if (isCut) return;
    const left = chunk.subarray(begin);
    rest =
      rest.length === 0 ? Buffer.from(left.subarray(0, LINE_MAX)) : Buffer.concat([rest, left.subarray(0, LINE_MAX)]);
    if (rest.length < LINE_MAX) return;
    // the rest of a line without end is passed over
    take(textOf(rest));
    rest = Buffer.alloc(0);
    isCut = true;
  });
  if (rest.length > 0 && !isCut) take(textOf(rest));
}

function textOf(bytes: Buffer): string {
  return bytes.subarray(0, LINE_MAX).toString("utf8").replace(/\r$/, "");
}

function refuseNoText(first: Buffer, file: string): void {
  const found = NO_TEXT.find(([magic]) => magic.every((byte, at) => first[at] === byte));
  if (!found) return;
  const [, what, how] = found;
  const name = printable(inputName(file));
  throw new UsageError(`${name} is ${what} and no text: ${how} FILE | uvfio explain -`);
}
