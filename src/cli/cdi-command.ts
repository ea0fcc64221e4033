import { controlService } from "../library/serve/ask-service.ts";
import { printLine } from "./output.ts";
import { defaultSocket } from "./serve-socket.ts";

export interface CdiOptions {
  readonly on?: string;
}

/** `uvfio cdi`: a CDI specification of a served host. */
export function cdiCommand({ on = defaultSocket() }: CdiOptions): number {
  const [spec = "{}"] = controlService(on, ["cdi"]);
  printLine(JSON.stringify(JSON.parse(spec), undefined, 2));
  return 0;
}
