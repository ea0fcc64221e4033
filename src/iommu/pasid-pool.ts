import { fail } from "../kernel/errors.ts";
import { IdSet } from "./id-set.ts";
import type { DmaOwner } from "./requester.ts";

/** PASIDs are 20 bits; 0 is what requests without a PASID count as (RID_PASID). */
export const PASID_MIN = 1;
export const PASID_MAX = 2 ** 20 - 1;

/** Whose quota PASIDs count against: a process, told from others by its address space. */
export type PasidAccount = object;

/** Who holds a PASID. */
interface Holder {
  /** Undefined for the host's own: aux domains, and what guests' numbers are translated to. */
  readonly account: PasidAccount | undefined;
  /** The container that it was allocated through: it goes with it. */
  readonly owner: DmaOwner;
  /** How to unbind it where it is bound. */
  readonly unbind: Set<(pasid: number) => void>;
}

const NONE: ReadonlySet<number> = new Set();

/** The PASIDs of the whole host (the kernel's ioasid allocator). No operation takes longer when more are held. */
export class PasidPool {
  readonly #ids = new IdSet(PASID_MAX + 1);
  readonly #holders = new Map<number, Holder>();
  readonly #byAccount = new Map<PasidAccount, Set<number>>();
  readonly #byOwner = new Map<DmaOwner, Set<number>>();
  /** What counts against a quota without being a PASID of the host's: numbers that a guest has chosen. */
  readonly #charged = new Map<PasidAccount, number>();

  /** How many are held. */
  get size(): number {
    return this.#ids.size;
  }

  /** How many that guests have chosen count against somebody's quota. */
  get chosen(): number {
    let count = 0;
    for (const charged of this.#charged.values()) count += charged;
    return count;
  }

  /** How many a process has, those that its guests have chosen included. */
  heldBy(account: PasidAccount): number {
    return (this.#byAccount.get(account)?.size ?? 0) + (this.#charged.get(account) ?? 0);
  }

  /**
   * The lowest free PASID of a range. ENOSPC when all are taken, or when the process has its quota.
   * @param account undefined for the host's own, which no quota counts
   * @param quota how many the process may have
   */
  allocate(owner: DmaOwner, account: PasidAccount | undefined, min = PASID_MIN, max = PASID_MAX, quota = 0): number {
    if (account !== undefined) this.#checkQuota(account, quota);
    const pasid = this.#ids.take(Math.max(min, PASID_MIN), max);
    if (pasid === undefined) fail("ENOSPC", `no PASID of ${min}-${max} is free (PASIDs are ${PASID_MIN}-${PASID_MAX})`);
    this.#holders.set(pasid, { account, owner, unbind: new Set() });
    addTo(this.#byOwner, owner, pasid);
    if (account !== undefined) addTo(this.#byAccount, account, pasid);
    return pasid;
  }

  /** Gives it back; whoever it is bound at unbinds it first. */
  free(pasid: number): void {
    const holder = this.#holders.get(pasid);
    if (!holder) return;
    for (const unbind of [...holder.unbind]) unbind(pasid);
    this.#holders.delete(pasid);
    this.#ids.release(pasid);
    removeFrom(this.#byOwner, holder.owner, pasid);
    if (holder.account !== undefined) removeFrom(this.#byAccount, holder.account, pasid);
  }

  /** Counts one PASID that a guest has chosen against its process. ENOSPC. */
  charge(account: PasidAccount, quota: number): void {
    this.#checkQuota(account, quota);
    this.#charged.set(account, (this.#charged.get(account) ?? 0) + 1);
  }

  /** Takes one charge() back. */
  credit(account: PasidAccount): void {
    const left = (this.#charged.get(account) ?? 0) - 1;
    if (left > 0) this.#charged.set(account, left);
    else this.#charged.delete(account);
  }

  isHeldBy(pasid: number, account: PasidAccount): boolean {
    return this.#holders.get(pasid)?.account === account;
  }

  /** A PASID is bound somewhere: `unbind` is called when it is freed. Returns how to end that. */
  whenFreed(pasid: number, unbind: (pasid: number) => void): () => void {
    const set = this.#holders.get(pasid)?.unbind;
    set?.add(unbind);
    return () => void set?.delete(unbind);
  }

  /** The PASIDs of a process in a range, both ends included. */
  heldIn(account: PasidAccount, min: number, max: number): number[] {
    const held = this.#byAccount.get(account) ?? NONE;
    if (max - min >= held.size) return [...held].filter((pasid) => pasid >= min && pasid <= max).sort((a, b) => a - b);
    const found: number[] = [];
    for (let pasid = min; pasid <= max; pasid++) if (held.has(pasid)) found.push(pasid);
    return found;
  }

  /** Those that were allocated through a container. */
  of(owner: DmaOwner): number[] {
    return [...(this.#byOwner.get(owner) ?? NONE)];
  }

  #checkQuota(account: PasidAccount, quota: number): void {
    const held = this.heldBy(account);
    if (held < quota) return;
    fail(
      "ENOSPC",
      `the process has ${held} PASIDs, its quota (vfio_iommu_type1.pasid_quota is ${quota}); free some first`,
    );
  }
}

function addTo<K>(map: Map<K, Set<number>>, key: K, pasid: number): void {
  const set = map.get(key);
  if (set) set.add(pasid);
  else map.set(key, new Set([pasid]));
}

function removeFrom<K>(map: Map<K, Set<number>>, key: K, pasid: number): void {
  const set = map.get(key);
  set?.delete(pasid);
  if (set?.size === 0) map.delete(key);
}
