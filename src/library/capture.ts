import { resolve } from "node:path";
import { type Captured, capture as captureTree } from "../machine/capture/capture.ts";
import { absentParts } from "../machine/capture/copied-parts.ts";
import { parseHost } from "../machine/parse-host.ts";
import { copiedHost } from "./capture/unpack.ts";

/** Which host is captured, and how much of it. */
export interface CaptureOptions {
  /** The folder that has its sys, proc and dev; / for the machine itself, which is so when left out. */
  readonly root?: string;
  /**
   * Instead: a copy of another host's files, a folder that has its sys, proc and dev, or an archive of them (anything
   * that tar reads). What the copy lacks for a full verdict is among `missing`.
   */
  readonly from?: string;
  /** What it is called; "captured" when left out. */
  readonly name?: string;
  /** Also the devices' config space, where it can be read as a whole (root). */
  readonly configSpace?: boolean;
}

/**
 * Describes the host that this runs on, or the one whose files are below `root` or in `from` (`uvfio capture`). What is
 * handed out is a description that can be used, and a host file that says the same.
 * @throws CaptureError when there is no /sys, or its IOMMU is of a kind that has no model
 */
export function capture(options: CaptureOptions = {}): Captured {
  const { from, root = "/", name = "captured", configSpace = false } = options;
  if (from === undefined) return captured(resolve(root), name, configSpace);
  const copy = copiedHost(from);
  try {
    const found = captured(copy.root, name, configSpace);
    return { ...found, missing: [...absentParts(copy.root), ...found.missing] };
  } finally {
    copy.remove();
  }
}

function captured(root: string, name: string, configSpace: boolean): Captured {
  const { yaml, missing } = captureTree({ root, name, configSpace });
  // whatever the tree held, what is handed out can be read again
  return { host: parseHost(yaml, "the captured host"), yaml, missing };
}
