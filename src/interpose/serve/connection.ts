import { ERRNO } from "../../uapi/errno.ts";
import { close } from "../libc.ts";
import { type Peer, peerOf, receiveSome, sendSome } from "./unix-socket.ts";

/** Descriptors that have come and that no line has taken. */
const DESCRIPTORS_MAX = 4;
/** How soon, in milliseconds, what did not go is sent again. */
const AGAIN_MS = 5;
/** Reads between two other things to do. */
const READS_MAX = 4;
/** How an object begins that is spread over lines, as crun writes it; runc writes one line, as this package does. */
const SPREAD = /^\{\s/;

/** Who hears what a client says. */
export interface ConnectionEvents {
  /** A line came. Throws ClientError to end the connection. */
  line(text: string): void;
  /** So much of a line has come, with a descriptor. Returns whether that was all of a message that has no end. */
  begun(text: string): boolean;
  /** What is to be sent has become more, or less. Bytes. */
  backlog(length: number): void;
  /** Something failed that should not. The connection ends. */
  broken(error: unknown): void;
  /** It is over. */
  closed(): void;
}

/** What a client says or does cannot be. */
export class ClientError extends Error {}

/**
 * The server's end of a socket: lines come and go, nothing waits. What cannot be sent now is kept; who sends much is to
 * look at its length.
 */
export class Connection {
  readonly fd: number;
  readonly peer: Peer;
  readonly #events: ConnectionEvents;
  readonly #longest: number;
  readonly #descriptors: number[] = [];
  /** What has come of a line. */
  #pieces: Buffer[] = [];
  #length = 0;
  /** What comes is one object, whose lines mean nothing. */
  #isSpread = false;
  #backlog: Buffer[] = [];
  #backlogLength = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param longest bytes of a line that are taken */
  constructor(fd: number, longest: number, events: ConnectionEvents) {
    this.fd = fd;
    this.peer = peerOf(fd);
    this.#longest = longest;
    this.#events = events;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The next descriptor that came; it is the taker's. ClientError when there is none. */
  takeDescriptor(): number {
    const fd = this.#descriptors.shift();
    if (fd === undefined) throw new ClientError("a descriptor is missing");
    return fd;
  }

  /** Takes what has come. */
  read(): void {
    try {
      for (let n = 0; n < READS_MAX && !this.#isClosed; n++) if (!this.#readOnce()) return;
    } catch (error) {
      // whatever it is, it is about this client, and nobody else is to feel it
      if (!(error instanceof ClientError)) this.#events.broken(error);
      this.send({ refused: error instanceof ClientError ? error.message : "uvfio serve cannot make sense of it" });
      this.close();
    }
  }

  #readOnce(): boolean {
    const received = receiveSome(this.fd);
    if (typeof received === "number") {
      if (received === -ERRNO.EAGAIN) return false;
      this.close();
      return false;
    }
    for (const fd of received.descriptors) {
      if (this.#descriptors.length < DESCRIPTORS_MAX) this.#descriptors.push(fd);
      else close(fd);
    }
    if (received.bytes.length === 0) {
      this.close();
      return false;
    }
    if (this.#length === 0 && SPREAD.test(received.bytes.toString("latin1", 0, 3))) this.#isSpread = true;
    let from = 0;
    const nextLine = () => (this.#isSpread ? -1 : received.bytes.indexOf(10, from));
    for (let end = nextLine(); end >= 0 && !this.#isClosed; end = nextLine()) {
      this.#keep(received.bytes.subarray(from, end));
      this.#events.line(this.#takePieces());
      from = end + 1;
    }
    this.#keep(received.bytes.subarray(from));
    if (
      this.#length > 0 &&
      this.#descriptors.length > 0 &&
      this.#events.begun(Buffer.concat(this.#pieces).toString())
    ) {
      this.#takePieces();
      this.#isSpread = false;
    }
    return true;
  }

  #keep(piece: Buffer): void {
    this.#length += piece.length;
    if (this.#length > this.#longest) throw new ClientError(`a line is longer than ${this.#longest} bytes`);
    if (piece.length > 0) this.#pieces.push(piece);
  }

  #takePieces(): string {
    const text = Buffer.concat(this.#pieces).toString("utf8");
    this.#pieces = [];
    this.#length = 0;
    return text;
  }

  /** Sends a message as soon as it goes. To a client that is gone it is lost. */
  send(message: object): void {
    if (this.#isClosed) return;
    this.#backlog.push(Buffer.from(`${JSON.stringify(message)}\n`));
    this.#backlogLength += this.#backlog.at(-1)!.length;
    if (this.#timer === undefined) this.#flush();
    this.#events.backlog(this.#backlogLength);
  }

  #flush(): void {
    this.#timer = undefined;
    while (this.#backlog.length > 0) {
      const first = this.#backlog[0]!;
      const sent = sendSome(this.fd, first, undefined);
      if (sent < 0) {
        if (sent === -ERRNO.EAGAIN) this.#timer = setTimeout(this.#goOn, AGAIN_MS);
        // nobody reads: the client is gone, and reading says so
        else this.#drop();
        return;
      }
      this.#backlogLength -= sent;
      if (sent === first.length) this.#backlog.shift();
      else this.#backlog[0] = first.subarray(sent);
    }
  }

  readonly #goOn = () => {
    this.#flush();
    this.#events.backlog(this.#backlogLength);
  };

  #drop(): void {
    this.#backlog = [];
    this.#backlogLength = 0;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#drop();
    this.#events.closed();
    for (const fd of this.#descriptors.splice(0)) close(fd);
    close(this.fd);
  }
}
