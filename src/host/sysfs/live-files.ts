import { fail } from "../../kernel/errors.ts";
import type { Host } from "../host.ts";

const PARAMETER = /^\/sys\/module\/([^/]+)\/parameters\/([^/]+)$/;
const DRIVER_FILE = /^\/sys\/bus\/pci\/drivers\/([^/]+)\/(bind|unbind)$/;
const OVERRIDE = /^\/sys\/bus\/pci\/devices\/([^/]+)\/driver_override$/;
const PROBE = "/sys/bus/pci/drivers_probe";
const DRIVER_LINK = /^\/sys\/bus\/pci\/devices\/([^/]+)\/driver$/;
const BOUND_DEVICE = /^\/sys\/bus\/pci\/drivers\/([^/]+)\/([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/;
/** As many links as a path may lead over (fs/namei.c: MAXSYMLINKS). */
const MOST_LINKS = 40;

/** The files of the host's /sys and /dev that change while it runs, by path. The rest of them is Host.tree. */
export class LiveFiles {
  readonly #host: Host;

  /** Of a booted host. */
  constructor(host: Host) {
    this.#host = host;
  }

  /** echo text > path. Throws the errno of that write. */
  write(path: string, text: string): void {
    const { binding, parameters, slots } = this.#host;
    const value = text.trimEnd();
    const parameter = PARAMETER.exec(path);
    const override = OVERRIDE.exec(path);
    const driver = DRIVER_FILE.exec(path);
    if (parameter) parameters.write(`${parameter[1]}/${parameter[2]}`, text);
    else if (path === PROBE) binding.probe(value);
    else if (override) binding.override(override[1]!, value);
    else if (driver?.[2] === "bind") binding.bind(driver[1]!, value);
    else if (driver) binding.unbind(driver[1]!, value);
    else if (!slots.write(path, value)) refuse(path, this.exists(path));
  }

  /** cat path. Throws ENOENT. */
  read(path: string): string {
    const { binding, parameters, slots } = this.#host;
    const parameter = PARAMETER.exec(path);
    if (parameter) return parameters.text(`${parameter[1]}/${parameter[2]}`);
    const power = slots.read(path);
    if (power !== undefined) return power;
    const override = OVERRIDE.exec(path)?.[1];
    if (override !== undefined && this.exists(path)) return `${binding.overrideOf(override) ?? "(null)"}\n`;
    const content = slots.hides(path) ? undefined : this.#host.tree.files.get(this.#resolve(path))?.content;
    if (content === undefined) fail("ENOENT", `${path} is not on this host`);
    // each byte is a character, which no decoder's "latin1" says
    return typeof content === "string" ? content : Buffer.from(content).toString("latin1");
  }

  /** Whether there is such a file now. */
  exists(path: string): boolean {
    const { binding, parameters, slots, tree } = this.#host;
    const parameter = PARAMETER.exec(path);
    if (parameter) return parameters.has(`${parameter[1]}/${parameter[2]}`);
    if (slots.hides(path)) return false;
    const link = DRIVER_LINK.exec(path);
    if (link) return binding.driverOf(link[1]!) !== undefined;
    const bound = BOUND_DEVICE.exec(path);
    if (bound) return binding.driverOf(bound[2]!) === bound[1];
    if (this.#host.deviceNodes().some((node) => node.path === path)) return true;
    const at = this.#resolve(path);
    return tree.files.has(at) || tree.links.has(path) || tree.directories.includes(at);
  }

  /** ls path: the names in a directory, sorted. Throws ENOENT. */
  list(path: string): readonly string[] {
    const { tree } = this.#host;
    const at = this.#resolve(path.replace(/\/+$/, ""));
    const nodes = this.#host.deviceNodes().map((node) => node.path);
    const names = new Set<string>();
    let isThere = tree.directories.includes(at);
    for (const place of [...tree.files.keys(), ...tree.links.keys(), ...tree.directories, ...nodes]) {
      if (!place.startsWith(`${at}/`)) continue;
      isThere = true;
      const name = place.slice(at.length + 1).split("/")[0]!;
      const child = `${at}/${name}`;
      if (this.#isGone(child, nodes)) continue;
      names.add(name);
    }
    if (!isThere || this.#host.slots.hides(path)) fail("ENOENT", `${path} is not on this host`);
    return [...names].sort();
  }

  /** Whether something that the tree has from the start is not there now. */
  #isGone(path: string, nodes: readonly string[]): boolean {
    if (path.startsWith("/dev/")) return !nodes.some((node) => node === path || node.startsWith(`${path}/`));
    return this.#host.slots.hides(path);
  }

  /** Where a path leads once all links in it are followed. */
  #resolve(path: string): string {
    const { links } = this.#host.tree;
    let resolved = "";
    let rest = path.split("/").filter((part) => part !== "");
    for (let followed = 0; rest.length > 0 && followed <= MOST_LINKS; ) {
      const [part, ...more] = rest;
      rest = more;
      if (part === "..") {
        resolved = resolved.slice(0, Math.max(0, resolved.lastIndexOf("/")));
        continue;
      }
      const target = part === "." ? undefined : links.get(`${resolved}/${part}`);
      if (target === undefined) {
        if (part !== ".") resolved += `/${part}`;
        continue;
      }
      followed++;
      rest = [...target.split("/").filter((each) => each !== ""), ...more];
      if (target.startsWith("/")) resolved = "";
    }
    return resolved;
  }
}

function refuse(path: string, exists: boolean): never {
  if (!exists) fail("ENOENT", `${path} is not on this host`);
  fail("EACCES", `${path} cannot be written`);
}
