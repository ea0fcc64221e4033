import { PAGE_SIZE } from "../../address/pages.ts";
import type { DmaFault, DmaTarget, PasidRequest } from "../dma-target.ts";
import { type AccessMap, addressIn, type Met, pieceOf, walkAccess } from "../dma-walk.ts";
import { NO_PASID } from "../domain.ts";
import type { Place, Requester } from "../requester.ts";
import type { VirtualIommuGround } from "../virtual-iommu.ts";
import { type Context, findContext, readContext } from "./context.ts";
import type { SmmuDomain } from "./domain.ts";
import { describeFault, isRefused, type Refused, refuse, reportEvent } from "./events.ts";
import type { SmmuFeatures } from "./registers.ts";
import { type Access, checkPermission, sideOf, walkStage1 } from "./stage1.ts";
import { isWalkable, type StreamEntry } from "./stream-entry.ts";
import type { Translation } from "./tlb.ts";

/**
 * A request that does not arrive is made again for each such piece, as QEMU's devices do it (recorded: an event each).
 */
const FAULTING_PIECE = 4;

/** How a request is made. */
interface Request extends Access {
  readonly substream: number | undefined;
}

/** A device that is attached to a guest's stream table entry (struct arm_smmu_vmaster, and its stream in the SMMU). */
export class NestedPlace implements Place {
  readonly requester: Requester;
  readonly #parent: SmmuDomain;
  readonly #entry: StreamEntry;
  readonly #features: SmmuFeatures;
  readonly #ground: VirtualIommuGround;
  /** The guest's number for the device, as it was when it was attached. */
  readonly #streamId: bigint | undefined;
  readonly #leave: (place: NestedPlace) => void;
  /** Context descriptors that the SMMU remembers of this stream, by substream. */
  readonly #contexts = new Map<number, Context>();
  #isLeft = false;

  /** @param leave is called once */
  constructor(
    requester: Requester,
    parent: SmmuDomain,
    entry: StreamEntry,
    { features, ground, streamId }: Pick<NestedPlaceGround, "features" | "ground" | "streamId">,
    leave: (place: NestedPlace) => void,
  ) {
    this.requester = requester;
    this.#parent = parent;
    this.#entry = entry;
    this.#features = features;
    this.#ground = ground;
    this.#streamId = streamId;
    this.#leave = leave;
  }

  reach({ pasid, privileged }: PasidRequest): DmaTarget {
    const substream = pasid === NO_PASID ? undefined : pasid;
    const go = (address: bigint, bytes: Uint8Array, write: boolean) =>
      walkAccess(this.#requests({ write, privileged, substream }), address, bytes, write);
    return {
      read: (address, into) => go(address, into, false),
      write: (address, from) => go(address, from, true),
    };
  }

  leave(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    this.#leave(this);
  }

  /** CFGI_CD, CFGI_CD_ALL. @param substream undefined for all */
  forgetContexts(substream: number | undefined): void {
    if (substream === undefined) this.#contexts.clear();
    else this.#contexts.delete(substream);
  }

  sendMessage(doorbell: bigint, message: Uint8Array): boolean {
    const { kind } = this.#entry;
    if (kind !== "stage1") return kind === "bypass";
    const request: Request = { write: true, privileged: false, substream: undefined };
    const page = (address: bigint) => address / BigInt(PAGE_SIZE);
    // the kernel has the doorbell's page in the second stage, at the address that the device writes to
    const reached = this.#firstStage(request, doorbell, (intermediate) => page(intermediate) === page(doorbell));
    if (reached === "there") return true;
    this.reach({ pasid: NO_PASID, privileged: false, ats: false }).write(doorbell, message);
    return false;
  }

  #requests(request: Request): AccessMap<DmaFault> {
    return {
      meet: (page, within, bytes, done) =>
        this.#meet(request, addressIn(page, within), bytes, done, PAGE_SIZE - within),
    };
  }

  #meet(request: Request, at: bigint, bytes: Uint8Array, done: number, most: number): Met<DmaFault> {
    const piece = pieceOf(bytes, done, most);
    if (this.#entry.kind === "abort") return explained(piece.length, "the guest's stream table entry drops everything");
    const { second } = this.#parent;
    const intermediate = this.#translate(request, at);
    if (isRefused(intermediate)) {
      this.#report(intermediate, request, at, piece.length);
      const reason = describeFault(intermediate);
      return explained(piece.length, reason);
    }
    const isMoved = request.write ? second.write(intermediate, piece) : second.read(intermediate, piece);
    return isMoved ? piece.length : explained(piece.length, "the memory that is mapped there is gone");
  }

  /** An event for each piece of what was not reached. */
  #report(refused: Refused, { substream, write, privileged }: Request, from: bigint, bytes: number): void {
    const streamId = this.#streamId;
    if (streamId === undefined) return;
    for (let at = from; at < from + BigInt(bytes); ) {
      reportEvent(this.#ground, refused, { streamId, substream, address: at, write, privileged });
      at += BigInt(pieceAt(at, Number(from + BigInt(bytes) - at)));
    }
  }

  /** The intermediate address of a byte; what is refused is refused for the rest of its page. */
  #translate(request: Request, address: bigint): bigint | Refused {
    const reached = this.#firstStage(request, address, () => false);
    return reached === "there" ? refuse("F_TRANSLATION") : reached;
  }

  /**
   * The intermediate address of a byte, once the second stage is known to allow the access.
   * @param isAround whether an intermediate address is no memory of the program's, and needs no second stage
   */
  #firstStage(
    request: Request,
    address: bigint,
    isAround: (intermediate: bigint) => boolean,
  ): bigint | "there" | Refused {
    const { second } = this.#parent;
    if (this.#entry.kind === "bypass") return throughSecond(second, address, request);
    const context = this.#context(request.substream);
    if (context === "bypass") return isAround(address) ? "there" : throughSecond(second, address, request);
    if (isRefused(context)) return context;
    const result = this.#walk(context, request, address, isAround);
    return typeof result === "object" && !context.records ? { ...result, unrecorded: true } : result;
  }

  #walk(
    context: Context,
    request: Request,
    address: bigint,
    isAround: (intermediate: bigint) => boolean,
  ): bigint | "there" | Refused {
    const { second, tlb } = this.#parent;
    const found = sideOf(context, address);
    if (!found?.side) return refuse("F_TRANSLATION");
    const { address: plain, side } = found;
    const cached = tlb.find(context.asid, plain);
    if (cached && !(request.write && cached.canBecomeDirty)) return throughCached(context, cached, plain, request);
    const first = walkStage1(context, side, plain, request, second);
    if (isRefused(first)) return first;
    if (isAround(first.address)) return "there";
    const end = second.translate(first.address, request.write, "input");
    if (isRefused(end)) return end;
    const unmarked = first.mark && second.store(first.mark.slot, first.mark.entry);
    if (unmarked) return unmarked;
    const shift = Math.min(first.shift, end.shift);
    const within = plain & ((1n << BigInt(shift)) - 1n);
    tlb.remember({
      asid: first.isOfAsid ? context.asid : undefined,
      page: plain - within,
      shift,
      intermediate: first.address - within,
      secondRead: end.read,
      secondWrite: end.write,
      write: first.write,
      unprivileged: first.unprivileged,
      canBecomeDirty: first.canBecomeDirty,
    });
    return first.address;
  }

  #context(substream: number | undefined): Context | "bypass" | Refused {
    const { second } = this.#parent;
    if (!isWalkable(this.#entry, this.#features)) return refuse("C_BAD_STE");
    const chosen = findContext(this.#entry, substream, second);
    if (chosen === "bypass" || isRefused(chosen)) return chosen;
    const cached = this.#contexts.get(chosen.substream);
    if (cached) return cached;
    const context = readContext(chosen.at, second, this.#features);
    if (!isRefused(context)) this.#contexts.set(chosen.substream, context);
    return context;
  }
}

/** What a place stands on. */
export interface NestedPlaceGround {
  readonly features: SmmuFeatures;
  readonly ground: VirtualIommuGround;
  readonly streamId: bigint | undefined;
}

function throughSecond(second: SmmuDomain["second"], address: bigint, { write }: Request): bigint | Refused {
  const hit = second.translate(address, write, "input");
  return isRefused(hit) ? hit : address;
}

function throughCached(context: Context, cached: Translation, address: bigint, request: Request): bigint | Refused {
  const refused = checkPermission(context, cached, request);
  if (refused) return refused;
  const intermediate = cached.intermediate + (address - cached.page);
  if (request.write ? cached.secondWrite : cached.secondRead) return intermediate;
  return { refused: "F_PERMISSION", class: "input", stage: 2, intermediate };
}

/** At most 4 bytes that are aligned to their number. */
function pieceAt(at: bigint, left: number): number {
  let bytes = FAULTING_PIECE;
  while (bytes > left || at % BigInt(bytes) !== 0n) bytes /= 2;
  return bytes;
}

function explained(bytes: number, reason: string): Met<DmaFault> {
  return { bytes, explain: (at) => ({ iova: at, reason, byPasidTable: true }) };
}
