import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { capture } from "../machine/capture/capture.ts";
import { parseHost } from "../machine/parse-host.ts";
import { toJson } from "../machine/write-host-json.ts";
import { UsageError } from "./errors.ts";

export interface CaptureOptions {
  readonly output?: string;
  readonly root?: string;
  readonly name?: string;
  readonly configSpace?: boolean;
  readonly json?: boolean;
}

/** `uvfio capture`: a host file on stdout or in a file; what is missing goes to stderr as well, a line each. */
export async function captureCommand(options: CaptureOptions): Promise<number> {
  const { output, root = "/", name, configSpace, json = false } = options;
  const { yaml, missing } = capture({
    root: resolve(root),
    name: name ?? "captured",
    configSpace: configSpace ?? false,
  });
  // whatever the tree held, what is handed out can be read again
  const host = parseHost(yaml, output ?? "the captured host");
  const text = json ? `${toJson(host)}\n` : yaml;
  if (output === undefined) process.stdout.write(text);
  else write(output, text);
  for (const line of missing) process.stderr.write(`uvfio: missing: ${line}\n`);
  return 0;
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new UsageError(`${file}: cannot be written (${(error as NodeJS.ErrnoException).code ?? error})`);
  }
}
