import { KernelError } from "../../kernel/errors.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { HeldWrites } from "../fuse/held-writes.ts";
import { collectAlone } from "../garbage.ts";
import { close } from "../libc.ts";
import { readProc } from "../proc-file.ts";
import { giveUpRights } from "../rights.ts";
import type { Served } from "../served.ts";
import { Server } from "../server.ts";
import { started } from "../started.ts";
import { ClientError, Connection } from "./connection.ts";
import { containerState } from "./container-state.ts";
import { isInOtherNamespace, isListener, mayLookInto } from "./look-at-process.ts";
import { type FromServer, PROTOCOL, REQUEST_MAX, type Request, type WorldMessage } from "./messages.ts";
import { MountedSys } from "./mounted-sys.ts";
import { type Guest, RunClient } from "./run-client.ts";
import { ClaimedSocket } from "./socket-claim.ts";
import { acceptFrom } from "./unix-socket.ts";

/** How long a client may take to say what it wants, in milliseconds. */
const PATIENCE_MS = 10_000;
/** And how long to have its program there, on a machine that does much else. */
const START_MS = 300_000;
/** So many clients of a user, root's and our own user's aside, that have no program on the host. */
const WAITING_MAX = 64;
/** Without descriptors left, others are let in again after so long. Milliseconds. */
const SHORTAGE_MS = 200;
/** Clients that are let in before calls are served again. */
const ACCEPTS_MAX = 8;

/** What a host is served with. */
export interface ServedHostOptions {
  /** The whole host. */
  readonly served: Served;
  readonly host: WorldMessage["host"];
  /** Where clients connect. */
  readonly socket: string;
  /** Who may: permission bits of the socket. */
  readonly mode?: number;
  /** /sys is mounted in this folder, for containers. */
  readonly sysfs?: string;
  /** The host as a run meets it. @param send tells its client */
  join(request: Request, send: (message: FromServer) => void): Served;
  /** The host as a container meets it. */
  joinContainer(id: string): Served;
  /** Does what somebody asked for; returns lines for them. Throws an Error whose message is why not. */
  control(words: readonly string[]): readonly string[];
  /**
   * Somebody looks on from now on.
   * @param client takes batches for a picture
   * @returns ends it
   */
  look(client: LookingClient): () => void;
  /** What a person should know. A line. */
  said(line: string): void;
}

/** Who looks on through the socket. */
export interface LookingClient {
  send(messages: readonly unknown[]): void;
  /** Bytes that have not gone yet. */
  readonly backlog: number;
}

interface Client {
  readonly connection: Connection;
  run?: RunClient;
  /** It waits for what it has asked for. */
  isAsking?: boolean;
  /** It looks on: ends that. */
  leave?: () => void;
}

/** A host that several programs and containers are on. */
export class ServedHost {
  readonly #options: ServedHostOptions;
  readonly #socket: ClaimedSocket;
  readonly server: Server;
  readonly #clients = new Set<Client>();
  readonly #containers = new Set<Guest>();
  readonly #sys: MountedSys | undefined;
  /** Commands that wait for a program to close something. */
  readonly #held = new HeldWrites(({ unique }, error) => this.#answer(unique, error));
  readonly #asked = new Map<string, (error: KernelError | undefined) => void>();

  /** Listens from now on. InterposerError when it cannot. */
  constructor(options: ServedHostOptions) {
    this.#options = options;
    this.#socket = new ClaimedSocket(options.socket, options.mode);
    const { kernel, observer } = options.served;
    try {
      this.#sys = options.sysfs === undefined ? undefined : new MountedSys(options.sysfs, kernel.files);
    } catch (error) {
      this.#socket.close();
      throw error;
    }
    this.server = new Server({ kernel, observer, stays: true });
    if (this.#sys?.fuse) this.server.addFuse(this.#sys.fuse, (file, pid, error) => this.#tellFailed(file, pid, error));
    this.server.onRelease = () => this.#held.retry();
    this.server.watch(this.#socket.fd, this.#accept);
  }

  get path(): string {
    return this.#socket.path;
  }

  /** Where /sys is mounted for containers. */
  get sysfs(): string | undefined {
    return this.#sys?.path;
  }

  #tellFailed(file: string, pid: number, error: KernelError): void {
    const program = readProc(pid, "comm")?.trim() ?? "a program";
    this.#options.said(`${program}[${pid}]: write ${file} = ${error.code}: ${error.reason}`);
  }

  /** Serves until stop(). */
  async serve(): Promise<void> {
    const takeBack = giveUpRights();
    const collectTogether = collectAlone();
    started();
    try {
      await this.server.serve();
    } finally {
      takeBack();
      this.#sys?.close();
      this.#held.close();
      this.#socket.close();
      // who has asked for the end hears of it when all is over
      for (const { connection } of [...this.#clients]) connection.close();
      this.#options.served.ended?.();
      collectTogether();
    }
  }

  /** Ends serving. Clients hear of it when their connection closes. */
  stop(): void {
    this.server.stop();
  }

  /** Which programs are on the host, a line each. */
  guests(): string[] {
    const runs = [...this.#clients].flatMap(({ run }) => (run?.guest ? [run.guest] : []));
    return [...runs, ...this.#containers].map(({ name, pid, uid }) => `${name}[${pid}] of user ${uid}`);
  }

  #answer(unique: Buffer, error: KernelError | undefined): void {
    const key = unique.toString("hex");
    this.#asked.get(key)?.(error);
    this.#asked.delete(key);
  }

  readonly #accept = (): boolean => {
    for (let n = 0; n < ACCEPTS_MAX; n++) {
      const fd = acceptFrom(this.#socket.fd);
      if (fd === -ERRNO.EMFILE || fd === -ERRNO.ENFILE) {
        this.#options.said("uvfio serve has no descriptor left: further programs wait until some have ended");
        setTimeout(() => this.server.watch(this.#socket.fd, this.#accept), SHORTAGE_MS);
        return true;
      }
      if (fd < 0) return false;
      this.#welcome(fd);
    }
    return false;
  };

  #welcome(fd: number): void {
    const { server } = this;
    const connection: Connection = new Connection(fd, REQUEST_MAX, {
      line: (text) => {
        const isNew = client.run === undefined;
        this.#line(client, text);
        if (!isNew || client.run === undefined) return;
        clearTimeout(patience);
        if (!connection.isClosed) patience = setTimeout(expire, START_MS);
      },
      begun: (text) => client.run === undefined && this.#container(connection, text),
      backlog: (length) => client.run?.backlog(length),
      broken: (error) => this.#options.said(`internal error with a client: ${String(error)}`),
      closed: () => {
        clearTimeout(patience);
        const unique = Buffer.alloc(8);
        unique.writeUInt32LE(fd);
        this.#held.interrupt(unique);
        server.unwatch(fd);
        this.#clients.delete(client);
        client.run?.closed();
        client.leave?.();
      },
    });
    const client: Client = { connection };
    const expire = () => {
      if (client.run?.guest === undefined && !client.isAsking) connection.close();
    };
    let patience = setTimeout(expire, PATIENCE_MS);
    this.#clients.add(client);
    server.watch(fd, () => {
      connection.read();
      return false;
    });
    if (this.#isCrowd(connection.peer.uid)) {
      connection.send({ refused: `${WAITING_MAX} clients of user ${connection.peer.uid} wait already` });
      connection.close();
    }
  }

  #isCrowd(uid: number): boolean {
    if (this.#isTrusted(uid)) return false;
    let waiting = 0;
    for (const { connection, run } of this.#clients)
      if (connection.peer.uid === uid && run?.guest === undefined) waiting++;
    return waiting > WAITING_MAX;
  }

  #isTrusted(uid: number): boolean {
    return uid === 0 || uid === process.geteuid!();
  }

  #line(client: Client, text: string): void {
    const { connection } = client;
    if (client.run) {
      client.run.line(text);
      return;
    }
    const request = parseRequest(text);
    if (request.do === "run") {
      client.run = new RunClient(connection, request, {
        server: this.server,
        host: this.#options.host,
        limit: this.server.limit,
        join: (asked, send) => this.#options.join(asked, send),
      });
      return;
    }
    if (!this.#isTrusted(connection.peer.uid))
      throw new ClientError(`user ${connection.peer.uid} may not: only root and user ${process.geteuid!()} may`);
    client.isAsking = true;
    if (request.do === "view") client.leave ??= this.#look(connection);
    else if (request.do === "control") this.#control(connection, request.words);
    else this.#stopFor(connection);
  }

  #look(connection: Connection): () => void {
    return this.#options.look({
      send: (view) => connection.send({ view }),
      get backlog() {
        return connection.backlog;
      },
    });
  }

  /** A command that has to wait for a program is made again when something was closed. */
  #control(connection: Connection, words: unknown): void {
    if (!Array.isArray(words) || words.some((word) => typeof word !== "string")) throw new ClientError("no words");
    let lines: readonly string[] = [];
    const make = () => {
      try {
        lines = this.#options.control(words);
      } catch (error) {
        if (error instanceof KernelError) throw error;
        throw new KernelError("EINVAL", error instanceof Error ? error.message : String(error));
      } finally {
        this.server.updateNodes();
      }
    };
    const unique = Buffer.alloc(8);
    unique.writeUInt32LE(connection.fd);
    this.#asked.set(unique.toString("hex"), (error) =>
      connection.send(error ? { refused: error.reason } : { done: lines }),
    );
    this.#held.make({ unique, path: "", pid: connection.peer.pid, count: 0, make });
  }

  #stopFor(connection: Connection): void {
    const guests = this.guests();
    connection.send({ done: guests });
    this.tellGuests(guests);
    this.stop();
  }

  /** Says who is on the host still. */
  tellGuests(guests = this.guests()): void {
    for (const guest of guests) this.#options.said(`still on this host: ${guest}`);
  }

  /** A container runtime hands over a listener: with one object, behind which nothing comes. */
  #container(connection: Connection, text: string): boolean {
    const state = containerState(text);
    if (state === undefined) return false;
    const { peer } = connection;
    const listener = connection.takeDescriptor();
    const why = this.#refuseContainer(state.pid, peer.uid, listener);
    if (why !== undefined) {
      close(listener);
      this.#options.said(`container ${state.id}: not served: ${why}`);
      return true;
    }
    const guest = { name: `container ${state.id}`, pid: state.pid, uid: peer.uid };
    this.#containers.add(guest);
    const { kernel, observer, ended } = this.#options.joinContainer(state.id);
    this.server.add({
      listener,
      kernel,
      launcher: state.pid,
      userNamespace: isInOtherNamespace(state.pid),
      nodesBy: "nobody",
      mayRestart: true,
      sharedFuse: this.#sys?.fuse,
      observer,
      ended: () => {
        this.#containers.delete(guest);
        ended?.();
      },
    });
    return true;
  }

  #refuseContainer(pid: number, uid: number, listener: number): string | undefined {
    if (!this.#isTrusted(uid)) return `user ${uid} may not hand over containers`;
    if (!isListener(listener)) return "what its runtime has sent is no seccomp listener";
    if (!mayLookInto(pid))
      return `its process ${pid} cannot be read by uvfio serve, which is user ${process.geteuid!()}'s`;
    return undefined;
  }
}

function parseRequest(text: string): Request {
  let request: Request | undefined;
  try {
    request = JSON.parse(text) as Request;
  } catch {
    // said below
  }
  if (typeof request !== "object" || request === null || typeof request.uvfio !== "number")
    throw new ClientError("that is no message of uvfio's");
  if (request.uvfio !== PROTOCOL)
    throw new ClientError(`uvfio serve is of another version (it speaks ${PROTOCOL}, not ${request.uvfio})`);
  if (!["run", "stop", "control", "view"].includes(request.do))
    throw new ClientError("what it asks for is not known here");
  return request;
}
