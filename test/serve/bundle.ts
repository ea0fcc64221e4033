import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Running } from "../interpose/build.ts";
import type { Services } from "./service.ts";

const isRoot = process.getuid?.() === 0;
export const hasRunc = isRoot && spawnSync("runc", ["--version"]).status === 0;
export const hasCrun = isRoot && spawnSync("crun", ["--version"]).status === 0;

/**
 * How a runtime is called. crun is told to make no cgroups, and still refuses machines with both versions of them: it
 * does not see the newer.
 */
const RUNTIMES = {
  runc: ["runc"],
  crun: [
    ...["unshare", "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified 2> /dev/null; exec crun "$@"', "crun"],
    "--cgroup-manager=disabled",
  ],
} as const;

/** What uvfio cdi prints, as far as it is used here. */
export interface Cdi {
  readonly containerEdits: Edits;
  readonly devices: readonly { readonly name: string; readonly containerEdits: Edits }[];
}

interface Edits {
  readonly deviceNodes?: readonly { path: string; type: string; major: number; minor: number; fileMode: number }[];
  readonly mounts?: readonly { hostPath: string; containerPath: string; options: readonly string[] }[];
}

let count = 0;

/**
 * Starts a container with a runtime, as an engine does that was told `--device uvfio.local/vfio=NAME...`. @param profile the
 * seccomp profile, as uvfio oci-profile prints it
 */
export function startContainer(
  services: Services,
  {
    program,
    args,
    profile,
    cdi,
    devices,
    runtime = "runc",
  }: {
    program: string;
    args: string[];
    profile: object;
    cdi: Cdi;
    devices: string[];
    runtime?: keyof typeof RUNTIMES;
  },
): { readonly running: Running; readonly id: string } {
  const id = `uvfio-serve-${process.pid}-${count++}`;
  const bundle = services.path(id);
  mkdirSync(join(bundle, "rootfs"), { recursive: true });
  copyFileSync(program, join(bundle, "rootfs/program"));
  chmodSync(join(bundle, "rootfs/program"), 0o755);
  const edits = [
    cdi.containerEdits,
    ...cdi.devices.filter(({ name }) => devices.includes(name)).map(({ containerEdits }) => containerEdits),
  ];
  const nodes = edits.flatMap(({ deviceNodes = [] }) => deviceNodes);
  const capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
  const config = {
    ociVersion: "1.0.2",
    process: {
      user: { uid: 0, gid: 0 },
      args: ["/program", ...args],
      cwd: "/",
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    },
    root: { path: "rootfs" },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs" },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] },
      ...edits
        .flatMap(({ mounts = [] }) => mounts)
        .map(({ hostPath, containerPath, options }) => ({
          destination: containerPath,
          source: hostPath,
          options,
          type: "bind",
        })),
    ],
    linux: {
      namespaces: ["pid", "ipc", "uts", "mount", "network"].map((type) => ({ type })),
      devices: nodes.map(({ path, type, major, minor, fileMode }) => ({
        path,
        type,
        major,
        minor,
        fileMode,
        uid: 0,
        gid: 0,
      })),
      // limits are cgroups', of which crun is told to use none
      ...(runtime === "runc" && {
        resources: {
          devices: [
            { allow: false, access: "rwm" },
            ...nodes.map(({ type, major, minor }) => ({ allow: true, type, major, minor, access: "rw" })),
          ],
        },
      }),
      seccomp: profile,
    },
  };
  writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
  const command = [...RUNTIMES[runtime], "--root", services.path(runtime)] as const;
  const running = services.start([...command, "run", "-b", bundle, id], true);
  services.atEnd(() => spawnSync(command[0], [...command.slice(1), "delete", "-f", id]));
  return { running, id };
}
