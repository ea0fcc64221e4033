import fs from "node:fs";

/**
 * The processes below one, children before their own children. Those whose parent has ended belong to somebody else.
 */
export function descendants(pid: number): readonly number[] {
  const found: number[] = [];
  const look = (parent: number) => {
    for (const child of children(parent)) {
      if (found.includes(child)) continue;
      found.push(child);
      look(child);
    }
  };
  look(pid);
  return found;
}

/** Sends a signal to processes that may be gone already. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // it has ended, or is somebody else's by now
    }
  }
}

function children(pid: number): readonly number[] {
  try {
    return fs.readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
      const text = fs.readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").trim();
      return text === "" ? [] : text.split(" ").map(Number);
    });
  } catch {
    // it ended while we looked
    return [];
  }
}
