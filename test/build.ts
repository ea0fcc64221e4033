import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Tests that start uvfio as a program use dist/: make it what the sources say, once before all tests. */
export default function build(): void {
  // a test may run some of the tests again as a program under uvfio
  if (process.env.UVFIO_TRANSPORT) return;
  const root = fileURLToPath(new URL("..", import.meta.url));
  const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: root, stdio: "inherit" });
  node("node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json");
  node("scripts/join-modules.mjs");
}
