import { fail } from "../kernel/errors.ts";
import type { Host } from "./host.ts";

const PARAMETER = /^\/sys\/module\/([^/]+)\/parameters\/([^/]+)$/;
const DRIVER_FILE = /^\/sys\/bus\/pci\/drivers\/([^/]+)\/(bind|unbind)$/;
const OVERRIDE = /^\/sys\/bus\/pci\/devices\/([^/]+)\/driver_override$/;
const PROBE = "/sys/bus/pci/drivers_probe";
const DRIVER_LINK = /^\/sys\/bus\/pci\/devices\/([^/]+)\/driver$/;
const BOUND_DEVICE = /^\/sys\/bus\/pci\/drivers\/([^/]+)\/([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/;

/** The files of the host's /sys and /dev that change while it runs, by path. The rest of them is Host.tree. */
export class LiveFiles {
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  /** echo text > path. Throws the errno of that write. */
  write(path: string, text: string): void {
    const { binding, parameters } = this.#host;
    const value = text.trimEnd();
    const parameter = PARAMETER.exec(path);
    const override = OVERRIDE.exec(path);
    const driver = DRIVER_FILE.exec(path);
    if (parameter) parameters.write(`${parameter[1]}/${parameter[2]}`, text);
    else if (path === PROBE) binding.probe(value);
    else if (override) binding.override(override[1]!, value);
    else if (driver?.[2] === "bind") binding.bind(driver[1]!, value);
    else if (driver) binding.unbind(driver[1]!, value);
    else refuse(path, this.exists(path));
  }

  /** cat path. Throws ENOENT. */
  read(path: string): string {
    const parameter = PARAMETER.exec(path);
    if (parameter) return this.#host.parameters.text(`${parameter[1]}/${parameter[2]}`);
    const content = this.#host.tree.files.get(path)?.content;
    if (content === undefined) fail("ENOENT", `${path} is not on this host`);
    return typeof content === "string" ? content : new TextDecoder("latin1").decode(content);
  }

  exists(path: string): boolean {
    const { binding, parameters, tree } = this.#host;
    const parameter = PARAMETER.exec(path);
    if (parameter) return parameters.has(`${parameter[1]}/${parameter[2]}`);
    const link = DRIVER_LINK.exec(path);
    if (link) return binding.driverOf(link[1]!) !== undefined;
    const bound = BOUND_DEVICE.exec(path);
    if (bound) return binding.driverOf(bound[2]!) === bound[1];
    if (this.#host.deviceNodes().some((node) => node.path === path)) return true;
    return tree.files.has(path) || tree.links.has(path) || tree.directories.includes(path);
  }
}

function refuse(path: string, exists: boolean): never {
  if (!exists) fail("ENOENT", `${path} is not on this host`);
  fail("EACCES", `${path} cannot be written`);
}
