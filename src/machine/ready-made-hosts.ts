import type { HostDescription } from "./host-description.ts";
import { amd } from "./hosts/amd.ts";
import { arm } from "./hosts/arm.ts";
import { armNesting } from "./hosts/arm-nesting.ts";
import { intel } from "./hosts/intel.ts";
import { lab } from "./hosts/lab.ts";
import { labNesting } from "./hosts/lab-nesting.ts";
import { mock } from "./hosts/mock.ts";
import { power9, power9With4k } from "./hosts/power9.ts";
import { pseries, pseriesWith4k } from "./hosts/pseries.ts";
import { s390 } from "./hosts/s390.ts";
import { virtio } from "./hosts/virtio.ts";

/** The host that is meant when none is named. */
export const DEFAULT_HOST = "intel";

/**
 * The hosts that need no file, by name, in the order in which `uvfio hosts` lists them. Plain data: nothing is parsed
 * at start-up, and the command loads the one that is asked for.
 */
const HOSTS: Readonly<Record<string, () => HostDescription>> = {
  intel: () => intel,
  amd: () => amd,
  arm: () => arm,
  virtio: () => virtio,
  power9: () => power9,
  "power9-4k": () => power9With4k,
  pseries: () => pseries,
  "pseries-4k": () => pseriesWith4k,
  s390: () => s390,
  lab: () => lab,
  "lab-nesting": () => labNesting,
  "arm-nesting": () => armNesting,
  mock: () => mock,
};

/** What the ready-made hosts are called. */
export const READY_MADE_NAMES: readonly string[] = Object.keys(HOSTS);

export function readyMadeHost(name: string): HostDescription | undefined {
  return Object.hasOwn(HOSTS, name) ? HOSTS[name]!() : undefined;
}

/** All of them. */
export function readyMadeHosts(): readonly HostDescription[] {
  return READY_MADE_NAMES.map((name) => HOSTS[name]!());
}
