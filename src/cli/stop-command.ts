import { stopService } from "../library/serve/ask-service.ts";
import { complain } from "./output.ts";
import { defaultSocket } from "./serve-socket.ts";

export interface StopOptions {
  readonly socket?: string;
  readonly on?: string;
}

/** `uvfio stop`: returns when the server has ended. */
export function stopCommand({ socket, on }: StopOptions): number {
  for (const guest of stopService(socket ?? on ?? defaultSocket())) complain(`was still on this host: ${guest}`);
  return 0;
}
