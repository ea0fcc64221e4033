import { resolve } from "node:path";
import { capture } from "../machine/capture/capture.ts";
import { parseHost } from "../machine/parse-host.ts";
import { toJson } from "../machine/write-host-json.ts";
import { complain, openOutput, outputName, STDOUT, writeAll } from "./output.ts";

export interface CaptureOptions {
  readonly output?: string;
  readonly root?: string;
  readonly name?: string;
  readonly configSpace?: boolean;
  readonly json?: boolean;
}

/** `uvfio capture`: a host file on stdout or in a file; what is missing goes to stderr as well, a line each. */
export async function captureCommand(options: CaptureOptions): Promise<number> {
  const { output = STDOUT, root = "/", name, configSpace, json = false } = options;
  const { yaml, missing } = capture({
    root: resolve(root),
    name: name ?? "captured",
    configSpace: configSpace ?? false,
  });
  // whatever the tree held, what is handed out can be read again
  const host = parseHost(yaml, "the captured host");
  const text = json ? `${toJson(host)}\n` : yaml;
  const file = openOutput(output, "-o");
  try {
    writeAll(file.fd, Buffer.from(text), outputName(file.name));
  } finally {
    file.close();
  }
  for (const line of missing) complain(`missing: ${line}`);
  return 0;
}
