import { closeSync } from "node:fs";
import { StructView } from "../uapi/struct-view.ts";
import { MESSAGE_ERROR, MESSAGE_NO_REPLY, MESSAGE_REPLY, MESSAGE_TYPE_MASK, MessageHeader } from "./layouts.ts";

/** A message that came. */
export class Message {
  readonly id: number;
  readonly command: number;
  /** An answer. */
  readonly isReply: boolean;
  /** Whoever sent it waits for an answer. */
  readonly wantsReply: boolean;
  /** Of an answer that is a refusal: its errno, or 0 when it says none. */
  readonly refusal: number | undefined;
  /** What is behind the header. */
  readonly body: Buffer;
  readonly #descriptors: (number | undefined)[];

  constructor(bytes: Buffer, descriptors: readonly number[]) {
    const { id, command, flags, error } = MessageHeader.read(new StructView(bytes, true), 0);
    this.id = id;
    this.command = command;
    this.isReply = (flags & MESSAGE_TYPE_MASK) === MESSAGE_REPLY;
    this.wantsReply = !this.isReply && (flags & MESSAGE_NO_REPLY) === 0;
    this.refusal = this.isReply && flags & MESSAGE_ERROR ? error : undefined;
    this.body = bytes.subarray(MessageHeader.size);
    this.#descriptors = [...descriptors];
  }

  /** How many descriptors came along. */
  get descriptorCount(): number {
    return this.#descriptors.length;
  }

  /** One of them, which is the caller's from now on; undefined when there is none, or none any more. */
  takeDescriptor(index: number): number | undefined {
    const fd = this.#descriptors[index];
    if (fd !== undefined) this.#descriptors[index] = undefined;
    return fd;
  }

  /** Closes those that nobody has taken. */
  dispose(): void {
    for (const index of this.#descriptors.keys()) {
      const fd = this.takeDescriptor(index);
      if (fd !== undefined) closeSync(fd);
    }
  }
}

/** A message's bytes. @param error a positive errno: an answer that refuses, which has no body */
export function encodeMessage(
  id: number,
  command: number,
  { reply = false, error = 0 }: { readonly reply?: boolean; readonly error?: number },
  ...parts: readonly Uint8Array[]
): Buffer {
  const size = MessageHeader.size + parts.reduce((sum, { length }) => sum + length, 0);
  const bytes = Buffer.allocUnsafe(size);
  bytes.writeUInt16LE(id, 0);
  bytes.writeUInt16LE(command, 2);
  bytes.writeUInt32LE(size, 4);
  bytes.writeUInt32LE((reply ? MESSAGE_REPLY : 0) | (error === 0 ? 0 : MESSAGE_ERROR), 8);
  bytes.writeUInt32LE(error, 12);
  let at = MessageHeader.size;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
