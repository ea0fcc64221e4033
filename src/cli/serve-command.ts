import { HostService } from "../library/serve/host-service.ts";
import { type HostOverrides, loadHost } from "../machine/load-host.ts";
import { UsageError } from "./errors.ts";
import { complain, printLine } from "./output.ts";
import { defaultSocket } from "./serve-socket.ts";

export interface ServeOptions extends HostOverrides {
  readonly machine?: string;
  readonly socket?: string;
  readonly socketMode?: string;
  readonly sysfs?: string;
}

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** `uvfio serve`: until somebody ends it. */
export async function serveCommand(options: ServeOptions): Promise<number> {
  const { machine, socket = defaultSocket(), socketMode, sysfs, ...rest } = options;
  const mode = socketMode === undefined ? undefined : parseMode(socketMode);
  const description = await loadHost(machine, rest);
  const service = new HostService(description, {
    socket,
    ...(mode !== undefined && { mode }),
    ...(machine !== undefined && { machine }),
    ...(sysfs !== undefined && { sysfs }),
    said: complain,
  });
  const stop = () => service.stop();
  for (const signal of SIGNALS) process.on(signal, stop);
  printLine(`serving ${description.name} on ${service.path}; uvfio run --on ${service.path} -- PROGRAM`);
  try {
    await service.serve();
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop);
  }
  return 0;
}

function parseMode(text: string): number {
  if (!/^[0-7]{3,4}$/.test(text))
    throw new UsageError(`--socket-mode ${text}: give permissions as chmod takes them, 0660`);
  return Number.parseInt(text, 8) & 0o777;
}
