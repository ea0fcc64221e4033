import { counted } from "../../kernel/counted.ts";

/** What the sanitizer finds. */
export type FindingKind =
  | "memory unmapped while mapped for DMA"
  | "DMA after unmap"
  | "DMA to an IOVA never mapped"
  | "DMA against the mapping's permission"
  | "mapping left behind"
  | "unmap that took nothing"
  | "device reset or closed while DMA may be running";

/** Hears a finding: as a line, and in its parts. */
export type TellFinding = (line: string, finding: { readonly kind: FindingKind; readonly text: string }) => void;

/** Says each finding once, and counts them. */
export class Findings {
  readonly #say: ((line: string) => void) | undefined;
  readonly #tell: TellFinding | undefined;
  readonly #found = new Map<FindingKind, number>();
  readonly #said = new Set<string>();

  /**
   * @param say hears all
   * @param tell hears each finding, instead of `say`
   */
  constructor(say: ((line: string) => void) | undefined, tell: TellFinding | undefined = say) {
    this.#say = say;
    this.#tell = tell;
  }

  get count(): number {
    return [...this.#found.values()].reduce((sum, count) => sum + count, 0);
  }

  report(kind: FindingKind, text: string): void {
    const line = `sanitizer: ${kind}: ${text}`;
    if (this.#said.has(line)) return;
    this.#said.add(line);
    this.#found.set(kind, (this.#found.get(kind) ?? 0) + 1);
    this.#tell?.(line, { kind, text });
  }

  /** How it went, when the program is over. */
  summarize(calls: number): void {
    const { count } = this;
    if (count === 0) {
      this.#say?.(`sanitizer: no findings in ${counted(calls, "call")}`);
      return;
    }
    const kinds = [...this.#found].map(([kind, times]) => `${kind} (${times})`).join(", ");
    this.#say?.(`sanitizer: ${counted(count, "finding")} in ${counted(calls, "call")}: ${kinds}`);
  }
}
