import type { LentDevice } from "../host/host.ts";
import { KernelError } from "../kernel/errors.ts";
import type { Release } from "../kernel/releases.ts";
import { ERRNO } from "../uapi/errno.ts";
import { commandName, VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE, VFIO_USER_VERSION } from "../vfio-user/commands.ts";
import { Connection } from "../vfio-user/connection.ts";
import { DEFAULT_TRANSFER, DmaAccessBody } from "../vfio-user/layouts.ts";
import type { Message } from "../vfio-user/message.ts";
import { HeaderError, PeerError, PeerSilence } from "../vfio-user/peer-error.ts";
import { type Abilities, decodeVersion, encodeVersion, MAJOR } from "../vfio-user/version.ts";
import { ClientDevice } from "./client-device.ts";
import { MOST_REGIONS } from "./client-memory.ts";
import { answer } from "./client-requests.ts";

const OURS: Abilities = {
  // QEMU refuses a server that takes more
  maxMessageFds: 16,
  maxTransfer: DEFAULT_TRANSFER,
  maxDmaMaps: MOST_REGIONS,
  writeMultiple: true,
  migration: false,
};

/** Who hears what becomes of a client's requests. */
export interface SessionListener {
  /** A request that failed: the command, the errno, why. */
  failed(command: string, errno: string, reason: string): void;
  /** What a person should know. */
  noticed(message: string): void;
  /** Something of the server itself is wrong. */
  broken(message: string, error: unknown): void;
}

/** One client, from its connection to its end. */
export class ClientSession {
  readonly #connection: Connection;
  readonly #listener: SessionListener;
  readonly #open: () => ClientDevice;
  #device: ClientDevice | undefined;
  #abilities: Abilities | undefined;
  #end: PeerError | undefined;
  #answersDma = true;

  /** @param patience how long the client has to answer, in milliseconds */
  constructor(fd: number, lent: LentDevice, release: Release, patience: number, listener: SessionListener) {
    this.#connection = new Connection(fd, { patience, mostDescriptors: OURS.maxMessageFds });
    this.#listener = listener;
    const byMessage = {
      read: (address: bigint, into: Uint8Array) => this.#readByMessage(address, into),
      write: (address: bigint, from: Uint8Array) => this.#writeByMessage(address, from),
    };
    this.#open = () => new ClientDevice(lent, release, byMessage);
  }

  get fd(): number {
    return this.#connection.fd;
  }

  /** Whether it has said which protocol it speaks. */
  get isGreeted(): boolean {
    return this.#device !== undefined;
  }

  /** Whether it has asked for more than was answered. */
  get hasMore(): boolean {
    return this.#connection.hasMore;
  }

  /** The end of it, which came while the device did something. */
  get end(): PeerError | undefined {
    return this.#end;
  }

  /** Takes what has come, and answers the first of what is asked. @throws PeerError when that is the end of it */
  go(): void {
    if (!this.#connection.hasMore) this.#hear();
    const message = this.#connection.next();
    if (!message) return;
    try {
      if (this.#device) this.#answer(this.#device, message);
      else this.#greet(message);
    } finally {
      message.dispose();
    }
  }

  /** What is no message is answered like one before it is the end. */
  #hear(): void {
    try {
      this.#connection.hear();
    } catch (error) {
      if (error instanceof HeaderError) this.#connection.refuseHeader(error, ERRNO.EINVAL);
      throw error;
    }
  }

  close(): void {
    this.#connection.close();
    this.#device?.close();
  }

  #greet(message: Message): void {
    if (message.command !== VFIO_USER_VERSION) {
      this.#connection.refuse(message, ERRNO.EINVAL);
      throw new PeerError(`it begins with ${commandName(message.command)}, and not with VERSION`);
    }
    try {
      const { major, abilities } = decodeVersion(message.body);
      if (major !== MAJOR) throw new PeerError(`it speaks version ${major} of the protocol, this is version ${MAJOR}`);
      if (message.descriptorCount > 0) throw new PeerError("descriptors came with its VERSION");
      this.#abilities = abilities;
    } catch (error) {
      if (error instanceof PeerError) this.#connection.refuse(message, ERRNO.EINVAL);
      throw error;
    }
    this.#device = this.#open();
    this.#device.maxTransfer = this.#abilities.maxTransfer;
    this.#connection.reply(message, [encodeVersion({ ...OURS, migration: this.#device.canMigrate })]);
  }

  #answer(device: ClientDevice, message: Message): void {
    try {
      const { parts, descriptors } = answer(device, message);
      this.#connection.reply(message, parts, descriptors);
    } catch (error) {
      if (error instanceof PeerError) throw error;
      const name = commandName(message.command);
      if (error instanceof KernelError) this.#listener.failed(name, error.code, error.reason);
      else this.#listener.broken(`internal error in ${name}: ${String(error)}`, error);
      this.#connection.refuse(message, error instanceof KernelError ? error.errno : ERRNO.EIO);
    }
  }

  #readByMessage(address: bigint, into: Uint8Array): boolean {
    return this.#inPieces(into, (at, piece) => {
      const place = address + BigInt(at);
      const head = DmaAccessBody.encode({ address: place, count: BigInt(piece.length) });
      const reply = this.#ask(VFIO_USER_DMA_READ, [head]);
      if (reply.refusal !== undefined) return false;
      this.#check(reply, place, piece.length, DmaAccessBody.size + piece.length);
      piece.set(reply.body.subarray(DmaAccessBody.size));
      return true;
    });
  }

  #writeByMessage(address: bigint, from: Uint8Array): boolean {
    return this.#inPieces(from, (at, piece) => {
      const place = address + BigInt(at);
      const head = DmaAccessBody.encode({ address: place, count: BigInt(piece.length) });
      const reply = this.#ask(VFIO_USER_DMA_WRITE, [head, piece]);
      if (reply.refusal !== undefined) return false;
      this.#check(reply, place, piece.length, DmaAccessBody.size);
      return true;
    });
  }

  /** A model does not hear of what is wrong with the client: its access faults, and the session is over behind it. */
  #inPieces(bytes: Uint8Array, move: (at: number, piece: Uint8Array) => boolean): boolean {
    if (!this.#connection.isOpen || this.#end || !this.#answersDma) return false;
    const most = this.#abilities?.maxTransfer ?? DEFAULT_TRANSFER;
    try {
      for (let at = 0; at < bytes.length; at += most) if (!move(at, bytes.subarray(at, at + most))) return false;
      return true;
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      if (error instanceof PeerSilence) this.#noDma(error);
      else this.#end = error;
      return false;
    }
  }

  /** QEMU up to 11 answers no such message. */
  #noDma({ message }: PeerSilence): void {
    this.#answersDma = false;
    this.#listener.noticed(
      `the client does not answer DMA messages (${message}): only memory that it shares is reached from now on (QEMU: -object memory-backend-memfd,share=on)`,
    );
  }

  #ask(command: number, parts: readonly Uint8Array[]): Message {
    const reply = this.#connection.exchange(command, parts);
    reply.dispose();
    return reply;
  }

  #check({ command, body }: Message, address: bigint, count: number, size: number): void {
    if (body.length < DmaAccessBody.size || body.length !== size)
      throw new PeerError(`its answer to ${commandName(command)} has ${body.length} bytes and not ${size}`);
    const said = DmaAccessBody.decode(body);
    if (said.address !== address || said.count !== BigInt(count))
      throw new PeerError(`its answer to ${commandName(command)} is for another access`);
  }
}
