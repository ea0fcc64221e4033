import type { Memory } from "../../gigabit/memory.ts";
import * as offloads from "../../gigabit/offloads.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import { Ring } from "../../gigabit/ring.ts";
import {
  type Collected,
  type Command,
  DD,
  DEXT,
  nothingCollected,
  RS,
  TransmitQueue,
  VLE,
} from "../../gigabit/transmit-queue.ts";
import { Causes } from "./causes.ts";
import type { PoolStatistics } from "./pool-statistics.ts";
import * as reg from "./registers.ts";

/** Command bits in the third word of a descriptor (82576 datasheet, 7.2.2). */
const LEGACY_IC = 1 << 26;
const TSE = 1 << 31;
const TYPE = 0xf << 20;
const TYPE_CONTEXT = 2 << 20;
const TYPE_DATA = 3 << 20;
/** Time stamp this packet. */
const TSTAMP = 1 << 19;
/** Options in the fourth word. */
const IXSM = 1 << 8;
const TXSM = 1 << 9;

/** A transmit context: what context descriptors say (7.2.2.2). */
interface Context {
  readonly vlanMacipLens: number;
  readonly mssL4Len: number;
}

/** What comes out of the sending side. */
export interface TransmitOutputs {
  memory(queue: number): Memory;
  send(frame: Uint8Array): void;
  /** A packet that asks for it is being sent now. */
  stamp(): void;
}

/** What is collected of a packet, and the contexts that were given. Plain data: it is saved. */
export interface TransmitState extends Collected {
  readonly contexts: Context[];
}

function noTransmission(): TransmitState {
  const none = { vlanMacipLens: 0, mssL4Len: 0 };
  return { contexts: [none, none], ...nothingCollected() };
}

/** One of the 82576's sending queues. */
export class IgbTransmitQueue extends TransmitQueue<TransmitState> {
  state = noTransmission();
  readonly #file: RegisterFile;
  readonly #statistics: PoolStatistics;
  readonly #causes: Causes;
  readonly #outputs: TransmitOutputs;
  readonly #queue: number;
  readonly #status = new Uint8Array(8);
  /** Causes of EICR for descriptors that were written back. */
  #reported = 0;

  constructor(
    queue: number,
    about: { file: RegisterFile; statistics: PoolStatistics; causes: Causes; outputs: TransmitOutputs },
  ) {
    super(new Ring(about.file, reg.TX_QUEUES + queue * reg.QUEUE_STRIDE), (frame) => about.outputs.send(frame));
    this.#queue = queue;
    this.#file = about.file;
    this.#statistics = about.statistics;
    this.#causes = about.causes;
    this.#outputs = about.outputs;
  }

  protected override initialState(): TransmitState {
    this.#reported = 0;
    return noTransmission();
  }

  override get isReady(): boolean {
    if (!this.#file.has(reg.TCTL, reg.TCTL_EN) || !(this.ring.get(reg.DCTL) & reg.DCTL_ENABLE)) return false;
    if (this.#pool !== undefined && !this.#file.has(reg.VFTE, 1 << this.#pool)) return false;
    return !this.ring.isEmpty;
  }

  protected override get memory(): Memory {
    return this.#outputs.memory(this.#queue);
  }

  get #pool(): number | undefined {
    return this.#file.has(reg.MRQC, reg.MRQC_VMDQ) ? this.#queue % reg.POOLS : undefined;
  }

  /** Tells of what was written back, once for all that is done in one go. */
  protected override report(): void {
    if (this.#reported === 0) return;
    const reported = this.#reported;
    this.#reported = 0;
    this.#causes.raiseExtended(reported);
    this.#causes.raise(reg.ICR_TXDW);
  }

  /** A status in the descriptor, or the head where TDWBAL says (7.2.3). */
  protected override writeBack(memory: Memory, at: bigint, command: number): void {
    if (!(command & RS)) return;
    const low = this.ring.get(reg.WBAL);
    const status = new DataView(this.#status.buffer);
    if (low & 1) {
      status.setUint32(0, this.ring.head, true);
      const where = (BigInt(this.ring.get(reg.WBAH)) << 32n) | BigInt((low & ~3) >>> 0);
      memory.write(where, this.#status.subarray(0, 4));
    } else {
      status.setUint32(0, command, true);
      status.setUint32(4, this.view.getUint32(12, true) | DD, true);
      memory.write(at + 8n, this.#status);
    }
    const entry = this.#file.get(reg.IVAR + 4 * (this.#queue & 7)) >>> (this.#queue < 8 ? 8 : 24);
    this.#reported |= Causes.bitOf(entry & 0xff);
  }

  protected override takeOther(command: number, options: number): boolean {
    if (!(command & DEXT) || (command & TYPE) === TYPE_DATA) return false;
    if ((command & TYPE) === TYPE_CONTEXT)
      this.state.contexts[(options >>> 4) & 1] = {
        vlanMacipLens: this.view.getUint32(0, true),
        mssL4Len: options,
      };
    return true;
  }

  /** A legacy packet's options are in its last descriptor (7.2.2.1). */
  protected override send(bytes: Uint8Array, first: Command, last: Command): void {
    const { command, options } = last.command & DEXT ? first : last;
    const context = this.state.contexts[(options >>> 4) & 1]!;
    const isAdvanced = (command & DEXT) !== 0;
    if (!isAdvanced && command & LEGACY_IC) offloads.fillSum(bytes, (options >>> 8) & 0xff, (command >>> 16) & 0xff);
    const tag = this.#tag(command & VLE ? (isAdvanced ? context.vlanMacipLens >>> 16 : options >>> 16) : undefined);
    const frame = tag === undefined ? bytes : offloads.withTag(bytes, this.#file.get(reg.VET) & 0xffff, tag);
    const { length } = frame;
    if (isAdvanced && command & TSTAMP) this.#outputs.stamp();
    if (isAdvanced && command & TSE) {
      this.sendAll(offloads.segments(frame, context.mssL4Len >>> 16));
      this.#statistics.segmented();
    } else {
      if (isAdvanced) offloads.fillChecksums(frame, { network: !!(options & IXSM), transport: !!(options & TXSM) });
      this.sendNow(frame);
    }
    this.#statistics.sent(frame, length, this.#pool);
  }

  /** The tag that a packet gets: a pool may have one for all of its packets, or none (8.14.25, VMVIR). */
  #tag(wanted: number | undefined): number | undefined {
    const pool = this.#pool;
    if (pool === undefined) return wanted;
    const rule = this.#file.get(reg.VMVIR + 4 * pool);
    if (rule & reg.VMVIR_DEFAULT) return rule & 0xffff;
    return rule & reg.VMVIR_NEVER ? undefined : wanted;
  }
}
