import fs from "node:fs";
import { HOST_CALLS } from "../host-calls.ts";
import { InterposerError } from "../interposer-error.ts";
import { AT_FDCWD, CLONE_NEWNS, CLONE_NEWUSER, MS_REC, MS_SLAVE, O_WRONLY } from "../linux.ts";
import { hasFilter } from "../process-facts.ts";
import type { CallList } from "./call-list.ts";

const DOCKER = "docker run --cap-add SYS_ADMIN --cap-add SYS_PTRACE --security-opt apparmor=unconfined";

/**
 * A mount namespace of its own: what is mounted from here on only the program and its children see, while mounts that
 * the host makes later still come in. For a process that may not mount, in a user namespace of its own, where its user
 * keeps the number. See user_namespaces(7).
 */
export function namespaceCalls(list: CallList, userNamespace: boolean): void {
  if (userNamespace) {
    const refused = (errno: string) => new InterposerError(...withoutNamespace(errno));
    list.call(HOST_CALLS.unshare, [CLONE_NEWUSER | CLONE_NEWNS], refused);
    const identity = (id: number) => `${id} ${id} 1\n`;
    writeOwn(list, "setgroups", "deny", refused);
    writeOwn(list, "uid_map", identity(process.geteuid!()), refused);
    writeOwn(list, "gid_map", identity(process.getegid!()), refused);
  } else list.call(HOST_CALLS.unshare, [CLONE_NEWNS], withoutMounts);
  list.call(HOST_CALLS.mount, ["none", "/", 0, MS_REC | MS_SLAVE, 0], withoutMounts);
}

function writeOwn(list: CallList, name: string, text: string, refused: (errno: string) => Error): void {
  const fd = list.call(HOST_CALLS.openat, [AT_FDCWD, `/proc/self/${name}`, O_WRONLY, 0], refused);
  list.call(HOST_CALLS.write, [fd, text, text.length], refused);
  list.call(HOST_CALLS.close, [fd]);
}

function withoutMounts(errno: string): InterposerError {
  return new InterposerError(
    "not-permitted",
    `a mount namespace is refused (${errno}): in a container allow it, with ${DOCKER}`,
  );
}

/** What to do where user namespaces do not work. */
function withoutNamespace(errno: string): ["not-permitted" | "no-user-namespace", string] {
  if (process.getuid?.() === 0)
    return [
      "not-permitted",
      `root has no CAP_SYS_ADMIN here and gets no user namespace (${errno}): in a container allow it, with ${DOCKER}`,
    ];
  const needed = `without root, uvfio needs unprivileged user namespaces, and is refused one (${errno})`;
  const blocked = setting("kernel/apparmor_restrict_unprivileged_userns") === "1";
  if (blocked)
    return ["no-user-namespace", `${needed}; sysctl kernel.apparmor_restrict_unprivileged_userns=0 allows them`];
  if (setting("kernel/unprivileged_userns_clone") === "0")
    return ["no-user-namespace", `${needed}; sysctl kernel.unprivileged_userns_clone=1 allows them`];
  if (setting("user/max_user_namespaces") === "0")
    return ["no-user-namespace", `${needed}; sysctl user.max_user_namespaces is 0`];
  const inContainer = hasFilter() ? `: in a container allow them, with ${DOCKER}` : "";
  return ["no-user-namespace", `${needed}${inContainer}`];
}

function setting(name: string): string | undefined {
  try {
    return fs.readFileSync(`/proc/sys/${name}`, "utf8").trim();
  } catch {
    return undefined;
  }
}
