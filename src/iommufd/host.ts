import type { HostDescription } from "../machine/host-description.ts";
import { type HostOptions, Host as VfioHost } from "../vfio/host.ts";
import { IommufdModuleNodes } from "./nodes.ts";

/** A booted host with everything that its description has, iommufd included. */
export class Host extends VfioHost {
  constructor(description: HostDescription, options: HostOptions = {}) {
    super(description, options, (host) => new IommufdModuleNodes(description, host));
  }
}
