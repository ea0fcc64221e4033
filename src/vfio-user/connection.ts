import { closeSync } from "node:fs";
import { commandName } from "./commands.ts";
import { DEFAULT_TRANSFER, MESSAGE_REPLY, MESSAGE_TYPE_MASK, MessageHeader, RegionAccessBody } from "./layouts.ts";
import { encodeMessage, Message } from "./message.ts";
import { HeaderError, PeerError } from "./peer-error.ts";
import { POLLIN, POLLOUT, receive, send } from "./sockets.ts";
import { Wait } from "./wait.ts";

/** The largest message that is taken: the most data, and the two headers before it. */
const MOST_BYTES = DEFAULT_TRANSFER + MessageHeader.size + RegionAccessBody.size;
/** Messages that may wait to be looked at, and their bytes: whoever sends more does not wait for answers. */
const MOST_WAITING = 1024;
const MOST_WAITING_BYTES = 8 * MOST_BYTES;

/** How a connection treats its peer. */
export interface Manners {
  /** How long an answer is waited for, or room to send, in milliseconds. */
  readonly patience: number;
  /** Descriptors that are taken with one message. */
  readonly mostDescriptors: number;
}

/** What the peer was asked and has yet to answer. */
export interface Question {
  readonly id: number;
  readonly command: number;
  readonly wait: Wait;
  reply: Message | undefined;
}

/**
 * One end of a connection. Messages are taken as they come; an exchange waits for its answer in this thread, no longer
 * than the patience, and what the peer asks meanwhile is answered or kept. Whatever throws a PeerError has ended it.
 */
export class Connection {
  readonly fd: number;
  readonly #manners: Manners;
  #partial: Buffer = Buffer.alloc(0);
  #partialDescriptors: number[] = [];
  readonly #waiting: Message[] = [];
  #waitingBytes = 0;
  /** By the numbers of their messages. A peer that is asked several things may answer in any order. */
  readonly #asked = new Map<number, Question>();
  #nextId = 1;
  #isOpen = true;

  /** @param fd a socket that does not wait; closed with the connection */
  constructor(fd: number, manners: Manners) {
    this.fd = fd;
    this.#manners = manners;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Takes what has come, without waiting. @throws PeerError */
  hear(): void {
    const received = receive(this.fd);
    if (!received) return;
    const fresh = [...received.descriptors];
    try {
      this.#join(received.bytes, fresh);
    } finally {
      // nobody has got them when something was wrong
      for (const fd of fresh) closeSync(fd);
    }
  }

  /** @param fresh descriptors that came with the bytes: taken out of the list by the message that they belong to */
  #join(bytes: Buffer, fresh: number[]): void {
    const all = this.#partial.length === 0 ? bytes : Buffer.concat([this.#partial, bytes]);
    const starts = messageStarts(all);
    const end = starts.at(-1)!;
    if (this.#partialDescriptors.length + fresh.length > this.#manners.mostDescriptors)
      throw new PeerError(
        `${fresh.length} descriptors came with a message, more than the ${this.#manners.mostDescriptors} that were agreed on`,
      );
    // they belong to the last message that begins in what has just come
    const owner = starts.findLast((start) => start >= all.length - bytes.length && start < all.length) ?? 0;
    for (const [i, start] of starts.slice(0, -1).entries()) {
      const kept = i === 0 ? this.#partialDescriptors.splice(0) : [];
      const own = start === owner ? fresh.splice(0) : [];
      this.#sort(new Message(all.subarray(start, starts[i + 1]), [...kept, ...own]));
    }
    this.#partial = all.subarray(end);
    this.#partialDescriptors.push(...fresh.splice(0));
  }

  /** The next thing that the peer asks for, of what has come. The caller answers and disposes of it. */
  next(): Message | undefined {
    const message = this.#waiting.shift();
    if (message) this.#waitingBytes -= message.body.length;
    return message;
  }

  /** Whether next() has something. */
  get hasMore(): boolean {
    return this.#waiting.length > 0;
  }

  /** Answers a message, unless nobody waits for that. @throws PeerError */
  reply(to: Message, parts: readonly Uint8Array[] = [], descriptors: readonly number[] = []): void {
    if (to.wantsReply) this.#send(encodeMessage(to.id, to.command, { reply: true }, ...parts), descriptors);
  }

  /** Answers with an error. @param errno positive */
  refuse(to: Message, errno: number): void {
    if (to.wantsReply) this.#send(encodeMessage(to.id, to.command, { reply: true, error: errno }), []);
  }

  /** The same for a message that is none. */
  refuseHeader({ id, command }: HeaderError, errno: number): void {
    this.#send(encodeMessage(id, command, { reply: true, error: errno }), []);
  }

  /**
   * Asks for something, and waits for the answer. The caller disposes of it.
   * @param serve answers what the peer asks meanwhile; without it that is kept for next()
   * @throws PeerError for an answer that does not come in time
   */
  exchange(
    command: number,
    parts: readonly Uint8Array[],
    descriptors: readonly number[] = [],
    serve?: (message: Message) => void,
  ): Message {
    const question = this.ask(command, parts, descriptors);
    try {
      for (;;) {
        const reply = this.answer(question, Number.POSITIVE_INFINITY, serve);
        if (reply) return reply;
      }
    } finally {
      this.#asked.delete(question.id);
    }
  }

  /** Asks for something whose answer is looked for later. @throws PeerError */
  ask(command: number, parts: readonly Uint8Array[], descriptors: readonly number[] = []): Question {
    const question = { id: this.#freeId(), command, wait: this.#wait(commandName(command)), reply: undefined };
    this.#asked.set(question.id, question);
    this.#send(encodeMessage(question.id, command, {}, ...parts), descriptors);
    return question;
  }

  /**
   * Looks for an answer, for so many milliseconds at most. The caller disposes of it.
   * @param serve as in exchange()
   * @returns undefined when it has not come yet
   * @throws PeerError when the time that it may take is over
   */
  answer(question: Question, milliseconds: number, serve?: (message: Message) => void): Message | undefined {
    this.hear();
    for (let asked = serve && this.next(); asked && serve; asked = this.next()) {
      serve(asked);
      this.isAtWork();
    }
    if (!question.reply && question.wait.for(this.fd, POLLIN, milliseconds) !== 0) this.hear();
    const { reply } = question;
    if (reply) this.#asked.delete(question.id);
    return reply;
  }

  /** The peer goes on asking, so that its answers may take longer. */
  isAtWork(): void {
    for (const { wait } of this.#asked.values()) wait.goesOn();
  }

  /** Ends it; a second time does nothing. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const fd of this.#partialDescriptors.splice(0)) closeSync(fd);
    for (const message of this.#waiting.splice(0)) message.dispose();
    for (const { reply } of this.#asked.values()) reply?.dispose();
    this.#asked.clear();
    closeSync(this.fd);
  }

  #freeId(): number {
    while (this.#asked.has(this.#nextId)) this.#nextId = (this.#nextId % 0xffff) + 1;
    const id = this.#nextId;
    this.#nextId = (id % 0xffff) + 1;
    return id;
  }

  #wait(command: string): Wait {
    return new Wait(`answer to ${command}`, this.#manners.patience);
  }

  #send(bytes: Uint8Array, descriptors: readonly number[]): void {
    let wait: Wait | undefined;
    for (let done = 0; done < bytes.length; ) {
      const sent = send(this.fd, done === 0 ? bytes : bytes.subarray(done), done === 0 ? descriptors : []);
      done += sent;
      if (sent > 0) continue;
      // both may be sending: what comes is taken, so that the peer can go on
      wait ??= new Wait("room to send", this.#manners.patience);
      if (wait.for(this.fd, POLLIN | POLLOUT) & POLLIN) this.hear();
    }
  }

  #sort(message: Message): void {
    if (!message.isReply) {
      this.#waiting.push(message);
      this.#waitingBytes += message.body.length;
      if (this.#waiting.length <= MOST_WAITING && this.#waitingBytes <= MOST_WAITING_BYTES) return;
      throw new PeerError(`it has sent ${this.#waiting.length} messages without waiting for an answer`);
    }
    const question = this.#asked.get(message.id);
    if (!question || message.command !== question.command || question.reply) {
      message.dispose();
      throw new PeerError(`it answered ${commandName(message.command)} (message ${message.id}), which was not asked`);
    }
    question.reply = message;
  }
}

/** Where messages begin in what has come, and where what is not yet whole begins, or nothing. */
function messageStarts(bytes: Buffer): number[] {
  const starts = [0];
  for (let at = 0; at + MessageHeader.size <= bytes.length; ) {
    const size = checkSize(bytes, at);
    if (at + size > bytes.length) break;
    at += size;
    starts.push(at);
  }
  return starts;
}

/** @throws PeerError for what is no header */
function checkSize(bytes: Buffer, at: number): number {
  const size = bytes.readUInt32LE(at + 4);
  const type = bytes.readUInt32LE(at + 8) & MESSAGE_TYPE_MASK;
  if (size < MessageHeader.size || size > MOST_BYTES)
    throw new HeaderError(
      `a message of it says that it has ${size} bytes (${MessageHeader.size} to ${MOST_BYTES} are possible)`,
      bytes.readUInt16LE(at),
      bytes.readUInt16LE(at + 2),
    );
  if (type > MESSAGE_REPLY) throw new PeerError(`a message of it is of type ${type}, neither a command nor an answer`);
  return size;
}
