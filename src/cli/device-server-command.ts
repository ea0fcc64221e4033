import { printable } from "../kernel/printable.ts";
import { serveDevice } from "../library/device-server.ts";
import type { HostOverrides } from "../machine/load-host.ts";
import { putInOrderAfter } from "./ended-by-signal.ts";
import { complain } from "./output.ts";

export interface DeviceServerCommandOptions extends HostOverrides {
  readonly machine?: string;
  readonly socket: string;
  readonly quiet?: boolean;
}

/** Failures of requests that are said; a client may go on failing. */
const SAID = 100;

/** `uvfio device-server`: serves until a signal ends it. */
export async function deviceServerCommand(device: string, options: DeviceServerCommandOptions): Promise<number> {
  const { machine, kernel, socket, quiet = false } = options;
  const known = new Set<string>();
  const served = await serveDevice({
    host: machine,
    kernel,
    device,
    socket,
    ready: (what) => complain(`${what} is served at ${printable(socket)}`),
    failed: (command, errno, reason) => {
      const line = `client: ${command} = ${errno}: ${reason}`;
      if (quiet || known.size >= SAID || known.has(line)) return;
      known.add(line);
      complain(line);
    },
    said: (line) => complain(line),
  });
  await putInOrderAfter(
    () => served.ended,
    () => served.stop(),
  );
  return 0;
}
