import * as frames from "../../gigabit/frame.ts";
import type { Memory } from "../../gigabit/memory.ts";
import * as offloads from "../../gigabit/offloads.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import { Ring } from "../../gigabit/ring.ts";
import type { Statistics } from "../../gigabit/statistics.ts";
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
import type { Causes } from "./causes.ts";
import * as reg from "./registers.ts";

/** Command bits in the third word of a descriptor (82574 datasheet, 7.2.10 and 7.2.11). */
const DATA = 1 << 20;
const IC = 1 << 26;
const TSE = 1 << 26;
const IDE = 1 << 31;
/** Options in the fourth word. */
const IXSM = 1 << 8;
const TXSM = 1 << 9;
/** Where the fourth word is. */
const STATUS = 12n;

/** What a context descriptor says (7.2.11.2): its words. */
type Context = readonly [network: number, transport: number, command: number, segments: number];

/** What is collected of a packet, and the context that was given. Plain data: it is saved. */
export interface TransmitState extends Collected {
  context: Context;
}

/** What the queues share. */
interface Around {
  readonly file: RegisterFile;
  readonly statistics: Statistics;
  readonly causes: Causes;
  readonly memory: Memory;
  readonly usesMsix: () => boolean;
  readonly send: (frame: Uint8Array) => void;
}

/** One of the 82574's sending queues. */
export class E1000eTransmitQueue extends TransmitQueue<TransmitState> {
  state = noTransmission();
  protected readonly memory: Memory;
  readonly #around: Around;
  readonly #cause: number;
  readonly #status = new Uint8Array(4);
  /** Causes that are to be told, and whether they may be told later. */
  #reported = 0;
  #mayWait = false;

  constructor(queue: number, around: Around) {
    super(new Ring(around.file, reg.TX_QUEUES + queue * reg.QUEUE_STRIDE), around.send);
    this.#around = around;
    this.memory = around.memory;
    this.#cause = queue === 0 ? reg.ICR_TXQ0 : reg.ICR_TXQ1;
  }

  protected override initialState(): TransmitState {
    this.#reported = 0;
    this.#mayWait = false;
    return noTransmission();
  }

  override get isReady(): boolean {
    const isOn = this.#around.file.has(reg.TCTL, reg.TCTL_EN) && (this.ring.get(reg.TARC) & reg.TARC_ENABLE) !== 0;
    return isOn && !this.ring.isEmpty;
  }

  protected override report(): void {
    if (this.#reported === 0) return;
    const [reported, mayWait] = [this.#reported, this.#mayWait];
    this.#reported = 0;
    this.#mayWait = false;
    this.#around.causes.sent(reported | reg.ICR_TXQE, mayWait);
  }

  protected override writeBack(memory: Memory, at: bigint, command: number): void {
    const { file, usesMsix } = this.#around;
    this.#reported |= reg.ICR_TXQE;
    if (!(command & RS) && !file.has(reg.IVAR, reg.IVAR_EVERY_WRITEBACK)) return;
    new DataView(this.#status.buffer).setUint32(0, this.view.getUint32(12, true) | DD, true);
    memory.write(at + STATUS, this.#status);
    this.#reported |= usesMsix() ? this.#cause : reg.ICR_TXDW;
    this.#mayWait = (command & IDE) !== 0;
  }

  protected override takeOther(command: number, options: number): boolean {
    if (!(command & DEXT) || command & DATA) return false;
    this.state.context = [this.view.getUint32(0, true), this.view.getUint32(4, true), command, options];
    return true;
  }

  /** The first descriptor tells of checksums and segments, the last one of a tag; a legacy last one tells of all. */
  protected override send(bytes: Uint8Array, first: Command, last: Command): void {
    const { file, statistics } = this.#around;
    const [, , contextCommand, segments] = this.state.context;
    const isData = (first.command & DEXT) !== 0;
    const isCut = isData && (first.command & TSE & contextCommand) !== 0;
    if (isData && !isCut) this.#fillSums(bytes, first.options);
    if (!isData && last.command & IC)
      offloads.fillSum(bytes, (last.options >>> 8) & 0xff, (last.command >>> 16) & 0xff);
    const hasTag = last.command & VLE && file.has(reg.CTRL, reg.CTRL_VME);
    const frame = hasTag ? offloads.withTag(bytes, file.get(reg.VET), last.options >>> 16) : bytes;
    if (isCut) {
      this.sendAll(offloads.segments(frame, segments >>> 16));
      statistics.segmented();
    } else this.sendNow(frame);
    statistics.sent(frame, frame.length);
  }

  /** The sums that were asked for: those of TCP and UDP as a whole, others of what the context says. */
  #fillSums(bytes: Uint8Array, options: number): void {
    const [network, transport] = this.state.context;
    const parsed = frames.parse(bytes);
    if (options & TXSM && frames.checksumAt(parsed) === ((transport >>> 8) & 0xff))
      frames.fillTransportChecksum(bytes, parsed);
    else if (options & TXSM) fillFrom(bytes, transport);
    if (options & IXSM && parsed.version === 4) frames.fillIpv4Checksum(bytes, parsed);
    else if (options & IXSM) fillFrom(bytes, network);
  }
}

function noTransmission(): TransmitState {
  return { context: [0, 0, 0, 0], ...nothingCollected() };
}

/** Start, place and last byte (0: the frame's) of a sum. */
function fillFrom(bytes: Uint8Array, setup: number): void {
  const last = setup >>> 16;
  offloads.fillSum(bytes, setup & 0xff, (setup >>> 8) & 0xff, last === 0 ? bytes.length : last + 1);
}
