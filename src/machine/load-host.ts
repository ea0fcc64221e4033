import { KindFileError, loadKind } from "../devices/file-kinds.ts";
import type { NewDeviceKind } from "../devices/kind.ts";
import { kindsWith } from "../devices/kinds.ts";
import { isLittleEndian } from "../kernel/arch.ts";
import { didYouMean } from "../kernel/nearest.ts";
import { Release, refuseRelease, releaseFrom } from "../kernel/releases.ts";
import { fileBeside, withFilesBeside } from "./files-beside.ts";
import type { HostDefinition } from "./host-definition.ts";
import { API_PROFILES, type ApiProfile, type GroupDescription, type HostDescription } from "./host-description.ts";
import { HostDescriptionError } from "./host-description-error.ts";
import { InputFileError, inputName, readInput } from "./input-file.ts";
import { refuseApi, refuseKernel } from "./kernel-fits.ts";
import { DEFAULT_HOST, READY_MADE_NAMES, readyMadeHost } from "./ready-made-hosts.ts";

/** What a command line may change about a host. */
export interface HostOverrides {
  /** Release as `major.minor`. */
  readonly kernel?: string | undefined;
  /** Meaning of request numbers: mainline, vsva-v1, vsva-v7 or rfc-2017. */
  readonly api?: string | undefined;
}

/** What a program may add to what a host file can say. */
export interface LoadOptions extends HostOverrides {
  /**
   * Further kinds of devices, by the names that `model` of a device calls them. The host takes the same
   * (HostOptions.models).
   */
  readonly models?: Readonly<Record<string, NewDeviceKind>>;
}

/**
 * What names or describes a host: a ready-made name ("amd"), the path of a host file, the text of one (of several
 * lines), a host in code, or one that was loaded already.
 */
export type HostSource = string | HostDefinition | HostDescription;

/**
 * The host that a person means: a ready-made name, or else the path of a host file or of a recording's host.json, "-"
 * for stdin. A ready-made name wins over a file of the same name (write ./intel for the file). Text of several lines is
 * a host file's, and an object is a host in code, as defineHost() takes it. Throws HostDescriptionError: no such host,
 * a file that cannot be read or is wrong, an override that makes no sense.
 */
export async function loadHost(source: HostSource = DEFAULT_HOST, options: LoadOptions = {}): Promise<HostDescription> {
  return override(await describe(source, options), options);
}

async function describe(source: HostSource, options: LoadOptions): Promise<HostDescription> {
  if (typeof source === "string") return readyMadeHost(source) ?? (await readHostFile(source, options));
  if ("vfioContainer" in source) return source;
  // Not at start-up, as the reader of files.
  const { defineHost } = await import("./define-host.ts");
  return defineHost(source, options);
}

/** A model that a host file names by the path of its module, as it is written there. */
const MODULE = /\bmodel["']?\s*:\s*["']?((?:\.{0,2}\/)[^\s"',{}]+\.[cm]?[jt]s)["']?/g;

/** The kinds of devices that are modules of somebody's, by the names that the file gives them. */
async function loadModels(path: string, file: string, text: string): Promise<ReadonlyMap<string, NewDeviceKind>> {
  const names = new Set([...text.matchAll(MODULE)].map(([, name]) => name!));
  const kinds = new Map<string, NewDeviceKind>();
  for (const name of names) {
    try {
      kinds.set(name, await loadKind(fileBeside(path, name)));
    } catch (error) {
      if (!(error instanceof KindFileError)) throw error;
      const line = text.slice(0, text.indexOf(name)).split("\n").length;
      throw new HostDescriptionError(`${file}:${line}: model ${name}: ${error.message}`, { cause: error });
    }
  }
  return kinds;
}

/** Bytes of a host file: thousand devices with all of their config space. */
const HOST_FILE_MAX = 8 << 20;

async function readHostFile(path: string, options: LoadOptions): Promise<HostDescription> {
  // text has no folder: what it names is seen from where the program runs
  if (path.includes("\n")) return parseHostFile(path, "-", "the host's text", options);
  return parseHostFile(readHostText(path), path, inputName(path), options);
}

/** The text of a host file. @throws HostDescriptionError */
export function readHostText(path: string): string {
  return attempt(path);
}

/**
 * The host of a host file whose text was read already.
 * @throws HostDescriptionError
 */
export async function loadHostText(text: string, path: string, options: LoadOptions = {}): Promise<HostDescription> {
  return override(await parseHostFile(text, path, inputName(path), options), options);
}

/** @param place whose folder the files are seen from that the text names */
async function parseHostFile(
  text: string,
  place: string,
  name: string,
  { models }: LoadOptions,
): Promise<HostDescription> {
  // Not at start-up: only a host file needs them.
  const { parseHost } = await import("./parse-host.ts");
  const files = await loadModels(place, name, text);
  const kinds = kindsWith(files.size > 0 ? { ...Object.fromEntries(files), ...models } : models);
  return withFilesBeside(place, parseHost(text, name, kinds), kinds);
}

function attempt(path: string): string {
  try {
    return readInput(path, HOST_FILE_MAX);
  } catch (error) {
    throw error instanceof InputFileError ? notReadable(path, error) : error;
  }
}

function notReadable(path: string, error: InputFileError): HostDescriptionError {
  const hint = `ready-made hosts: ${READY_MADE_NAMES.join(", ")}; or give a YAML file (or a recording's host.json)`;
  if (error.code === "ENOENT" || error.code === "ENOTDIR") {
    const meant = didYouMean(path, READY_MADE_NAMES);
    return new HostDescriptionError(
      /[/.]/.test(path) ? `${path}: no such file${meant}; ${hint}` : `unknown host "${path}"${meant}; ${hint}`,
    );
  }
  return new HostDescriptionError(`${inputName(path)}: ${error.message}`, { cause: error });
}

function override(host: HostDescription, { kernel, api }: HostOverrides): HostDescription {
  const refusal = kernel === undefined ? undefined : refuseRelease(kernel);
  if (refusal !== undefined) throw new HostDescriptionError(`--kernel: "${kernel}" is ${refusal}`);
  if (api !== undefined && !isApiProfile(api))
    throw new HostDescriptionError(
      `--api: no such profile: "${api}"${didYouMean(api, API_PROFILES)} (there are: ${API_PROFILES.join(", ")})`,
    );
  if (api !== undefined && api !== "mainline" && !isLittleEndian(host.arch))
    throw new HostDescriptionError(
      `--api: ${api} was proposed for little-endian machines; ${host.name} is ${host.arch}`,
    );
  const cannot = refuseApi(api, host.iommu.model, host.iommu.nesting ?? false);
  if (cannot !== undefined) throw new HostDescriptionError(`--api: ${cannot}`);
  if (kernel === undefined) return { ...host, ...(api !== undefined && { api }) };
  const release = releaseFrom(kernel)!;
  const { iommu, vfioContainer: container } = host;
  const needs = { kernel: release, model: iommu.model, api: api ?? host.api, container, hasMediatedDevices: false };
  const problem = refuseKernel(needs);
  if (problem !== undefined) throw new HostDescriptionError(`--kernel: ${problem}`);
  // ready-made hosts have some for who wants them: on an older kernel there are none
  const groups = new Release(release).has("mediatedDevices") ? host.groups : host.groups.flatMap(withoutMediated);
  return { ...host, kernel: release, groups, ...(api !== undefined && { api }) };
}

function withoutMediated(group: GroupDescription): GroupDescription[] {
  const devices = group.devices.filter(({ bus }) => bus !== "mdev");
  return devices.length === 0 && group.devices.length > 0 ? [] : [{ ...group, devices }];
}

function isApiProfile(name: string): name is ApiProfile {
  return (API_PROFILES as readonly string[]).includes(name);
}
