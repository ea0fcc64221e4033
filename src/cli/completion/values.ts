import { REQUESTS_TO_EXPLAIN } from "../../inspect/explain/explain-request.ts";
import { FAULT_CALLS } from "../../inspect/fault/fault-spec.ts";
import { FIRMWARES } from "../../inspect/fit/layout.ts";
import { VMM_NAMES } from "../../inspect/fit/layouts/index.ts";
import { changingReleases } from "../../kernel/releases.ts";
import { allDevices, deviceName } from "../../machine/find-device.ts";
import { API_PROFILES } from "../../machine/host-description.ts";
import { STDIN } from "../../machine/input-file.ts";
import { loadHost } from "../../machine/load-host.ts";
import { readyMadeHosts } from "../../machine/ready-made-hosts.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { REQUEST_NAMES } from "../../uapi/requests/dialects.ts";
import { SHELLS } from "./scripts.ts";

/** One word that could stand there. */
export interface Candidate {
  readonly value: string;
  readonly description: string;
}

/** What could stand in a place of the command line. */
export interface Place {
  readonly candidates: readonly Candidate[];
  /** What else the shell can offer by itself. */
  readonly also?: "files" | "directories" | "commands";
  /** A candidate is only the beginning of a word. */
  readonly continues?: boolean;
}

/** What is known of the words before. */
export interface Context {
  /** The value of -m, when there is one. */
  readonly machine: string | undefined;
  /** What stands there of the word already. */
  readonly begun: string;
}

const NOTHING: Place = { candidates: [] };
const plain = (values: readonly string[]): Candidate[] => values.map((value) => ({ value, description: "" }));
const hosts: readonly Candidate[] = readyMadeHosts().map(({ name, description }) => ({ value: name, description }));

/** Places by the name of the option or argument that has them; of others, what their placeholder says. */
const PLACES: Readonly<Record<string, (context: Context) => Place | Promise<Place>>> = {
  machine: () => ({ candidates: hosts, also: "files" }),
  "hosts name": () => ({ candidates: hosts, also: "files" }),
  api: () => ({ candidates: plain(API_PROFILES) }),
  kernel: () => ({ candidates: plain(changingReleases()) }),
  device: devices,
  vmm: () => ({ candidates: plain(VMM_NAMES) }),
  firmware: () => ({ candidates: plain(FIRMWARES) }),
  "cpu-vendor": () => ({ candidates: plain(["intel", "amd"]) }),
  request: () => ({ candidates: plain([...REQUEST_NAMES, ...FAULT_CALLS]) }),
  fault: (context) => faults(context, true),
  "fault-each": (context) => faults(context, false),
  on: () => ({ candidates: [], also: "files" }),
  socket: () => ({ candidates: [], also: "files" }),
  "socket-mode": () => ({ candidates: plain(["0600", "0660", "0666"]) }),
  base: () => ({ candidates: [], also: "files" }),
  command: () => ({ candidates: plain(["add", "remove", "pull", "link", "aer", "fail", "after"]) }),
  what: () => ({ candidates: plain(REQUESTS_TO_EXPLAIN), also: "files" }),
  errno: () => ({ candidates: plain(Object.keys(ERRNO)) }),
  "capture from": () => ({ candidates: [], also: "files" }),
  "capture format": () => ({ candidates: plain(["yaml", "json", "dra", "nfd"]) }),
  shell: () => ({ candidates: plain(SHELLS) }),
  program: () => ({ candidates: [], also: "commands" }),
  args: () => ({ candidates: [], also: "files" }),
  recording: () => ({ candidates: [], also: "files" }),
  tree: () => ({ candidates: [], also: "directories" }),
};

/**
 * What could stand for the value of an option or argument.
 * @param command that has it
 * @param flags as the help shows it: "--trace <file>"
 */
export async function placeOf(command: string, name: string, flags: string, context: Context): Promise<Place> {
  const place = PLACES[`${command} ${name}`] ?? PLACES[name];
  if (place) return place(context);
  if (/<dir>/.test(flags)) return { candidates: [], also: "directories" };
  return /<file>/.test(flags) ? { candidates: [], also: "files" } : NOTHING;
}

/** Devices of the host that the command line names so far. */
async function devices({ machine }: Context): Promise<Place> {
  // stdin is for the command itself
  if (machine === STDIN) return NOTHING;
  try {
    const all = allDevices(await loadHost(machine));
    return { candidates: all.map(({ device }) => ({ value: deviceName(device), description: device.name })) };
  } catch {
    // a host that cannot be read has none; the command itself will say so
    return NOTHING;
  }
}

/** TARGET= and, once that is there, how it is to fail. */
async function faults(context: Context, withDma: boolean): Promise<Place> {
  const equals = context.begun.indexOf("=");
  if (equals >= 0) {
    const target = context.begun.slice(0, equals + 1);
    const effects = target.startsWith("dma:") ? ["fault"] : Object.keys(ERRNO);
    return { candidates: plain(effects.map((effect) => `${target}${effect}`)) };
  }
  const targets = plain([...REQUEST_NAMES, ...FAULT_CALLS].map((name) => `${name}=`));
  const dma = withDma ? (await devices(context)).candidates.filter(({ value }) => value.includes(".")) : [];
  return {
    candidates: [
      ...targets,
      ...dma.map(({ value, description }) => ({
        value: `dma:${value}=`,
        description: description || "DMA of a device",
      })),
    ],
    continues: true,
  };
}
