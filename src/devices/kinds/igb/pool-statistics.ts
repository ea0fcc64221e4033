import { FCS, isBroadcast, isMulticast } from "../../gigabit/frame.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import { Statistics } from "../../gigabit/statistics.ts";
import * as reg from "./registers.ts";

/** What a port counts, and what each pool does where pools are on (82576 datasheet, 8.26). */
export class PoolStatistics extends Statistics {
  readonly #pools: RegisterFile;

  constructor(file: RegisterFile) {
    super(file);
    this.#pools = file;
  }

  /** @param pool whose queue the frame was in */
  override sent(frame: Uint8Array, length: number, pool?: number): void {
    super.sent(frame, length);
    if (pool === undefined) return;
    this.#add(pool, reg.PVFGOTC, length + FCS);
    this.#add(pool, reg.PVFGPTC, 1);
  }

  /** @param pool whose queue the frame is in */
  override received(frame: Uint8Array, length: number, total: number, pool?: number): void {
    super.received(frame, length, total);
    if (pool === undefined) return;
    this.#add(pool, reg.PVFGORC, length + FCS);
    this.#add(pool, reg.PVFGPRC, 1);
    if (isMulticast(frame) && !isBroadcast(frame)) this.#add(pool, reg.PVFMPRC, 1);
  }

  /** Those of virtual functions go round. */
  #add(pool: number, register: number, count: number): void {
    const offset = reg.PVT + pool * reg.PVT_STRIDE + register;
    this.#pools.set(offset, this.#pools.get(offset) + count);
  }
}
