/** What an OCI runtime says of a container whose seccomp listener it hands over. */
export interface ContainerState {
  /** Its first process, in the runtime's numbers. */
  readonly pid: number;
  readonly id: string;
}

/**
 * Reads the "container process state" of the OCI runtime specification (config-linux.md, seccomp). Undefined for
 * anything else.
 */
export function containerState(text: string): ContainerState | undefined {
  try {
    const { ociVersion, fds, pid, state } = JSON.parse(text) as Record<string, unknown>;
    const { id } = state as Record<string, unknown>;
    if (typeof ociVersion !== "string" || !Array.isArray(fds) || fds[0] !== "seccompFd") return undefined;
    if (!Number.isSafeInteger(pid) || typeof id !== "string") return undefined;
    return { pid: pid as number, id };
  } catch {
    return undefined;
  }
}
