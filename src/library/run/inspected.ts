import { Host, type HostOptions } from "../../host/host.ts";
import { parseFault } from "../../inspect/fault/fault-spec.ts";
import { FaultInjector } from "../../inspect/fault/injector.ts";
import { Sanitizer } from "../../inspect/sanitize/sanitizer.ts";
import { Recorder } from "../../inspect/trace/recorder.ts";
import { watchKernel } from "../../inspect/watch/watch-kernel.ts";
import { joinModelWatches, type Watcher } from "../../inspect/watch/watcher.ts";
import type { Observer, Served } from "../../interpose/index.ts";
import type { HostKernel } from "../../kernel/host-kernel.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { errnoName } from "../../uapi/errno.ts";
import type { FaultedDma, Inspection } from "./inspection.ts";

function faultWatch(faulted: (fault: FaultedDma) => void): NonNullable<Watcher["model"]> {
  return {
    dmaDone: (device, write, iova, length, fault) => {
      if (fault) faulted({ device, write, iova, length, at: fault.iova, reason: fault.reason });
    },
  };
}

/** Boots the host that is looked at, or gives a view of one that runs. */
export type Boot = (options: HostOptions) => HostKernel;

/**
 * The host of a run that is traced, has faults injected or is sanitized. Loaded for these only: other runs start
 * without it.
 */
export function inspectedHost(
  description: HostDescription,
  { trace, faults, sanitize, counters, found, faulted, looker, each = false }: Inspection,
  { say, warn }: { readonly say: (line: string) => void; readonly warn: (line: string) => void },
  observer: Observer,
  ended: () => void,
  boot: Boot = (options) => new Host(description, options),
): Served {
  const sink = trace?.sink;
  const encoding = description.arch === "ppc64le" ? "powerpc" : "plain";
  const recorder =
    sink && new Recorder({ pageSize: description.pageSize, encoding, write: (line) => sink.write(line) });
  if (trace) trace.sink.write(trace.head);
  const injector = faults.length > 0 ? new FaultInjector(faults.map((text) => parseFault(text))) : undefined;
  const sanitizer =
    sanitize || each ? new Sanitizer(sanitize ? say : undefined, sanitize ? (found ?? say) : undefined) : undefined;
  // the recorder sees what the injector does, the sanitizer only what reaches the model
  const watchers = [recorder, injector, sanitizer].filter(
    (watcher): watcher is NonNullable<typeof watcher> => watcher !== undefined,
  );
  const others = [...(looker ? [looker] : []), ...(faulted ? [{ model: faultWatch(faulted) }] : [])];
  const watch = joinModelWatches([...watchers, ...others]);
  const kernel = boot({
    ...(watch && { watch }),
    onWarning: (message) => {
      warn(message);
      recorder?.note(message);
      looker?.note(message);
    },
  });
  watchKernel(kernel, watchers, say);
  if (looker && kernel instanceof Host) {
    kernel.before = looker.before;
    looker.begin(kernel);
  }
  return {
    kernel,
    observer: {
      ...observer,
      namesAll: looker !== undefined,
      finished: (call) => {
        looker?.finished(call);
        recorder?.addDescriptor(call.fd);
        const { path, error, kind, pid, tid, result } = call;
        // permissions of a node, and that there is none, are the transport's to say: the model has not heard of it
        if (
          recorder &&
          path !== undefined &&
          kind === undefined &&
          (error?.code === "EACCES" || error?.code === "ENOENT") &&
          !recorder.sawOpen(path)
        ) {
          recorder.refusedOpen(path, errnoName(-result), error.reason, { pid, tid });
        }
        recorder?.flush();
      },
    },
    ended: () => {
      sanitizer?.end();
      recorder?.end();
      looker?.ended();
      sink?.end();
      for (const [index, { spec, matched, injected }] of injector?.faults.entries() ?? []) {
        if (each && index === faults.length - 1) counters.eachInjected = injected;
        else if (injected === 0)
          say(
            `--fault ${spec.text} failed nothing: ${matched} ${matched === 1 ? "call or access" : "calls or accesses"} matched it`,
          );
      }
      counters.leakedMappings = sanitizer?.leakedMappings ?? 0;
      counters.findings = sanitize ? (sanitizer?.findings ?? 0) : 0;
      ended();
    },
  };
}
