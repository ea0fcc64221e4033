import type { DeviceKinds } from "../../devices/kinds.ts";
import { FileIndex } from "../../kernel/file-index.ts";
import type { FileTree, Graft } from "../../kernel/file-tree.ts";
import type { HostEntry, HostFiles } from "../../kernel/host-files.ts";
import { busOf } from "../bridges.ts";
import { allDevices, findGroup } from "../find-device.ts";
import type { HostDescription } from "../host-description.ts";
import { addFixedFiles, addGroupFiles, sysfsGrafts } from "../sysfs-tree.ts";
import { devicePath } from "./device-path.ts";
import type { SysfsState } from "./sysfs-state.ts";
import { TreeBuilder } from "./tree-builder.ts";

/** What is made anew together: a group with all that its devices show, by its number, or what is no group's. */
export type SysfsPart = number | "fixed";

const DIRECTORY: HostEntry = { kind: "directory" };

/** What is seen of the files from outside of their roots. */
interface Outside {
  readonly roots: readonly string[];
  readonly rest: FileTree;
  /** The roots, and all directories that lead to them. */
  readonly above: ReadonlySet<string>;
}

/** The root bus that each device is below, "/sys/devices/pci0000:00". */
function busRoots(host: HostDescription): Iterable<string> {
  const roots = new Map<string, string>();
  for (const { device } of allDevices(host)) {
    if (device.bus !== "pci") continue;
    // the devices of a bus are below the same root
    const bus = busOf(device.physfn ?? device.bdf);
    if (!roots.has(bus)) roots.set(bus, devicePath(host, device).split("/", 4).join("/"));
  }
  return roots.values();
}

/**
 * The /sys of a running host. It is made when somebody first looks, and the parts of it that have changed when somebody
 * looks again.
 */
export class SysfsFiles implements HostFiles {
  readonly grafts: readonly Graft[] = sysfsGrafts();
  readonly #host: () => HostDescription;
  readonly #state: SysfsState;
  readonly #kinds: DeviceKinds;
  #index: FileIndex | undefined;
  readonly #parts = new Map<SysfsPart, FileTree>();
  readonly #stale = new Set<SysfsPart>();
  /** Parts that nobody has looked for yet, the last first. */
  #unmade: SysfsPart[] = [];
  #outside: Outside | undefined;

  /** @param host its description as it is now: devices may come and go */
  constructor(host: () => HostDescription, state: SysfsState, kinds: DeviceKinds) {
    this.#host = host;
    this.#state = state;
    this.#kinds = kinds;
  }

  /** A part is not what it was. */
  change(part: SysfsPart): void {
    this.#outside = undefined;
    if (this.#index !== undefined) this.#stale.add(part);
  }

  find(path: string): HostEntry | undefined {
    // Who only puts the roots where they belong need not wait for all that is in them.
    if (!this.#isMade && this.#outermost().above.has(path)) return DIRECTORY;
    return this.#now().find(path);
  }

  names(path: string): readonly string[] {
    return this.#now().names(path);
  }

  snapshot(): FileTree {
    return this.#now().snapshot();
  }

  get roots(): readonly string[] {
    return this.#outermost().roots;
  }

  get rest(): FileTree {
    return this.#outermost().rest;
  }

  get #isMade(): boolean {
    return this.#index !== undefined && this.#unmade.length === 0;
  }

  #outermost(): Outside {
    if (this.#outside === undefined) {
      const host = this.#host();
      const fixed = FileIndex.of(this.#make("fixed"));
      const roots = [...new Set([...fixed.roots, ...busRoots(host)])];
      const above = new Set(["/"]);
      for (const root of roots)
        for (let at = root; at !== "" && !above.has(at); at = at.slice(0, at.lastIndexOf("/"))) above.add(at);
      this.#outside = { roots, rest: fixed.rest, above };
    }
    return this.#outside;
  }

  /** Makes a part that is needed sooner or later. Returns whether all are there: then a first look takes no longer. */
  prepare(): boolean {
    const index = this.#begun();
    const part = this.#unmade.pop();
    if (part !== undefined) this.#put(index, part);
    return this.#unmade.length === 0;
  }

  #begun(): FileIndex {
    if (this.#index === undefined) {
      this.#index = new FileIndex(this.grafts);
      this.#unmade = ["fixed" as const, ...this.#host().groups.map(({ id }) => id)].reverse();
    }
    return this.#index;
  }

  #now(): FileIndex {
    const index = this.#begun();
    for (let part = this.#unmade.pop(); part !== undefined; part = this.#unmade.pop()) this.#put(index, part);
    if (this.#stale.size === 0) return index;
    for (const part of this.#stale) {
      const old = this.#parts.get(part);
      if (old !== undefined) index.remove(old);
      this.#parts.delete(part);
    }
    for (const part of this.#stale) this.#put(index, part);
    this.#stale.clear();
    return index;
  }

  #put(index: FileIndex, part: SysfsPart): void {
    const made = this.#make(part);
    this.#parts.set(part, made);
    index.add(made);
  }

  #make(part: SysfsPart): FileTree {
    const tree = new TreeBuilder();
    const host = this.#host();
    const group = part === "fixed" ? undefined : findGroup(host, part);
    if (part === "fixed") addFixedFiles(tree, host, this.#state);
    else if (group !== undefined) addGroupFiles(tree, host, group, this.#state, this.#kinds);
    return tree.build(this.grafts);
  }
}
