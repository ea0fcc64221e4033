import { UsageError } from "./errors.ts";

/**
 * A TCP port as a person gives it; 0, for any, when it is left out.
 * @param option what it was given with, for the message
 * @throws UsageError
 */
export function parsePort(text: string | undefined, option: string): number {
  if (text === undefined) return 0;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : -1;
  if (port < 0 || port > 65535) throw new UsageError(`${option}=${text}: give a port, 0 to 65535`);
  return port;
}
