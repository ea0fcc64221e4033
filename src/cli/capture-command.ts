import { capture, type CaptureOptions as Wanted } from "../library/capture.ts";
import { toJson } from "../machine/write-host-json.ts";
import { complain, openOutput, outputName, STDOUT, writeAll } from "./output.ts";

export interface CaptureOptions extends Wanted {
  readonly output?: string;
  readonly json?: boolean;
}

/** `uvfio capture`: a host file on stdout or in a file; what is missing goes to stderr as well, a line each. */
export async function captureCommand(options: CaptureOptions): Promise<number> {
  const { output = STDOUT, json = false, ...wanted } = options;
  const { host, yaml, missing } = capture(wanted);
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
