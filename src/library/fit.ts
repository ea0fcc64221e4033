import { type HostOverrides, type HostSource, loadHost } from "../machine/load-host.ts";
import type { FitAnswer } from "./fit/answer.ts";
import { answerFit, type GuestOptions } from "./fit/answer-fit.ts";
import { withPropertyNames } from "./property-names.ts";

/** A guest and the host that it is to run on. */
export interface FitOptions extends GuestOptions, HostOverrides {
  /** The host; "intel" when left out. */
  readonly host?: HostSource;
}

/**
 * Whether a guest's memory fits a host's valid IOVA ranges and limits (`uvfio fit`).
 * @throws UsageError for a question that makes no sense, HostDescriptionError for a host that there is not
 */
export async function fit({ host, kernel, api, ...guest }: FitOptions): Promise<FitAnswer> {
  const description = await loadHost(host, { kernel, api });
  return withPropertyNames(() => answerFit(guest, description));
}
