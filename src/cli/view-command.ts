import { ViewHub } from "../library/view/hub.ts";
import { RemoteView } from "../library/view/remote-view.ts";
import { tracePicture } from "../library/view/trace-view.ts";
import { ViewPage } from "../library/view/view-page.ts";
import { inputName } from "../machine/input-file.ts";
import type { HostOverrides } from "../machine/load-host.ts";
import { UsageError } from "./errors.ts";
import { complain, printLine } from "./output.ts";
import { parsePort } from "./port.ts";
import { untilSignal } from "./until-signal.ts";

export interface ViewOptions extends HostOverrides {
  readonly machine?: string;
  readonly on?: string;
  readonly port?: string;
}

/** `uvfio view`: until Ctrl-C, or until the served host ends. */
export async function viewCommand(
  file: string | undefined,
  { on, port: given, ...host }: ViewOptions,
): Promise<number> {
  const port = parsePort(given, "--port");
  if ((file === undefined) === (on === undefined))
    throw new UsageError("view takes a trace, or --on SOCKET; uvfio run --view -- PROGRAM shows a run");
  if (on !== undefined) {
    const remote = new RemoteView(on);
    try {
      await show(remote.hub, port, remote.whenEnded);
    } finally {
      remote.close();
    }
    return 0;
  }
  const trace = await tracePicture(file!, host);
  const { name, kernel } = trace.host;
  if (trace.cut !== undefined) complain(trace.cut);
  const hello = { mode: "trace", host: name, kernel, title: inputName(file!) } as const;
  await show(new ViewHub({ hello, state: trace.state, trace }), port);
  return 0;
}

async function show(hub: ViewHub, port: number, ended?: Promise<unknown>): Promise<void> {
  const page = await ViewPage.open(hub, port);
  try {
    printLine(page.url);
    await untilSignal(ended);
  } finally {
    await page.close();
  }
}
