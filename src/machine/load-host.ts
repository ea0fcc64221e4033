import { readFileSync } from "node:fs";
import { refuseRelease, releaseFrom } from "../kernel/releases.ts";
import { bytesOfText } from "../uapi/byte-text.ts";
import { API_PROFILES, type ApiProfile, type HostDescription } from "./host-description.ts";
import { HostDescriptionError } from "./host-description-error.ts";
import { DEFAULT_HOST, HOSTS_TO_COME, READY_MADE_HOSTS, readyMadeHost } from "./ready-made-hosts.ts";

/** What a command line may change about a host. */
export interface HostOverrides {
  /** Release as `major.minor`. */
  readonly kernel?: string | undefined;
  readonly api?: string | undefined;
}

/**
 * The host that a person means: a ready-made name, or else the path of a host file or of a recording's host.json. A ready-made
 * name wins over a file of the same name (write ./intel for the file).
 * Throws HostDescriptionError: no such host, a file that cannot be read or is wrong, an override that makes no sense.
 */
export async function loadHost(
  nameOrPath: string = DEFAULT_HOST,
  overrides: HostOverrides = {},
): Promise<HostDescription> {
  return override(readyMadeHost(nameOrPath) ?? (await readHostFile(nameOrPath)), overrides);
}

async function readHostFile(path: string): Promise<HostDescription> {
  let text: string;
  try {
    text = readFileSync(bytesOfText(path), "utf8");
  } catch (error) {
    throw notReadable(path, error as NodeJS.ErrnoException);
  }
  // Not at start-up: the YAML reader and the validator take longer to load than all the rest.
  const { parseHost } = await import("./parse-host.ts");
  return parseHost(text, path);
}

function notReadable(path: string, error: NodeJS.ErrnoException): HostDescriptionError {
  const names = READY_MADE_HOSTS.map((host) => host.name).join(", ");
  const hint = `ready-made hosts: ${names}; or give a YAML file (or a recording's host.json)`;
  if (HOSTS_TO_COME.includes(path)) return new HostDescriptionError(`host "${path}" is not available yet; ${hint}`);
  if (error.code === "ENOENT" || error.code === "ENOTDIR")
    return new HostDescriptionError(
      /[/.]/.test(path) ? `${path}: no such file; ${hint}` : `unknown host "${path}"; ${hint}`,
    );
  return new HostDescriptionError(`${path}: cannot be read (${error.code ?? error.message})`, { cause: error });
}

function override(host: HostDescription, { kernel, api }: HostOverrides): HostDescription {
  const refusal = kernel === undefined ? undefined : refuseRelease(kernel);
  if (refusal !== undefined) throw new HostDescriptionError(`--kernel: "${kernel}" is ${refusal}`);
  if (api !== undefined && !isApiProfile(api))
    throw new HostDescriptionError(`--api: no such profile: "${api}" (there are: ${API_PROFILES.join(", ")})`);
  return { ...host, ...(kernel !== undefined && { kernel: releaseFrom(kernel)! }), ...(api !== undefined && { api }) };
}

function isApiProfile(name: string): name is ApiProfile {
  return (API_PROFILES as readonly string[]).includes(name);
}
