import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import { checkHost } from "./check-host.ts";
import { completeHost } from "./complete-host.ts";
import type { HostDescription } from "./host-description.ts";
import { HostDescriptionError } from "./host-description-error.ts";
import { type Problem, readField } from "./host-fields.ts";
import { hostSchema } from "./host-schema.ts";
import { readPlainYaml } from "./plain-yaml.ts";
import { refuseMasses } from "./refuse-masses.ts";
import { pathText, YamlSource } from "./yaml-source.ts";

/**
 * Reads a host file or a recording's host.json (JSON is YAML).
 * @param file its name, for messages
 * @param kinds of devices that it may name
 * Throws HostDescriptionError with one line: file, line, field and what is wrong.
 */
export function parseHost(text: string, file: string, kinds: DeviceKinds = DEVICE_KINDS): HostDescription {
  refuseMasses(text, file);
  // The reader that knows the lines is needed for what it alone can read, and for what is wrong.
  let source: YamlSource | undefined;
  const all = () => {
    source ??= new YamlSource(text, file);
    return source;
  };
  const values = readPlainYaml(text) ?? all().values();
  return readHost(values, { error: (problems) => all().error(problems) }, kinds);
}

/**
 * Reads a host that is written in code: the content of a host file as plain values.
 * Throws HostDescriptionError, a line for each problem: the field and what is wrong.
 */
export function parseHostValues(values: object, kinds: DeviceKinds = DEVICE_KINDS): HostDescription {
  return readHost(asInFile(values), { error: inCode }, kinds);
}

/** Where values come from: makes an error of what is wrong with them. */
interface Source {
  error(problems: readonly Problem[]): HostDescriptionError;
}

function inCode(problems: readonly Problem[]): HostDescriptionError {
  return new HostDescriptionError(
    problems.map(({ path, key, message }) => {
      const field = pathText(key === undefined ? path : [...path, key]);
      return `host in code: ${field === "" ? "" : `${field}: `}${message}`;
    }),
  );
}

/**
 * Values of a program as YAML has them: whole numbers are bigints, bytes hex digits, and what is undefined is not
 * there.
 */
function asInFile(value: unknown): unknown {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(asInFile);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, each]) => (each === undefined ? [] : [[key, asInFile(each)]])),
  );
}

function readHost(values: unknown, source: Source, kinds: DeviceKinds): HostDescription {
  if (typeof values !== "object" || values === null || Array.isArray(values))
    throw source.error([
      { path: [], message: "not a host description: it must be a mapping that begins like name: myhost" },
    ]);
  const file = readField(hostSchema("machine" in values, kinds), values);
  if ("problems" in file) throw source.error(file.problems);
  const problems = checkHost(file.value, kinds);
  if (problems.length > 0) throw source.error(problems);
  return completeHost(file.value, kinds);
}
