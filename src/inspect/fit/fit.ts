import { type Cure, cures } from "./cures.ts";
import { type FitRequest, judge, type Verdict } from "./judge.ts";

/** Whether a guest fits, why, and what would help. */
export interface FitResult extends Verdict {
  /** What would make it fit, the best first. */
  readonly cures: readonly Cure[];
}

/** Whether a guest fits a host, and what would help if not. */
export function checkFit(request: FitRequest): FitResult {
  const verdict = judge(request);
  return { ...verdict, cures: cures(request, verdict) };
}
