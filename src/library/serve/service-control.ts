import type { Host } from "../../host/host.ts";
import { HostControl } from "../../host/host-control.ts";
import { parseFault } from "../../inspect/fault/fault-spec.ts";
import { FaultInjector } from "../../inspect/fault/injector.ts";
import type { SharedWatch } from "../../inspect/watch/shared-watch.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { requestNamed } from "../../uapi/requests/dialects.ts";
import { checkFaults } from "../run/faults.ts";
import { UsageError } from "../usage-error.ts";

/** A command that waits for the nth request of a name. */
interface Trigger {
  readonly request: string;
  left: number;
  readonly words: readonly string[];
}

const TRIGGERS_MAX = 1000;

/** What `uvfio ctl` has a served host do. */
export class ServiceControl {
  readonly #host: Host;
  readonly #hardware: HostControl;
  readonly #watch: SharedWatch;
  readonly #said: (line: string) => void;
  #faults: { readonly injector: FaultInjector; readonly end: () => void }[] = [];
  #triggers: Trigger[] = [];

  /** @param said hears what comes of commands that nobody waits for */
  constructor(host: Host, watch: SharedWatch, said: (line: string) => void) {
    this.#host = host;
    this.#hardware = new HostControl(host);
    this.#watch = watch;
    this.#said = said;
  }

  /**
   * Carries a command out. Throws UsageError for what makes no sense; KernelError, also WaitsError: it is to be made
   * again when a program has closed something.
   */
  run(words: readonly string[]): readonly string[] {
    const [command, device = "", ...rest] = words;
    switch (command) {
      case "add":
        this.#hardware.add(device, rest[0]);
        return [];
      case "remove":
        this.#hardware.remove(device);
        return [];
      case "pull":
        this.#hardware.pull(device);
        return [];
      case "link":
        this.#link(device, rest[0]);
        return [];
      case "aer":
        this.#hardware.aer(device);
        return [];
      case "fail":
        this.#fail(device);
        return [];
      case "after":
        this.#after(device, rest);
        return [];
      default:
        throw new UsageError(`${command}: add, remove, pull, link, aer, fail and after are known`);
    }
  }

  /** A program makes a request: fails it when that was ordered, and sets off what waits for it. */
  before(task: Task, file: FileDescription, request: number, arg: Word): void {
    if (this.#faults.length === 0 && this.#triggers.length === 0) return;
    this.#pull(file.dialect.nameOf(request));
    for (const { injector } of this.#faults) injector.before({ op: "ioctl", task, file, request, arg });
  }

  #pull(name: string): void {
    const due = this.#triggers.filter((trigger) => trigger.request === name && --trigger.left === 0);
    if (due.length === 0) return;
    this.#triggers = this.#triggers.filter(({ left }) => left > 0);
    // the request itself is carried out first
    setImmediate(() => {
      for (const { words } of due) this.#runAlone(words);
    });
  }

  #runAlone(words: readonly string[]): void {
    try {
      this.run(words);
    } catch (error) {
      this.#said(`uvfio ctl ${words.join(" ")}: ${error instanceof Error ? error.message : error}`);
    }
  }

  #link(device: string, to: string | undefined): void {
    if (to !== "up" && to !== "down") throw new UsageError("link takes a device, and up or down");
    this.#hardware.link(device, to === "up");
  }

  #fail(spec: string): void {
    if (spec === "none") {
      for (const { end } of this.#faults) end();
      this.#faults = [];
      return;
    }
    checkFaults([spec], this.#host.description);
    const injector = new FaultInjector([parseFault(spec)], "uvfio ctl fail");
    this.#faults.push({ injector, end: this.#watch.add(injector.model) });
  }

  /** "after REQUEST#N COMMAND ..." */
  #after(when: string, words: readonly string[]): void {
    const [, name = "", count = "1"] = /^(\w+)(?:#(\d+))?$/.exec(when) ?? [];
    if (requestNamed(name) === undefined)
      throw new UsageError(`after ${when}: give a request and which one, as VFIO_IOMMU_MAP_DMA#3`);
    if (words.length === 0) throw new UsageError(`after ${when}: and then?`);
    if (words[0] === "after") throw new UsageError("after ... after: one at a time");
    if (this.#triggers.length >= TRIGGERS_MAX) throw new UsageError(`${TRIGGERS_MAX} commands wait already`);
    this.#triggers.push({ request: name, left: Math.max(1, Number(count)), words });
  }
}
