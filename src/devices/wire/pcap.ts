import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import type { Wire } from "./wire.ts";

/** A file that cannot be a capture; the message says why in a line. */
export class CaptureError extends Error {
  override readonly name = "CaptureError";
}

/** Header of a file: magic number by byte order and unit of time, version, longest packet, link type. */
const HEADER = 24;
const RECORD = 16;
const MICROSECONDS = 0xa1b2_c3d4;
const NANOSECONDS = 0xa1b2_3c4d;
const ETHERNET = 1;
const SNAPLEN = 262_144;

/** Writes the frames that a port sends to a capture file (pcap 2.4), as they go. */
export class CaptureFile implements Wire {
  readonly #fd: number;
  readonly #now: () => number;

  /**
   * Throws CaptureError.
   * @param now milliseconds
   */
  constructor(path: string, now: () => number) {
    this.#fd = open(path);
    this.#now = now;
    const header = Buffer.alloc(HEADER);
    header.writeUInt32LE(MICROSECONDS, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(SNAPLEN, 16);
    header.writeUInt32LE(ETHERNET, 20);
    writeSync(this.#fd, header);
  }

  send(frame: Uint8Array): void {
    const microseconds = Math.floor(this.#now() * 1000);
    const record = Buffer.alloc(RECORD + frame.length);
    record.writeUInt32LE(Math.floor(microseconds / 1e6), 0);
    record.writeUInt32LE(microseconds % 1e6, 4);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    record.set(frame, RECORD);
    writeSync(this.#fd, record);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The frames of a capture file. Throws CaptureError. */
export function readCapture(path: string): readonly Uint8Array[] {
  const bytes = read(path);
  if (bytes.length < HEADER) throw new CaptureError("no pcap file: it is too short");
  const isLittle = [MICROSECONDS, NANOSECONDS].includes(bytes.readUInt32LE(0));
  if (!isLittle && ![MICROSECONDS, NANOSECONDS].includes(bytes.readUInt32BE(0)))
    throw new CaptureError("no pcap file (a pcapng one is made one by: editcap -F pcap OLD NEW)");
  const word = (at: number) => (isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  if ((word(20) & 0xffff) !== ETHERNET) throw new CaptureError("its packets are not of Ethernet");
  const frames: Uint8Array[] = [];
  for (let at = HEADER; at < bytes.length; ) {
    const length = at + RECORD <= bytes.length ? word(at + 8) : Number.POSITIVE_INFINITY;
    if (at + RECORD + length > bytes.length) throw new CaptureError(`it ends in the middle of packet ${frames.length}`);
    frames.push(bytes.subarray(at + RECORD, at + RECORD + length));
    at += RECORD + length;
  }
  return frames;
}

function open(path: string): number {
  try {
    return openSync(path, "w");
  } catch (error) {
    throw new CaptureError(`cannot be written: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CaptureError(`cannot be read: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
}
