import type { HostDescription } from "../machine/host-description.ts";
import { readyMadeHosts } from "../machine/ready-made-hosts.ts";

/** The hosts that need no file, in the order in which `uvfio hosts` lists them. */
export const READY_MADE_HOSTS: readonly HostDescription[] = readyMadeHosts();
