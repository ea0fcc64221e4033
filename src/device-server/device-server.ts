import { closeSync, lstatSync, rmSync } from "node:fs";
import type { Host, LentDevice } from "../host/host.ts";
import { KernelError } from "../kernel/errors.ts";
import { Release } from "../kernel/releases.ts";
import { PeerError, PeerGone } from "../vfio-user/peer-error.ts";
import {
  accept,
  listenAt,
  newEvent,
  POLLHUP,
  POLLIN,
  PollSet,
  pollOne,
  raiseEvent,
  removeLeft,
  takeEvent,
} from "../vfio-user/sockets.ts";
import { ClientSession, type SessionListener } from "./client-session.ts";

/** How long a client has to answer, and one that has connected to say VERSION, in milliseconds. */
const PATIENCE_MS = 1000;
/** After a message the next one is waited for in this thread for so long, where that is cheapest. */
const SOON_MS = 5;
/** While messages keep coming, the event loop (signals) gets a turn this often. */
const TURN_MS = 10;
/** What devices do between two looks at the client, in milliseconds. */
const SLICE_MS = 1;

/** A socket that cannot be had; the message says why in a line. */
export class ServerError extends Error {
  override readonly name = "ServerError";
}

export interface ServerListener extends SessionListener {
  /** A client was given up, or turned away. */
  ended(message: string): void;
}

/** Serves one device of a host to one client after the other. */
export class DeviceServer {
  readonly #host: Host;
  readonly #lent: LentDevice;
  readonly #path: string;
  readonly #listener: ServerListener;
  readonly #socket: number;
  /** Raised by stop(), and when devices go on with something. */
  readonly #wake = newEvent();
  #isStopped = false;
  #session: ClientSession | undefined;
  /** The two above, and the client's. */
  #set: PollSet;
  /** When the client last asked for something; when the event loop last had its turn. Milliseconds. */
  #heard = 0;
  #turned = 0;
  /** Until when the client may be without VERSION. */
  #greetBy = 0;

  /** Listens from now on. @throws ServerError */
  constructor(host: Host, lent: LentDevice, path: string, listener: ServerListener) {
    this.#host = host;
    this.#lent = lent;
    this.#path = path;
    this.#listener = listener;
    this.#socket = listen(path);
    this.#set = new PollSet([this.#wake, this.#socket]);
  }

  /** Ends serve(). The socket is gone at once: this process may end before serve() goes on. */
  stop(): void {
    this.#isStopped = true;
    rmSync(this.#path, { force: true });
    raiseEvent(this.#wake);
  }

  /** Serves until stop(), while the event loop goes on. Once. */
  async serve(): Promise<void> {
    const { deviceWork } = this.#host;
    deviceWork.inSlices = true;
    deviceWork.resumed = () => raiseEvent(this.#wake);
    try {
      while (!this.#isStopped) {
        const isAny = await this.#wait();
        if (isAny && this.#set.has(this.#wake)) takeEvent(this.#wake);
        if (isAny && this.#set.has(this.#socket)) this.#accept();
        else this.#serveClient(isAny);
        if (deviceWork.isPending) deviceWork.run(SLICE_MS);
      }
    } finally {
      this.#close();
    }
  }

  /** Waits until there is something to look at. @returns whether a descriptor has something */
  async #wait(): Promise<boolean> {
    const session = this.#session;
    if (this.#host.deviceWork.isPending || session?.hasMore || session?.end) {
      await this.#turn();
      return this.#set.wait(0);
    }
    const isSoon = performance.now() - this.#heard < SOON_MS || session?.isGreeted === false;
    if (this.#set.wait(isSoon ? SOON_MS : 0)) {
      await this.#turn();
      return true;
    }
    await this.#turn();
    if (isSoon) return false;
    const isAny = await this.#set.waitAside();
    this.#turned = performance.now();
    return isAny;
  }

  /** The event loop's turn, when it is time for that. */
  async #turn(): Promise<void> {
    if (performance.now() - this.#turned < TURN_MS) return;
    await new Promise(setImmediate);
    this.#turned = performance.now();
  }

  #serveClient(isAny: boolean): void {
    const session = this.#session;
    if (!session) return;
    try {
      if (session.hasMore || isAny) {
        this.#heard = performance.now();
        session.go();
      }
      if (session.end) throw session.end;
      if (!session.isGreeted && performance.now() > this.#greetBy)
        throw new PeerError(`it has said nothing for ${PATIENCE_MS / 1000} s`);
    } catch (error) {
      this.#drop();
      if (error instanceof PeerGone) return;
      if (error instanceof PeerError) this.#listener.ended(`the client is given up: ${error.message}`);
      else if (error instanceof KernelError) this.#listener.ended(`the client cannot be served: ${error.message}`);
      else this.#listener.broken(`internal error: the client is given up: ${String(error)}`, error);
    }
  }

  #accept(): void {
    const fd = accept(this.#socket);
    if (fd === undefined) return;
    // one that has gone has left before the next one came
    while (this.#session && hasHungUp(this.#session.fd)) this.#serveClient(true);
    if (this.#session) {
      closeSync(fd);
      this.#listener.ended("a second client is turned away: the device has one");
      return;
    }
    const release = new Release(this.#host.description.kernel);
    this.#greetBy = performance.now() + PATIENCE_MS;
    this.#session = new ClientSession(fd, this.#lent, release, PATIENCE_MS, this.#listener);
    this.#set = new PollSet([this.#wake, this.#socket, fd]);
  }

  #drop(): void {
    const session = this.#session;
    this.#session = undefined;
    this.#set = new PollSet([this.#wake, this.#socket]);
    session?.close();
  }

  #close(): void {
    const { deviceWork } = this.#host;
    this.#drop();
    deviceWork.inSlices = false;
    delete deviceWork.resumed;
    rmSync(this.#path, { force: true });
    closeSync(this.#socket);
    closeSync(this.#wake);
  }
}

function hasHungUp(fd: number): boolean {
  const found = pollOne(fd, POLLIN, 0);
  return typeof found === "number" && (found & POLLHUP) !== 0;
}

/** @throws ServerError */
function listen(path: string): number {
  try {
    const first = listenAt(path);
    if (typeof first === "number") return first;
    if (first !== "EADDRINUSE") throw new ServerError(`cannot listen at ${path}: ${first}`);
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false)
      throw new ServerError(`${path} is there already, and no socket`);
    if (removeLeft(path)) throw new ServerError(`somebody serves at ${path} already; choose another --socket`);
    const second = listenAt(path);
    if (typeof second === "number") return second;
    throw new ServerError(`cannot listen at ${path}: ${second}`);
  } catch (error) {
    throw error instanceof PeerError ? new ServerError(error.message) : error;
  }
}
