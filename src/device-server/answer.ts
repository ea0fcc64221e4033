import { fail } from "../kernel/errors.ts";
import { StructView } from "../uapi/struct-view.ts";
import { commandName } from "../vfio-user/commands.ts";
import type { Message } from "../vfio-user/message.ts";

/** What an answer consists of. */
export interface Answer {
  readonly parts?: readonly Uint8Array[];
  /** The server's own. */
  readonly descriptors?: readonly number[];
}

/** The body of a message; EINVAL for one of fewer bytes. */
export function needBody(message: Message, size: number): StructView {
  if (message.body.length < size)
    fail(
      "EINVAL",
      `${commandName(message.command)} has ${message.body.length} bytes behind its header, at least ${size} are needed`,
    );
  return new StructView(message.body, true);
}
