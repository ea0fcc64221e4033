import { checkFit, type FitResult } from "../../../src/inspect/fit/fit.ts";
import type { FitHost } from "../../../src/inspect/fit/host-side.ts";
import type { FitRequest } from "../../../src/inspect/fit/judge.ts";
import type { LayoutRequest } from "../../../src/inspect/fit/layout.ts";
import { chooseVmm } from "../../../src/inspect/fit/layouts/index.ts";
import type { Assumptions } from "../../../src/inspect/fit/limits.ts";
import { GIB } from "../../../src/inspect/fit/sizes.ts";
import { fitHost } from "../../../src/library/fit/fit-host.ts";
import { parseHost } from "../../../src/machine/parse-host.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";

/** A ready-made host's side. */
export function readyMade(name: string, devices: readonly string[] = []): FitHost {
  return fitHost(readyMadeHost(name)!, devices);
}

/** A host from the text of a host file. */
export function fromText(text: string, devices: readonly string[] = []): FitHost {
  return fitHost(parseHost(text, "test.yaml"), devices);
}

export interface Guest extends Partial<LayoutRequest> {
  readonly vmm: string;
  readonly memory: bigint;
}

/** The question as the command asks it. */
export function question(
  host: FitHost,
  { vmm: name, ...guest }: Guest,
  assumptions: Partial<Assumptions> = {},
): FitRequest {
  const { vmm, version } = chooseVmm(name, undefined);
  const request: LayoutRequest = {
    maxMemory: guest.memory,
    slots: 0,
    cpuVendor: host.description.iommu.model === "amd-vi" ? "amd" : "intel",
    bars64: 0n,
    ...(version && { version }),
    ...guest,
  };
  return {
    host,
    layout: vmm.layout(request),
    planned: { request, layout: vmm.layout },
    assumptions: { viommu: false, ...assumptions },
  };
}

export function ask(host: FitHost, guest: Guest, assumptions: Partial<Assumptions> = {}): FitResult {
  return checkFit(question(host, guest, assumptions));
}

export const gib = (count: number) => BigInt(count) * GIB;
