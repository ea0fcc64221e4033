import { PROTOCOL, ServeSocket } from "../../interpose/index.ts";

/** A command may wait for programs. */
const FOR_EVER = -1;

/**
 * Ends a `uvfio serve`, and waits until it has ended.
 * @returns who was on its host still, a line each
 * @throws InterposerError
 */
export function stopService(path: string): readonly string[] {
  const socket = new ServeSocket(path);
  try {
    const guests = socket.ask({ uvfio: PROTOCOL, do: "stop" }, "done", () => {});
    while (socket.receive(true) !== undefined);
    return guests;
  } finally {
    socket.close();
  }
}

/**
 * Has a served host do something.
 * @returns what it says, a line each
 * @throws InterposerError
 */
export function controlService(path: string, words: readonly string[]): readonly string[] {
  const socket = new ServeSocket(path, FOR_EVER);
  try {
    return socket.ask({ uvfio: PROTOCOL, do: "control", words }, "done", () => {});
  } finally {
    socket.close();
  }
}
