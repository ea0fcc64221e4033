import { CALL_RULES, type Comparison, type Rule } from "./oci-rules.ts";

/** An entry of a seccomp profile: the OCI runtime specification's, with what engines add to it. */
export interface ProfileEntry {
  readonly names: readonly string[];
  readonly action: string;
  readonly args?: readonly Comparison[] | null;
  /** includes, excludes, comment, errnoRet: kept as they are. */
  readonly [key: string]: unknown;
}

/** A seccomp profile (linux.seccomp of the OCI runtime specification; docker's and podman's files are a superset). */
export interface Profile {
  readonly defaultAction: string;
  readonly syscalls?: readonly ProfileEntry[];
  readonly listenerPath?: string;
  readonly [key: string]: unknown;
}

const ALLOW = "SCMP_ACT_ALLOW";
const NOTIFY = "SCMP_ACT_NOTIFY";
/** What a profile of our own has the kernel look for: 32-bit programs make some calls in another form. */
const ARCHITECTURES = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"];

const WAIT_KILLABLE = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";

export interface ProfileOptions {
  /** The socket of who serves. */
  readonly listenerPath: string;
  /** Signals do not take a program out of a call that is being handled. Runtimes must know it: runc 1.1 does not. */
  readonly waitKillable?: boolean;
  /** Merged with that: calls that it allows are handed over, what it refuses stays refused. */
  readonly base?: Profile | undefined;
}

/** The profile that hands VFIO's calls over to who listens at a socket. */
export function ociProfile({ listenerPath, waitKillable = false, base }: ProfileOptions): Profile {
  const flags = [...((base?.flags as readonly string[] | undefined) ?? []), ...(waitKillable ? [WAIT_KILLABLE] : [])];
  const listener = { listenerPath, listenerMetadata: "uvfio", ...(flags.length > 0 && { flags }) };
  if (base === undefined) {
    const syscalls = CALL_RULES.flatMap((rules) => ownEntries(rules.names, rules.rules, rules.further));
    return { defaultAction: ALLOW, architectures: ARCHITECTURES, ...listener, syscalls };
  }
  return { ...base, ...listener, syscalls: merged(base) };
}

/** Entries for what is handed over, beside a default that allows everything. */
function ownEntries(
  names: readonly string[],
  rules: readonly Rule[],
  further: readonly (readonly Comparison[])[] = [],
): ProfileEntry[] {
  const handed = [...rules.filter(({ isOurs }) => isOurs).map(({ args }) => args), ...further];
  return handed.map((args) => entry({ names }, NOTIFY, args));
}

function merged({ defaultAction, syscalls = [] }: Profile): ProfileEntry[] {
  const result: ProfileEntry[] = [];
  const mentioned = new Set<string>();
  for (const each of syscalls) {
    for (const name of each.names) mentioned.add(name);
    if (each.action !== ALLOW || (each.args ?? []).length > 0) {
      result.push(each);
      continue;
    }
    const rest = each.names.filter((name) => rulesOf(name) === undefined);
    if (rest.length > 0) result.push({ ...each, names: rest });
    for (const { names, rules } of CALL_RULES) {
      const here = names.filter((name) => each.names.includes(name));
      if (here.length === 0) continue;
      for (const { isOurs, args } of rules) result.push(entry({ ...each, names: here }, isOurs ? NOTIFY : ALLOW, args));
    }
  }
  if (defaultAction !== ALLOW) return result;
  for (const { names, rules } of CALL_RULES) {
    const here = names.filter((name) => !mentioned.has(name));
    if (here.length > 0) result.push(...ownEntries(here, rules));
  }
  return result;
}

function entry(like: Omit<ProfileEntry, "action" | "args">, action: string, args: readonly Comparison[]): ProfileEntry {
  const { args: _, action: __, ...rest } = like as ProfileEntry;
  return { ...rest, action, ...(args.length > 0 && { args }) } as ProfileEntry;
}

function rulesOf(name: string) {
  return CALL_RULES.find(({ names }) => names.includes(name));
}
