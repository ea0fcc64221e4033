import { resolve } from "node:path";
import { type Captured, capture as captureTree } from "../machine/capture/capture.ts";
import { parseHost } from "../machine/parse-host.ts";

/** Which host is captured, and how much of it. */
export interface CaptureOptions {
  /** The folder that has its sys, proc and dev; / for the machine itself, which is so when left out. */
  readonly root?: string;
  /** What it is called; "captured" when left out. */
  readonly name?: string;
  /** Also the devices' config space, where it can be read as a whole (root). */
  readonly configSpace?: boolean;
}

/**
 * Describes the host that this runs on, or the one whose files are below `root` (`uvfio capture`). What is handed out
 * is a description that can be used, and a host file that says the same.
 * @throws CaptureError when there is no /sys, or its IOMMU is of a kind that has no model
 */
export function capture({ root = "/", name = "captured", configSpace = false }: CaptureOptions = {}): Captured {
  const { yaml, missing } = captureTree({ root: resolve(root), name, configSpace });
  // whatever the tree held, what is handed out can be read again
  return { host: parseHost(yaml, "the captured host"), yaml, missing };
}
