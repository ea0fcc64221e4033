import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Scratch } from "./clean-copy.ts";
import type { Outcome } from "./commands.ts";

/** The default profile of podman; docker's is it less what docker keeps for capabilities. Debian: golang-github-containers-common. */
const PROFILE = "/usr/share/containers/seccomp.json";
/** What docker's default profile allows only with a capability, of what matters here (moby, profiles/seccomp/default.json). */
const DOCKER_KEEPS: Readonly<Record<string, readonly string[]>> = {
  CAP_SYS_ADMIN: [
    "clone3",
    "fsconfig",
    "fsmount",
    "fsopen",
    "mount",
    "move_mount",
    "open_tree",
    "setns",
    "umount",
    "umount2",
    "unshare",
  ],
  CAP_SYS_PTRACE: ["kcmp", "pidfd_getfd", "process_madvise"],
};
/** What docker 20.10 allows with CAP_SYS_PTRACE only, and later ones to everybody. */
const OLD_DOCKER_KEEPS: Readonly<Record<string, readonly string[]>> = {
  CAP_SYS_PTRACE: ["process_vm_readv", "process_vm_writev"],
};
/** The same for clone(): not with a flag that makes a namespace. */
const WITHOUT_NAMESPACES = { index: 0, value: 0x7e02_0000, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" };
const EPERM = 1;
const ENOSYS = 38;

const DEFAULT_CAPABILITIES =
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE";

export type Filter = "docker" | "docker 20.10" | "podman";

export interface ContainerOptions {
  /** Whose default filter it gets; left out, none. */
  readonly filter?: Filter;
  readonly user?: number;
  /** --cap-add */
  readonly add?: readonly string[];
  /** --cap-drop ALL */
  readonly dropAll?: boolean;
  /** allowPrivilegeEscalation: false */
  readonly noNewPrivileges?: boolean;
  readonly readOnly?: boolean;
}

interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly args?: readonly unknown[];
  readonly errnoRet?: number;
  readonly includes?: { readonly arches?: readonly string[]; readonly caps?: readonly string[] };
  readonly excludes?: { readonly arches?: readonly string[]; readonly caps?: readonly string[] };
}

export const canRunContainers =
  process.getuid?.() === 0 && existsSync(PROFILE) && spawnSync("runc", ["--version"]).status === 0;

/** Containers as docker and podman make them, by the runtime that both use; this machine's files are the image. */
export class Containers {
  readonly #scratch = new Scratch();
  readonly #root: string;
  #count = 0;

  constructor() {
    this.#root = this.#scratch.folder("bundle/rootfs");
    const [upper, work] = [this.#scratch.folder("upper"), this.#scratch.folder("work")];
    const options = `lowerdir=/,upperdir=${upper},workdir=${work}`;
    const { status, stderr } = spawnSync("mount", ["-t", "overlay", "overlay", "-o", options, this.#root]);
    if (status !== 0) throw new Error(String(stderr));
  }

  run(options: ContainerOptions, ...args: string[]): Outcome {
    const bundle = join(this.#root, "..");
    writeFileSync(join(bundle, "config.json"), JSON.stringify(configuration(options, args)));
    const name = `uvfio-test-${process.pid}-${this.#count++}`;
    const state = join(this.#scratch.path, "state");
    mkdirSync(state, { recursive: true });
    const { status, stdout, stderr } = spawnSync("runc", ["--root", state, "run", "-b", bundle, name], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
    return { status, stdout, stderr };
  }

  remove(): void {
    spawnSync("umount", [this.#root]);
    this.#scratch.remove();
  }
}

function configuration(options: ContainerOptions, args: readonly string[]): object {
  const { filter, user = 0, add = [], dropAll = false, noNewPrivileges = false, readOnly = false } = options;
  const capabilities = [...(dropAll ? [] : DEFAULT_CAPABILITIES.split(" ")), ...add].map((name) => `CAP_${name}`);
  const own = user === 0 ? capabilities : [];
  const mount = (destination: string, type: string, ...rest: string[]) => ({
    destination,
    type,
    source: type,
    options: ["nosuid", ...rest],
  });
  return {
    ociVersion: "1.0.2",
    process: {
      user: { uid: user, gid: user },
      args,
      env: [`PATH=${process.env.PATH}`, "HOME=/tmp"],
      cwd: "/tmp",
      capabilities: { bounding: capabilities, effective: own, permitted: own, inheritable: [] },
      noNewPrivileges,
    },
    root: { path: "rootfs", readonly: readOnly },
    mounts: [
      mount("/proc", "proc", "noexec", "nodev"),
      mount("/dev", "tmpfs", "mode=755", "size=65536k"),
      mount("/dev/shm", "tmpfs", "noexec", "nodev", "mode=1777", "size=65536k"),
      mount("/sys", "sysfs", "noexec", "nodev", "ro"),
    ],
    linux: {
      namespaces: ["pid", "ipc", "uts", "mount", "network"].map((type) => ({ type })),
      maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
      ...(filter && { seccomp: seccomp(filter, capabilities) }),
    },
  };
}

function seccomp(engine: Filter, capabilities: readonly string[]): object {
  const profile = JSON.parse(readFileSync(PROFILE, "utf8")) as { defaultAction: string; syscalls: Rule[] };
  const has = (capability: string) => capabilities.includes(capability);
  const here = (arches: readonly string[] | undefined) =>
    arches?.some((arch) => ["amd64", "x86", "x32"].includes(arch));
  const applies = ({ includes, excludes }: Rule) =>
    here(includes?.arches) !== false &&
    !here(excludes?.arches) &&
    !includes?.caps?.some((c) => !has(c)) &&
    !excludes?.caps?.some(has);
  const keeps = {
    podman: [],
    docker: [DOCKER_KEEPS],
    "docker 20.10": [DOCKER_KEEPS, OLD_DOCKER_KEEPS],
  }[engine].flatMap((each) => Object.entries(each));
  const kept = keeps.flatMap(([capability, names]) => (has(capability) ? [] : names));
  const noNamespaces = kept.includes("unshare");
  const isKept = (name: string, { args }: Rule) =>
    kept.includes(name) || (noNamespaces && name === "clone" && !args?.length);
  const syscalls: object[] = profile.syscalls.filter(applies).flatMap((rule) => {
    const names = rule.names.filter((name) => !isKept(name, rule));
    return names.length === 0 ? [] : [{ names, action: rule.action, args: rule.args ?? [], errnoRet: rule.errnoRet }];
  });
  if (noNamespaces) {
    syscalls.push({ names: ["clone"], action: "SCMP_ACT_ALLOW", args: [WITHOUT_NAMESPACES] });
    syscalls.push({ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: ENOSYS });
  }
  return {
    defaultAction: profile.defaultAction,
    defaultErrnoRet: engine === "podman" ? ENOSYS : EPERM,
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    syscalls,
  };
}
