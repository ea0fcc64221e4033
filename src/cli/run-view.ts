import { LiveView } from "../library/view/live-view.ts";
import { ViewPage } from "../library/view/view-page.ts";
import type { HostDescription } from "../machine/host-description.ts";
import { isTerminal } from "./colours.ts";
import { complain } from "./output.ts";
import { parsePort } from "./port.ts";
import { untilSignal } from "./until-signal.ts";

/** The page of a run. */
export class RunView {
  readonly live: LiveView;
  readonly #page: ViewPage;

  constructor(live: LiveView, page: ViewPage) {
    this.live = live;
    this.#page = page;
  }

  /**
   * The program has ended. A person at a terminal has perhaps not looked yet: then the page stays until Ctrl-C.
   * @param status of the program
   */
  async ended(status: number): Promise<void> {
    this.live.hub.end(`The program has ended with exit status ${status}.`);
    if (!isTerminal(2)) return;
    complain(`the program has ended (exit status ${status}); the page stays until Ctrl-C: ${this.#page.url}`);
    await untilSignal();
  }

  close(): Promise<void> {
    return this.#page.close();
  }
}

/** @throws UsageError */
export async function openRunView(
  argv: readonly string[],
  port: string | undefined,
  { name, kernel }: HostDescription,
): Promise<RunView> {
  const live = new LiveView({ host: name, kernel, title: argv.join(" ") });
  const page = await ViewPage.open(live.hub, parsePort(port, "--view"));
  complain(`view: ${page.url}`);
  return new RunView(live, page);
}
