import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Tags,
  visit,
} from "yaml";
import { HostDescriptionError } from "./host-description-error.ts";
import type { FieldPath, Problem } from "./host-fields.ts";
import { refuseMasses } from "./refuse-masses.ts";

/** Problems that are told of; further ones often come from the same mistake. */
const PROBLEMS_MAX = 20;
/** A YAML (or JSON) document whose values know their lines. */
export class YamlSource {
  readonly file: string;
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;

  /** Throws HostDescriptionError for bad syntax. */
  constructor(text: string, file: string) {
    this.file = file;
    this.#lines = new LineCounter();
    refuseMasses(text, file);
    // A byte order mark is no content.
    this.#document = parseDocument(text.replace(/^\uFEFF/, ""), {
      lineCounter: this.#lines,
      prettyErrors: false,
      intAsBigInt: true,
      customTags: withoutSurprises,
    });
    const error = this.#document.errors[0];
    if (error) throw this.#at(error.pos[0], `not valid YAML: ${oneLine(error.message)}`);
  }

  /**
   * The content as plain values; integers are bigints. Throws HostDescriptionError for what cannot be built (aliases in
   * circles).
   */
  values(): unknown {
    visit(this.#document, {
      Alias: (_key, alias) => {
        if (!alias.resolve(this.#document))
          throw this.#at(startOf(alias) ?? 0, `not valid YAML: there is no anchor &${alias.source} before this alias`);
      },
    });
    try {
      return this.#document.toJS();
    } catch (error) {
      throw this.#at(0, `not valid YAML: ${oneLine((error as Error).message)}`);
    }
  }

  /** A line for each of these problems, the topmost in the file first; at last one line for all that is missing. */
  error(problems: readonly Problem[]): HostDescriptionError {
    const located = problems
      .map((problem) => ({ problem, offset: this.#offset(problem) }))
      .sort((a, b) => a.offset - b.offset);
    const missing = located.filter(({ problem }) => problem.missing);
    const lines = located
      .filter(({ problem }) => !problem.missing)
      .map(({ problem, offset }) => {
        const field = pathText(problem.key === undefined ? problem.path : [...problem.path, problem.key]);
        return this.#line(offset, `${field === "" ? "" : `${field}: `}${problem.message}`);
      });
    const shown = lines.slice(0, PROBLEMS_MAX);
    if (lines.length > PROBLEMS_MAX) shown.push(`${this.file}: and ${lines.length - PROBLEMS_MAX} more`);
    const [first, ...others] = missing;
    if (first) {
      const fields = others.slice(0, PROBLEMS_MAX).map(({ problem, offset }) => {
        return `${pathText(problem.path)} (line ${this.#lineOf(offset)})`;
      });
      const more = others.length > PROBLEMS_MAX ? ` and ${others.length - PROBLEMS_MAX} more` : "";
      const also = fields.length === 0 ? "" : `; so ${fields.length === 1 ? "is" : "are"} ${fields.join(", ")}${more}`;
      shown.push(this.#line(first.offset, `${pathText(first.problem.path)}: missing${also}`));
    }
    return new HostDescriptionError(shown);
  }

  #at(offset: number, message: string): HostDescriptionError {
    return new HostDescriptionError(this.#line(offset, message));
  }

  #line(offset: number, message: string): string {
    return `${this.file}:${this.#lineOf(offset)}: ${message}`;
  }

  #lineOf(offset: number): number {
    return this.#lines.linePos(offset).line || 1;
  }

  /** Where the value of a path starts, or the innermost part of it that is there. */
  #offset({ path, key }: Problem): number {
    let node: unknown = this.#document.contents;
    let offset = startOf(node) ?? 0;
    const steps = key === undefined ? path : [...path, key];
    for (const [depth, step] of steps.entries()) {
      if (isAlias(node)) node = node.resolve(this.#document);
      if (isMap(node)) {
        const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
        if (!pair) break;
        const isWrongKey = key !== undefined && depth === steps.length - 1;
        // The value of `key:` with nothing behind it is on no line; its key is. So is a block, which starts a line
        // later.
        node = pair.value;
        const valueStart = isScalar(node) && !isWrongKey ? startOf(node) : undefined;
        offset = valueStart ?? startOf(pair.key) ?? offset;
      } else if (isSeq(node)) {
        node = node.items[Number(step)];
        offset = startOf(node) ?? offset;
      } else break;
    }
    return offset;
  }
}

/** The tags of plain YAML, less what would change the text of a value before it can be looked at. */
function withoutSurprises(tags: Tags): Tags {
  return (
    tags
      // Nothing here is a fraction, but a release looks like one: without this tag 6.10 stays the text "6.10".
      .filter((tag) => typeof tag === "string" || tag.tag !== "tag:yaml.org,2002:float")
      // A config space that happens to have no letter in it must stay text as well.
      .map((tag) =>
        typeof tag !== "string" && tag.tag === "tag:yaml.org,2002:int" && "test" in tag && !tag.format
          ? { ...tag, test: /^[-+]?[0-9]{1,20}$/ }
          : tag,
      ) as Tags
  );
}

function startOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}

/** groups[1].reserved_regions[0].start */
export function pathText(path: FieldPath): string {
  return path.reduce<string>(
    (text, step) => (typeof step === "number" ? `${text}[${step}]` : text === "" ? step : `${text}.${step}`),
    "",
  );
}

function oneLine(message: string): string {
  // the reader descends by calling itself
  if (/call stack/.test(message)) return "nested too deep";
  return message.replace(/\s*\n[\s\S]*$/, "").replace(/[.:]$/, "");
}
