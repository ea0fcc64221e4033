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
 * The hosts that need no file, in the order in which `uvfio hosts` lists them. Plain data: nothing is parsed at
 * start-up.
 */
export const READY_MADE_HOSTS: readonly HostDescription[] = [
  intel,
  amd,
  arm,
  virtio,
  power9,
  power9With4k,
  pseries,
  pseriesWith4k,
  s390,
  lab,
  labNesting,
  armNesting,
  mock,
];

export function readyMadeHost(name: string): HostDescription | undefined {
  return READY_MADE_HOSTS.find((host) => host.name === name);
}
