import { type RequestExplanation, requestExplanation } from "../inspect/explain/explain-request.ts";
import type { LogExplanation } from "../inspect/explain/explanation.ts";
import { type HostOverrides, type HostSource, loadHost } from "../machine/load-host.ts";
import { hostOracle } from "./explain/ask-host.ts";
import { explainLog } from "./explain/read-log.ts";

/** The host in whose terms an explanation is given; none when left out. */
export interface ExplainOptions extends HostOverrides {
  /** A ready-made host, a file, or a description. */
  readonly host?: HostSource;
}

async function oracle({ host, ...overrides }: ExplainOptions) {
  return host === undefined ? undefined : hostOracle(await loadHost(host, overrides));
}

/**
 * Why a request fails, with one errno or with any (`uvfio explain REQUEST [ERRNO]`).
 * @throws UsageError for a request or an errno that there is not
 */
export async function explainRequest(
  request: string,
  errno?: string,
  options: ExplainOptions = {},
): Promise<readonly RequestExplanation[]> {
  return requestExplanation(request, errno, (await oracle(options))?.description);
}

/**
 * What a log of a VMM, a library or the kernel says of VFIO and the IOMMU (`uvfio explain FILE`).
 * @param file "-" for stdin
 * @throws UsageError for a file that cannot be read or is no text
 */
export async function explainFile(file: string, options: ExplainOptions = {}): Promise<LogExplanation> {
  return explainLog(file, await oracle(options));
}
