/** Characters of a line that are looked at; the rest is passed over. */
export const LINE_MAX = 16_384;
/** A line of a JSON log may hold several lines of a program. */
const PARTS_MAX = 40;

/** A line of a log, or one of several that stood in it. */
export interface LogLine {
  /** From 1. */
  readonly number: number;
  readonly text: string;
}

/**
 * Messages of several lines: where `first` matches, up to `most` of the lines behind it that match `next` belong to it.
 * The kernel's lines have a time and perhaps a host before them.
 */
const JOINED: readonly { readonly first: RegExp; readonly next: RegExp; readonly most: number }[] = [
  // older kernels ended the line there
  {
    first: /AMD-Vi: Event logged \[\s*$/,
    next: /(?:IO_PAGE_FAULT|INVALID_DEVICE_REQUEST|\w+_ERROR|\w+_TIMEOUT|ILLEGAL_\w+)/,
    most: 1,
  },
  // older kernels said where and why in two messages
  {
    first: /DMAR:\s*\[?DMA (?:Read|Write).*Request device.*fault addr [0-9a-fx]+\s*$/i,
    next: /DMAR:\s*\[fault reason/i,
    most: 1,
  },
  { first: /arm-smmu-v3 \S+ event 0x[0-9a-f]+ received:\s*$/i, next: /arm-smmu-v3 \S+\s+0x[0-9a-f]{16}\s*$/i, most: 4 },
];

/** Puts together what belongs together, and takes apart what is several lines in one. */
export class LineJoiner {
  readonly #emit: (line: LogLine) => void;
  #number = 0;
  #held: { readonly line: LogLine; readonly next: RegExp; left: number; text: string } | undefined;

  constructor(emit: (line: LogLine) => void) {
    this.#emit = emit;
  }

  /** The next line as the log has it, without its end; `text` has at most LINE_MAX characters. */
  line(text: string): void {
    this.#number++;
    const number = this.#number;
    const held = this.#held;
    if (held) {
      if (held.left > 0 && held.next.test(text)) {
        held.text += ` ${withoutPrefix(text)}`;
        held.left--;
        return;
      }
      this.#release();
    }
    for (const part of parts(text)) {
      const joined = JOINED.find(({ first }) => first.test(part));
      if (joined) {
        this.#release();
        this.#held = { line: { number, text: part }, next: joined.next, left: joined.most, text: part };
      } else this.#emit({ number, text: part });
    }
  }

  end(): void {
    this.#release();
  }

  /** Lines so far. */
  get count(): number {
    return this.#number;
  }

  #release(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held) this.#emit({ number: held.line.number, text: held.text });
  }
}

/** A message in JSON has its line ends as \n. */
function parts(text: string): readonly string[] {
  if (!text.includes("\\n")) return [text];
  return text.split(/\\+n/, PARTS_MAX).filter((part) => part.trim() !== "");
}

/** A line of the kernel's without its time. */
function withoutPrefix(text: string): string {
  return text
    .replace(/^.*?\[\s*\d+\.\d+\]\s*/, "")
    .replace(/^.*?kernel:\s*/, "")
    .trim();
}
