import { join } from "node:path";

/** Where `uvfio serve` listens, and the commands about it look, when no socket is named. */
export function defaultSocket(): string {
  const { XDG_RUNTIME_DIR: own } = process.env;
  if (process.geteuid?.() === 0) return "/run/uvfio.sock";
  return own?.startsWith("/") ? join(own, "uvfio.sock") : join("/tmp", `uvfio-${process.geteuid?.()}.sock`);
}
