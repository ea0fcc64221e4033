import fs from "node:fs";
import { serveProgram } from "../../src/interpose/serve-program.ts";
import { REQUEST, TinyKernel } from "./tiny-kernel.ts";

/** The serving thread of the tests: writes what the observer hears as lines of JSON to a file. */
await serveProgram<{ log?: string; broken?: string; fragile?: boolean }>((data) => {
  if (data.broken !== undefined) throw new Error(data.broken);
  const kernel = new TinyKernel();
  if (data.log === undefined) return { kernel };
  const line = (value: unknown) => fs.appendFileSync(data.log!, `${JSON.stringify(value)}\n`);
  return {
    kernel,
    observer: {
      finished: (call) => {
        if (call.request === REQUEST.length) throw new Error("the observer broke");
        line({ ...call, error: call.error?.message });
      },
      broken: (message) => {
        if (data.fragile) throw new Error("the serving thread broke");
        line({ broken: message });
      },
    },
  };
});
