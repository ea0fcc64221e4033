import { answerFit, type GuestOptions } from "../library/fit/answer-fit.ts";
import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { hasColours } from "./colours.ts";
import { printLine } from "./output.ts";

/** As the command line has them: all of them text. */
export interface FitOptions extends HostOverrides, Omit<GuestOptions, "devices"> {
  /** Hosts, each judged by itself; the default one when left out. */
  readonly machine?: readonly string[];
  readonly device?: readonly string[];
  readonly explain?: boolean;
  readonly json?: boolean;
}

/** `uvfio fit`: exit status 0 when the guest fits every host that is named, 1 when it does not. */
export async function fitCommand(options: FitOptions): Promise<number> {
  const { machine = [undefined], kernel, api, device, explain = false, json = false, ...guest } = options;
  const answers = [];
  for (const name of machine)
    answers.push(answerFit({ ...guest, ...(device && { devices: device }) }, await loadHost(name, { kernel, api })));
  if (json) printLine(JSON.stringify(answers.length === 1 ? answers[0] : answers, null, 2));
  else {
    const coloured = hasColours(1);
    for (const [index, answer] of answers.entries()) {
      if (index > 0) printLine();
      const heading = `== ${answer.request.host.description.name}`;
      if (answers.length > 1) printLine(coloured ? `\x1b[1m${heading}\x1b[0m` : heading);
      for (const line of answer.report({ coloured, explain })) printLine(line);
    }
  }
  return answers.every(({ result }) => result.fits) ? 0 : 1;
}
