import { Host } from "../../host/host.ts";
import { SharedWatch } from "../../inspect/watch/shared-watch.ts";
import { type FromServer, type Observer, type Request, type Served, ServedHost } from "../../interpose/index.ts";
import type { HostKernel } from "../../kernel/host-kernel.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { callFailure, failureLine } from "../run/call-failure.ts";
import { checkFaults } from "../run/faults.ts";
import { inspectedHost } from "../run/inspected.ts";
import { type Inspection, noCounts } from "../run/inspection.ts";
import { type CdiSpec, cdiSpec } from "./cdi.ts";
import { ServiceControl } from "./service-control.ts";

/** How a host is served. */
export interface ServiceOptions {
  /** Where programs connect. */
  readonly socket: string;
  /** Who may: permission bits of the socket. 0600 when left out. */
  readonly mode?: number;
  /** /sys is mounted in this folder, for containers. */
  readonly sysfs?: string;
  /** What the host was named as, for traces. */
  readonly machine?: string;
  /** What a person should know. A line. */
  readonly said: (line: string) => void;
}

/** Warnings that were said already are kept up to so many. */
const WARNINGS_MAX = 10_000;
/** Between two parts of /sys that nobody has asked for. */
const PREPARE_MS = 1;

/** A booted host that several programs and containers are on, until it is stopped. */
export class HostService {
  readonly host: Host;
  readonly #description: HostDescription;
  readonly #options: ServiceOptions;
  readonly #served: ServedHost;
  readonly #watch = new SharedWatch();
  /** Who hears warnings in a call of theirs. */
  readonly #hearers = new Map<HostKernel, (line: string) => void>();
  readonly #warned = new Set<string>();
  readonly #controls: ServiceControl;
  #preparation: NodeJS.Timeout | undefined;

  /**
   * Boots the host and listens. serve() must follow.
   * @throws HostDescriptionError; InterposerError when nobody can connect there
   */
  constructor(description: HostDescription, options: ServiceOptions) {
    this.#description = description;
    this.#options = options;
    this.host = new Host(description, {
      watch: this.#watch,
      everyWarning: true,
      onWarning: (line) => this.#warn(line),
    });
    this.#controls = new ServiceControl(this.host, this.#watch, options.said);
    const observer: Observer = { noticed: options.said, broken: options.said };
    const { name, kernel } = description;
    this.#served = new ServedHost({
      served: { kernel: this.host, observer },
      host: { name, kernel },
      socket: options.socket,
      ...(options.mode !== undefined && { mode: options.mode }),
      ...(options.sysfs !== undefined && { sysfs: options.sysfs }),
      join: (request, send) => this.#join(request, send),
      joinContainer: (id) => this.#joinContainer(id),
      control: (words) => this.#control(words),
      said: options.said,
    });
  }

  /** The socket. */
  get path(): string {
    return this.#served.path;
  }

  /** Serves until stop() is called, or somebody else has it stopped. */
  async serve(): Promise<void> {
    this.#prepareFiles();
    try {
      await this.#served.serve();
    } finally {
      clearTimeout(this.#preparation);
    }
  }

  /** /sys of a host with thousands of devices takes seconds to make: a part at a time, before all wait for a look. */
  readonly #prepareFiles = () => {
    if (!this.host.files.prepare()) this.#preparation = setTimeout(this.#prepareFiles, PREPARE_MS);
  };

  /** Ends serving, and says who is on the host still. */
  stop(): void {
    this.#served.tellGuests();
    this.#served.stop();
  }

  /** Which programs and containers are on the host, a line each. */
  guests(): readonly string[] {
    return this.#served.guests();
  }

  /** What containers get of the host, for engines that read CDI specifications. */
  cdi(): CdiSpec {
    const { host } = this;
    return cdiSpec({
      groups: host.description.groups,
      nodes: host.deviceNodes(),
      deviceNode: (name) => host.deviceNodeOf(name),
      sysfs: this.#served.sysfs,
    });
  }

  /** What devices do outside of a call concerns nobody in particular. */
  #warn(line: string): void {
    const kernel = this.#served?.server.inHand?.kernel;
    const hearer = kernel && this.#hearers.get(kernel);
    if (hearer) {
      hearer(line);
      return;
    }
    if (this.#warned.has(line) || this.#warned.size >= WARNINGS_MAX) return;
    this.#warned.add(line);
    this.#options.said(line);
  }

  #join(request: Request, send: (message: FromServer) => void): Served {
    const warned = new Set<string>();
    const warn = (line: string) => {
      if (warned.has(line) || warned.size >= WARNINGS_MAX) return;
      warned.add(line);
      send({ noticed: line });
    };
    const say = (line: string) => send({ said: line });
    const observer: Observer = {
      failed: (call) => send({ failed: callFailure(call) }),
      noticed: warn,
      broken: (line) => {
        this.#options.said(line);
        say(line);
      },
    };
    const inspection = this.#inspection(request, send);
    if (inspection === undefined) return this.#guest({ kernel: this.#view(), observer }, warn);
    const { counters } = inspection;
    let heard = warn;
    let unwatch = () => {};
    const inspected = inspectedHost(
      this.#description,
      inspection,
      { say, warn },
      observer,
      () => {
        unwatch();
        send({ counters });
      },
      ({ watch, onWarning }) => {
        if (onWarning) heard = onWarning;
        if (watch) unwatch = this.#watch.add(watch);
        return this.#view();
      },
    );
    return this.#guest(inspected, (line) => heard(line));
  }

  #inspection(request: Request, send: (message: FromServer) => void): Inspection | undefined {
    const { trace = false, faults = [], sanitize = false, argv = [] } = request;
    if (!trace && faults.length === 0 && !sanitize) return undefined;
    checkFaults(faults, this.#description);
    const { name, kernel } = this.#description;
    const { machine } = this.#options;
    const head = { op: "host", version: 1, name, ...(machine !== undefined && { machine }), kernel, argv } as const;
    const sink = { write: (operation: unknown) => send({ trace: operation }), end() {} };
    return { trace: trace ? { sink, head } : undefined, faults, sanitize, counters: noCounts() };
  }

  #joinContainer(id: string): Served {
    const say = (line: string) => this.#options.said(`container ${id}: ${line}`);
    const observer: Observer = {
      // what a signal took a caller out of is made again
      failed: (call) => call.delivered && say(failureLine(callFailure(call))),
      noticed: say,
      broken: say,
    };
    return this.#guest({ kernel: this.#view(), observer }, say);
  }

  /** Who is on the host from now on: warnings in its calls go to it. */
  #guest(served: Served, warn: (line: string) => void): Served {
    this.#hearers.set(served.kernel, warn);
    const ended = () => {
      this.#hearers.delete(served.kernel);
      served.ended?.();
    };
    return { ...served, ended };
  }

  #control(words: readonly string[]): readonly string[] {
    const [command] = words;
    if (command === "guests") return this.guests();
    if (command === "cdi") return [JSON.stringify(this.cdi())];
    return this.#controls.run(words);
  }

  /** The host with an open() of its own, which a watcher may replace. */
  #view(): HostKernel {
    const { host } = this;
    return {
      files: host.files,
      deviceWork: host.deviceWork,
      littleEndian: host.littleEndian,
      deviceNodes: () => host.deviceNodes(),
      open: (task, path, flags) => host.open(task, path, flags),
      whyMissing: (path) => host.whyMissing(path),
      before: (...call) => this.#controls.before(...call),
      plainRequest: (request) => host.plainRequest(request),
    };
  }
}
