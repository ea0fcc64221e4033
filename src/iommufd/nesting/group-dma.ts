import { type DmaTarget, NoTarget, type PasidRequest } from "../../iommu/dma-target.ts";
import { type AskForPage, RequesterTarget } from "./requester-target.ts";
import type { VtdDevice, VtdHardware } from "./vtd-hardware.ts";

/** Takes page requests of a group's devices. `pasid` is undefined for requests without one. */
export type AskGroup = (device: VtdDevice, pasid: number | undefined) => AskForPage;

/** Where requests without a PASID go: to the page table's own DMA; through the IOMMU's PASID table, because they may miss there; or nowhere. */
export type PlainRequests = DmaTarget | "table" | undefined;

const BLOCKED = new NoTarget("the device is attached with PASIDs only: its requests without one are blocked");
const UNSEEN = new NoTarget("the IOMMU does not see the device: nothing translates PASIDs for it");
const NO_AUX_DOMAIN = new NoTarget("an iommufd gives a mediated device no PASID of its own");

/** DMA of the devices of a group behind an IOMMU with PASIDs, as an iommufd has attached them. */
export class GroupDma implements DmaTarget {
  readonly #hardware: VtdHardware;
  readonly #plain: PlainRequests;
  readonly #ask: AskGroup;

  constructor(hardware: VtdHardware, plain: PlainRequests, ask: AskGroup) {
    this.#hardware = hardware;
    this.#plain = plain;
    this.#ask = ask;
  }

  read(iova: bigint, into: Uint8Array) {
    return this.#shared.read(iova, into);
  }

  write(iova: bigint, from: Uint8Array) {
    return this.#shared.write(iova, from);
  }

  forDevice(requester: string): DmaTarget {
    if (this.#plain !== "table") return this.#shared;
    const device = this.#hardware.device(requester);
    if (!device) return UNSEEN;
    const { source, ats } = device;
    const place = { source, pasid: 0, what: "without PASID" };
    return new RequesterTarget(this.#hardware.tables.unit, place, { ats }, this.#ask(device, undefined));
  }

  withPasid(requester: string, request: PasidRequest | undefined): DmaTarget {
    if (!request) return NO_AUX_DOMAIN;
    const device = this.#hardware.device(requester);
    if (!device) return UNSEEN;
    const { tables } = this.#hardware;
    const { source } = device;
    const { pasid, privileged } = request;
    // requests find out in the device's table that nothing is attached
    tables.prepare(source);
    const options = { privileged, ats: request.ats && device.ats };
    const place = { source, pasid, what: `PASID ${pasid}` };
    return new RequesterTarget(tables.unit, place, options, this.#ask(device, pasid));
  }

  get #shared(): DmaTarget {
    return this.#plain === undefined || this.#plain === "table" ? BLOCKED : this.#plain;
  }
}
