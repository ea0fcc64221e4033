import fs from "node:fs";
import type { Served } from "../../src/interpose/index.ts";
import { REQUEST, TinyKernel } from "./tiny-kernel.ts";

export interface TinyHostOptions {
  /** What the observer hears goes to this file, as lines of JSON. */
  readonly log?: string;
  /** The host breaks when the model does. */
  readonly fragile?: boolean;
  /** The observer wants the program's name with every call. */
  readonly namesAll?: boolean;
}

export function tinyHost({ log, fragile = false, namesAll = false }: TinyHostOptions): Served {
  const kernel = new TinyKernel();
  if (log === undefined) return { kernel };
  const line = (value: unknown) => fs.appendFileSync(log, `${JSON.stringify(value)}\n`);
  return {
    kernel,
    observer: {
      namesAll,
      finished: (call) => {
        if (call.request === REQUEST.length) throw new Error("the observer broke");
        line({ ...call, error: call.error?.message });
      },
      noticed: (message) => line({ noticed: message }),
      broken: (message) => {
        if (fragile) throw new Error("the host broke");
        line({ broken: message });
      },
    },
  };
}
