import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Tests that start uvfio as a program use dist/: make it what the sources say, once before all tests. */
export default function build(): void {
  // a test may run some of the tests again as a program under uvfio
  if (process.env.UVFIO_TRANSPORT) return;
  const script = fileURLToPath(new URL("../scripts/build.mjs", import.meta.url));
  execFileSync(process.execPath, [script, "--if-changed"], { stdio: "inherit" });
}
