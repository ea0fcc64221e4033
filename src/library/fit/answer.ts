import type { IovaRange } from "../../address/iova-ranges.ts";
import type { FitResult } from "../../inspect/fit/fit.ts";
import type { FitRequest } from "../../inspect/fit/judge.ts";
import { COLOURED, PLAIN, reportJson, reportLines, verdictWord } from "../../inspect/fit/report.ts";

/** How a report looks. */
export interface ReportStyle {
  /** With the colours of a terminal. */
  readonly coloured?: boolean;
  /** Also where the rules of the layout come from. */
  readonly explain?: boolean;
}

/** Whether a guest fits a host, and why. */
export class FitAnswer {
  /** What was asked, with all that was assumed. */
  readonly request: FitRequest;
  /** The answer in all its parts: reasons, conditions, ranges, limits, warnings, cures. */
  readonly result: FitResult;
  readonly #heading: string | undefined;

  /** For fit(). @param heading what the question was, where the report does not show it */
  constructor(request: FitRequest, result: FitResult, heading?: string) {
    this.request = request;
    this.result = result;
    this.#heading = heading;
  }

  /** "fits-if": it does when `result.conditions` are met. */
  get verdict(): "fits" | "fits-if" | "does-not-fit" {
    return verdictWord(this.result);
  }

  /** Bytes of memory that the guest has, with `max` the most that fits; undefined when its ranges were given. */
  get memory(): bigint | undefined {
    return this.request.planned?.request.memory;
  }

  /** What the host's kernel says can be mapped; undefined when nothing limits it, or the devices cannot be used. */
  get validRanges(): readonly IovaRange[] | undefined {
    return this.request.host.answer?.validRanges;
  }

  /** What `uvfio fit` prints, line by line: the verdict first. */
  report({ coloured = false, explain = false }: ReportStyle = {}): readonly string[] {
    const lines = reportLines(this.request, this.result, coloured ? COLOURED : PLAIN, explain);
    return this.#heading === undefined ? [...lines] : [this.#heading, ...lines];
  }

  /** What `uvfio fit --json` prints: addresses as hex text, sizes and counts as decimal text. */
  toJSON(): unknown {
    return reportJson(this.request, this.result);
  }
}
