import { existsSync } from "node:fs";
import { namesRequest } from "../inspect/explain/explain-request.ts";
import { type ExplainStyle, logJson, logReport, PLAIN_EXPLANATION, requestReport } from "../inspect/explain/report.ts";
import { explainFile, explainRequest } from "../library/explain.ts";
import { STDIN } from "../machine/input-file.ts";
import type { HostOverrides } from "../machine/load-host.ts";
import { bytesOfText } from "../uapi/byte-text.ts";
import { hasColours } from "./colours.ts";
import { printLine } from "./output.ts";

export interface ExplainCommandOptions extends HostOverrides {
  readonly machine?: string;
  readonly json?: boolean;
}

const sgr = (code: number) => (text: string) => `\x1b[${code}m${text}\x1b[0m`;
const COLOURED: ExplainStyle = { heading: sgr(1), certain: sgr(31), likely: sgr(33) };

/** `uvfio explain`: exit status 0 when something was explained, 1 when no line of the log is known. */
export async function explainCommand(
  what: string,
  errno: string | undefined,
  { machine, json = false, ...overrides }: ExplainCommandOptions,
): Promise<number> {
  const options = { ...overrides, ...(machine !== undefined && { host: machine }) };
  const style = hasColours(1) ? COLOURED : PLAIN_EXPLANATION;
  if (errno === undefined && isFile(what)) {
    const log = await explainFile(what, options);
    if (json) printLine(JSON.stringify(logJson(log), null, 2));
    else for (const line of logReport(log, style)) printLine(line);
    return log.explained.length > 0 ? 0 : 1;
  }
  const explanations = await explainRequest(what, errno, options);
  if (json) printLine(JSON.stringify(explanations, null, 2));
  else for (const line of requestReport(explanations, style)) printLine(line);
  return 0;
}

/** A request's name wins over a file of the same name, as a ready-made host's does: ./open is the file. */
function isFile(what: string): boolean {
  if (what === STDIN) return true;
  if (namesRequest(what)) return false;
  return what.includes("/") || existsSync(bytesOfText(what));
}
