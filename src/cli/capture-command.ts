import { nodeFeatures, resourceSlices } from "../library/capture/kubernetes.ts";
import { capture, type CaptureOptions as Wanted } from "../library/capture.ts";
import type { Captured } from "../machine/capture/capture.ts";
import { toJson } from "../machine/write-host-json.ts";
import { UsageError } from "./errors.ts";
import { complain, openOutput, outputName, STDOUT, writeAll } from "./output.ts";

export interface CaptureOptions extends Wanted {
  readonly output?: string;
  readonly json?: boolean;
  readonly format?: string;
}

/** What a captured host can be written as. */
const FORMATS: Readonly<Record<string, (captured: Captured) => string>> = {
  yaml: ({ yaml }) => yaml,
  json: ({ host }) => `${toJson(host)}\n`,
  dra: ({ host }) =>
    resourceSlices(host)
      .map((slice) => `${JSON.stringify(slice, null, 2)}\n`)
      .join(""),
  nfd: ({ host }) => `${nodeFeatures(host).join("\n")}\n`,
};

/** `uvfio capture`: a host file on stdout or in a file; what is missing goes to stderr as well, a line each. */
export async function captureCommand(options: CaptureOptions): Promise<number> {
  const { output = STDOUT, json = false, format = json ? "json" : "yaml", ...wanted } = options;
  if (!Object.hasOwn(FORMATS, format))
    throw new UsageError(`--format: "${format}" is none of ${Object.keys(FORMATS).join(", ")}`);
  if (wanted.from !== undefined && wanted.root !== undefined)
    throw new UsageError("capture: --from and --root both say where the host's files are; give one");
  const captured = capture(wanted);
  const file = openOutput(output, "-o");
  try {
    writeAll(file.fd, Buffer.from(FORMATS[format]!(captured)), outputName(file.name));
  } finally {
    file.close();
  }
  for (const line of captured.missing) complain(`missing: ${line}`);
  return 0;
}
