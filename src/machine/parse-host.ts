import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import { checkHost } from "./check-host.ts";
import { completeHost } from "./complete-host.ts";
import type { HostDescription } from "./host-description.ts";
import { describeIssue, hostSchema } from "./host-schema.ts";
import { type Problem, YamlSource } from "./yaml-source.ts";

/**
 * Reads a host file or a recording's host.json (JSON is YAML).
 * @param file its name, for messages
 * @param kinds of devices that it may name
 * Throws HostDescriptionError with one line: file, line, field and what is wrong.
 */
export function parseHost(text: string, file: string, kinds: DeviceKinds = DEVICE_KINDS): HostDescription {
  const source = new YamlSource(text, file);
  const values = source.values();
  if (typeof values !== "object" || values === null || Array.isArray(values))
    throw source.error([
      { path: [], message: "not a host description: it must be a mapping that begins like name: myhost" },
    ]);
  const result = hostSchema("machine" in values, kinds).safeParse(values, { error: describeIssue });
  if (!result.success) throw source.error(result.error.issues.flatMap(problemsOf));
  const problems = checkHost(result.data, kinds);
  if (problems.length > 0) throw source.error(problems);
  return completeHost(result.data, kinds);
}

interface Issue {
  readonly code?: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
}

function problemsOf(issue: Issue): Problem[] {
  const path = issue.path as Problem["path"];
  if (issue.code !== "unrecognized_keys")
    return [{ path, message: issue.message, ...(issue.message === "missing" && { missing: true }) }];
  const messages = issue.message.split("\n");
  return issue.keys!.map((key, index) => ({ path, key, message: messages[index]! }));
}
