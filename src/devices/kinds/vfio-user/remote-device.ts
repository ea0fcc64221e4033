import { printable } from "../../../kernel/printable.ts";
import { errnoName } from "../../../uapi/errno.ts";
import { StructView } from "../../../uapi/struct-view.ts";
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_NUM_REGIONS,
  VfioIrqInfo,
  VfioRegionInfo,
} from "../../../uapi/vfio-device.ts";
import * as command from "../../../vfio-user/commands.ts";
import type { Connection, Question } from "../../../vfio-user/connection.ts";
import * as layout from "../../../vfio-user/layouts.ts";
import type { Message } from "../../../vfio-user/message.ts";
import { PeerError, PeerGone } from "../../../vfio-user/peer-error.ts";
import { type Abilities, decodeVersion, encodeVersion, MAJOR, type Version } from "../../../vfio-user/version.ts";
import type { PciBar, PciIdentity } from "../../description.ts";
import { remoteBars } from "./remote-bars.ts";
import { RemoteWindow } from "./remote-window.ts";

/** What a program takes in one message here. QEMU's limit, and more than any reply has. */
const OURS: Abilities = {
  maxMessageFds: 16,
  maxTransfer: layout.DEFAULT_TRANSFER,
  maxDmaMaps: 65535,
  writeMultiple: false,
  migration: false,
};

/** Bytes of an answer to GET_REGION_INFO: VFIO's structure, and its capabilities. */
const MOST_INFO = 4096;
const CONFIG_SIZES = [4096, 256];

/** An interrupt index of the device (struct vfio_irq_info). */
export interface RemoteIrq {
  readonly flags: number;
  readonly count: number;
}

/** A region of the device. */
export interface RemoteRegion {
  /** Bytes. */
  readonly size: number;
  /** Where its server shares memory of it. */
  readonly window?: RemoteWindow | undefined;
}

/** An access to a region that the server was asked for. */
export interface AskedAccess {
  readonly question: Question;
  readonly region: number;
  readonly offset: number;
  /** Bytes. */
  readonly count: number;
}

/** The server refuses something: the device is there still. */
export class RefusedError extends Error {}

/**
 * A device behind a socket, as its server says that it is. What goes wrong with the server makes it a device that is
 * gone.
 */
export class RemoteDevice {
  readonly socket: string;
  connection: Connection | undefined;
  /** Called before its connection is closed. @param reason unless the host is over */
  onEnd: ((reason: string | undefined) => void) | undefined;
  /** Hears what the server refuses. */
  onRefusal: ((message: string) => void) | undefined;
  /** Answers what the server asks while it is waited for. */
  serve: ((message: Message) => void) | undefined;
  /** Its config space as it was at the start. */
  config: Uint8Array = new Uint8Array(0);
  canReset = false;
  readonly regions: RemoteRegion[] = [];
  readonly irqs: RemoteIrq[] = [];
  /** VFIO_MIGRATION_*: what its device can do; 0 for none. */
  migration = 0;
  /** Descriptors that the server takes with one message, and bytes of data. */
  abilities: Abilities = OURS;
  /** What a person should know of how it was at the start. */
  readonly notes: string[] = [];
  #reason: string | undefined;
  readonly #endings: (() => void)[] = [];

  constructor(socket: string) {
    this.socket = socket;
  }

  /** Why it is gone; undefined as long as it is there. */
  get reason(): string | undefined {
    return this.#reason;
  }

  onClose(ending: () => void): void {
    this.#endings.push(ending);
  }

  /** Ends all of it. */
  close(): void {
    if (this.#reason === undefined) {
      this.#reason = "the host is over";
      this.onEnd?.(undefined);
    }
    this.#closeAll();
    for (const ending of this.#endings.splice(0)) ending();
  }

  /** From now on nobody is asked. The reason is told once. */
  gone(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.onEnd?.(reason);
    this.#closeAll();
  }

  #closeAll(): void {
    this.connection?.close();
    for (const { window } of this.regions) window?.close();
  }

  /** What an action gives; undefined when the device is gone, or goes by it. */
  attempt<T>(action: () => T): T | undefined {
    if (this.#reason !== undefined) return undefined;
    try {
      return action();
    } catch (error) {
      if (!(error instanceof PeerError) && !(error instanceof RefusedError)) throw error;
      this.gone(error.message);
      return undefined;
    }
  }

  /** What an access gives. One that the server refuses is told, and gives nothing. */
  access<T>(action: () => T): T | undefined {
    return this.attempt(() => {
      try {
        return action();
      } catch (error) {
        if (!(error instanceof RefusedError)) throw error;
        this.onRefusal?.(error.message);
        return undefined;
      }
    });
  }

  /** Agrees on the version, and learns what the device is. @throws PeerError, RefusedError */
  open(): void {
    const version = this.#agree();
    if (version.major !== MAJOR)
      throw new PeerError(`it speaks version ${version.major} of the protocol, this is version ${MAJOR}`);
    this.abilities = version.abilities;
    const { size } = layout.DeviceInfoBody;
    const info = layout.DeviceInfoBody.decode(
      this.#body(command.VFIO_USER_DEVICE_GET_INFO, layout.DeviceInfoBody.encode({ argsz: size }), size),
    );
    if (!(info.flags & VFIO_DEVICE_FLAGS_PCI)) throw new PeerError("it serves a device that is not on PCI");
    this.canReset = (info.flags & VFIO_DEVICE_FLAGS_RESET) !== 0;
    for (let index = 0; index < Math.min(info.regions, VFIO_PCI_NUM_REGIONS); index++) this.#learnRegion(index);
    for (let index = 0; index < Math.min(info.irqs, VFIO_PCI_NUM_IRQS); index++) this.#learnIrq(index);
    this.config = this.#readConfig();
  }

  #agree(): Version {
    try {
      return decodeVersion(this.ask(command.VFIO_USER_VERSION, [encodeVersion(OURS)]));
    } catch (error) {
      if (!(error instanceof PeerGone)) throw error;
      throw new PeerError(`${error.message} before it said its version: it may have another client`);
    }
  }

  /** Its BARs, by what its config space and its regions say together. @throws PeerError */
  bars(): readonly PciBar[] {
    return remoteBars(this.config, this.regions);
  }

  /** Reads at most 8 bytes of a region. @throws PeerError, RefusedError */
  read(region: number, offset: number, count: number): Buffer {
    return this.#awaited(this.askAccess(region, offset, count));
  }

  /** @throws PeerError, RefusedError */
  write(region: number, offset: number, bytes: Uint8Array): void {
    this.#awaited(this.askAccess(region, offset, bytes.length, bytes));
  }

  /** Asks for an access; look() has what becomes of it. @param written undefined for a read. @throws PeerError */
  askAccess(region: number, offset: number, count: number, written?: Uint8Array): AskedAccess {
    const head = layout.RegionAccessBody.encode({ offset: BigInt(offset), region, count });
    const question = written
      ? this.begin(command.VFIO_USER_REGION_WRITE, [head, written])
      : this.begin(command.VFIO_USER_REGION_READ, [head]);
    return { question, region, offset, count };
  }

  /** Asks for something; answerTo() has the answer. @throws PeerError */
  begin(number: number, parts: readonly Uint8Array[]): Question {
    return this.#peer().ask(number, parts);
  }

  /**
   * Looks for the body of an answer, for so many milliseconds at most; undefined when it has not come yet.
   * @throws PeerError, RefusedError
   */
  answerTo(question: Question, milliseconds: number): Buffer | undefined {
    const reply = this.#peer().answer(question, milliseconds, this.serve);
    return reply && accepted(reply);
  }

  /**
   * Looks for what was read, or that something was written, for so many milliseconds at most.
   * @returns undefined when the answer has not come yet
   * @throws PeerError, RefusedError
   */
  look(access: AskedAccess, milliseconds: number): Buffer | undefined {
    const { question, region, offset, count } = access;
    const body = this.answerTo(question, milliseconds);
    if (!body || question.command === command.VFIO_USER_REGION_WRITE) return body;
    const { size } = layout.RegionAccessBody;
    checkLength(question.command, body, size + count);
    const said = layout.RegionAccessBody.decode(body);
    if (said.region !== region || said.offset !== BigInt(offset) || said.count !== count)
      throw new PeerError("its answer to REGION_READ is for another access");
    return body.subarray(size);
  }

  #awaited(access: AskedAccess): Buffer {
    for (;;) {
      const found = this.look(access, Number.POSITIVE_INFINITY);
      if (found) return found;
    }
  }

  /** Asks for something. @returns the answer's body. @throws PeerError, RefusedError */
  ask(number: number, parts: readonly Uint8Array[], descriptors: readonly number[] = []): Buffer {
    return accepted(this.#peer().exchange(number, parts, descriptors, this.serve));
  }

  #peer(): Connection {
    if (!this.connection) throw new PeerError("nobody is there");
    return this.connection;
  }

  #body(number: number, body: Uint8Array, least: number): Buffer {
    const answer = this.ask(number, [body]);
    checkLength(number, answer, least);
    return answer;
  }

  #learnRegion(index: number): void {
    const number = command.VFIO_USER_DEVICE_GET_REGION_INFO;
    const reply = this.#optional(() => {
      const question = VfioRegionInfo.encode({ argsz: MOST_INFO, index });
      return checked(this.#peer().exchange(number, [question], [], this.serve));
    });
    try {
      const { body } = reply ?? { body: Buffer.alloc(VfioRegionInfo.size) };
      checkLength(number, body, VfioRegionInfo.size);
      const size = VfioRegionInfo.decode(body).size;
      if (size > 2n ** 40n) throw new PeerError(`its region ${index} has ${size} bytes`);
      const window = RemoteWindow.open(body, reply?.takeDescriptor(0));
      if (typeof window === "string") this.notes.push(`region ${index} cannot be mapped: ${window}`);
      this.regions.push({ size: Number(size), window: typeof window === "string" ? undefined : window });
    } finally {
      reply?.dispose();
    }
  }

  #learnIrq(index: number): void {
    const { size } = VfioIrqInfo;
    const question = VfioIrqInfo.encode({ argsz: size, index });
    const info = this.#optional(() =>
      VfioIrqInfo.decode(this.#body(command.VFIO_USER_DEVICE_GET_IRQ_INFO, question, size)),
    );
    if (info && info.count > 4096) throw new PeerError(`it has ${info.count} interrupts of index ${index}`);
    this.irqs.push({ flags: info?.flags ?? 0, count: info?.count ?? 0 });
  }

  /** What a server refuses to say anything of, it has not got. */
  #optional<T>(question: () => T): T | undefined {
    try {
      return question();
    } catch (error) {
      if (error instanceof RefusedError) return undefined;
      throw error;
    }
  }

  #readConfig(): Uint8Array {
    const has = this.regions[VFIO_PCI_CONFIG_REGION_INDEX]?.size ?? 0;
    const size = CONFIG_SIZES.find((each) => each <= has);
    if (size === undefined) throw new PeerError(`its config space has ${has} bytes`);
    const config = new Uint8Array(size);
    // some servers answer a register at a time only
    for (let at = 0; at < size; at += 4) config.set(this.read(VFIO_PCI_CONFIG_REGION_INDEX, at, 4), at);
    return config;
  }
}

/** The body of an answer. @throws RefusedError for one that refuses */
function accepted(reply: Message): Buffer {
  reply.dispose();
  return checked(reply).body;
}

/** An answer with its descriptors. @throws RefusedError for one that refuses */
function checked(reply: Message): Message {
  if (reply.refusal === undefined) return reply;
  reply.dispose();
  throw new RefusedError(`it refuses ${command.commandName(reply.command)} (${refusal(reply.refusal)})`);
}

function checkLength(number: number, { length }: Buffer, least: number): void {
  if (length < least)
    throw new PeerError(`its answer to ${command.commandName(number)} has ${length} bytes, not ${least}`);
}

function refusal(errno: number): string {
  return errno === 0 ? "it does not say why" : printable(errnoName(errno));
}

/** How it shows itself. */
export function identityOf(config: Uint8Array): PciIdentity {
  const view = new StructView(config, true);
  return {
    vendor: view.u16(0),
    device: view.u16(2),
    revision: view.u8(8),
    class: view.u32(8) >>> 8,
    subsystemVendor: view.u16(0x2c),
    subsystemDevice: view.u16(0x2e),
  };
}
