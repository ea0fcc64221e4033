import type { CallLimit } from "../call-limit.ts";
import { FuseServer } from "../fuse/fuse-server.ts";
import { close } from "../libc.ts";
import type { Served } from "../served.ts";
import type { ServedProgram } from "../served-program.ts";
import type { Server } from "../server.ts";
import { ClientError, type Connection } from "./connection.ts";
import { isFuse, isInOtherNamespace, isListener, mayLookInto, parentOf } from "./look-at-process.ts";
import {
  type FromRun,
  type FromServer,
  type Request,
  type ServeOrder,
  sentTree,
  type WorldMessage,
} from "./messages.ts";

/** A program that is behind with listening by so much makes no further calls, until it is behind by less. Bytes. */
const BEHIND = 0x10_0000;
const CAUGHT_UP = 0x4_0000;
const NAME_MAX = 200;

/** What a served host does for a run. */
export interface RunHost {
  readonly server: Server;
  readonly host: WorldMessage["host"];
  /** The host as this run meets it. @param send tells the client */
  join(request: Request, send: (message: FromServer) => void): Served;
  /** Ends reads of descriptors that the client may have, too. */
  readonly limit: CallLimit;
}

/** A program that is on the host, for people. */
export interface Guest {
  readonly name: string;
  readonly pid: number;
  readonly uid: number;
}

/** The server's side of a `uvfio run --on`. What the client says is looked at before it is believed. */
export class RunClient {
  readonly #connection: Connection;
  readonly #host: RunHost;
  readonly #served: Served;
  readonly #isForeign: boolean;
  #fuse: FuseServer | undefined;
  #program: ServedProgram | undefined;
  guest: Guest | undefined;

  constructor(connection: Connection, request: Request, host: RunHost) {
    this.#connection = connection;
    this.#host = host;
    const { pid, uid } = connection.peer;
    this.#isForeign = uid !== 0 && uid !== process.geteuid!();
    if (pid === 0) throw new ClientError("its process cannot be seen from here: it is in another pid namespace");
    if (!mayLookInto(pid)) throw new ClientError(unreadable(uid));
    this.#served = joined(host, request, (message) => connection.send(message));
    const { files } = this.#served.kernel;
    connection.send({
      world: {
        nodes: this.#served.kernel.deviceNodes(),
        trapReadOpens: this.#served.kernel.hasProcFiles ?? false,
        grafts: files.grafts,
        roots: files.roots,
        rest: sentTree(files.rest),
        pid: process.pid,
        host: host.host,
      },
    });
  }

  line(text: string): void {
    const message = parse(text);
    if (message.fuse) this.#takeFuse(message.fuse);
    else if (message.snapshot) this.#connection.send({ snapshot: sentTree(this.#served.kernel.files.snapshot()) });
    else if (message.serve) this.#serve(message.serve);
    else if (message.leave && this.#program) this.#host.server.drop(this.#program);
    else throw new ClientError("what it says is not known here");
  }

  /** What is to be sent has become more or less. */
  backlog(length: number): void {
    if (this.#program === undefined) return;
    if (length > BEHIND) this.#host.server.pause(this.#program);
    else if (length < CAUGHT_UP) this.#host.server.resume(this.#program);
  }

  /** The client is gone. Its program is served until it has ended: somebody beside the client tells it to. */
  closed(): void {
    if (this.#program !== undefined) this.#host.server.resume(this.#program);
    else if (this.#fuse) this.#host.server.removeFuse(this.#fuse);
  }

  /**
   * Somebody else's program could have other programs' trees changed by naming their processes, and have us wait for a
   * descriptor that is not what it says.
   */
  #takeFuse({ uid, gid }: NonNullable<FromRun["fuse"]>): void {
    const fd = this.#connection.takeDescriptor();
    if (this.#fuse !== undefined || this.#program !== undefined || !isFuse(fd)) {
      close(fd);
      throw new ClientError("that is no /dev/fuse");
    }
    const { limit, server } = this.#host;
    const owner = { uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 };
    this.#fuse = new FuseServer(fd, this.#served.kernel.files, owner, this.#isForeign ? limit : undefined);
    server.addFuse(this.#fuse, () => {});
  }

  #serve(order: ServeOrder): void {
    const listener = this.#connection.takeDescriptor();
    try {
      if (this.#program !== undefined || !isListener(listener)) throw new ClientError("that is no seccomp listener");
      this.#check(order);
    } catch (error) {
      close(listener);
      throw error;
    }
    const { pid } = order;
    const { peer } = this.#connection;
    this.guest = { name: String(order.name).slice(0, NAME_MAX), pid, uid: peer.uid };
    const { kernel, observer, ended } = this.#served;
    const program = this.#host.server.add({
      listener,
      kernel,
      launcher: pid,
      userNamespace: isInOtherNamespace(pid),
      starter: peer.pid,
      nodesBy: this.#isForeign ? "program" : "server",
      isListenerShared: this.#isForeign,
      observer,
      fuse: this.#fuse,
      ended: () => {
        this.guest = undefined;
        ended?.();
        this.#connection.send({ ended: true });
      },
    });
    this.#program = program;
    this.#connection.send({ serving: true });
  }

  #check({ pid }: ServeOrder): void {
    const { peer } = this.#connection;
    if (!Number.isSafeInteger(pid) || parentOf(pid) !== peer.pid)
      throw new ClientError(`process ${pid} is no child of the client's`);
    if (!mayLookInto(pid)) throw new ClientError(unreadable(peer.uid));
  }
}

/** What the client asks for may be impossible on this host. */
function joined(host: RunHost, request: Request, send: (message: FromServer) => void): Served {
  try {
    return host.join(request, send);
  } catch (error) {
    throw new ClientError(error instanceof Error ? error.message : String(error));
  }
}

function unreadable(uid: number): string {
  const own = process.geteuid!();
  return uid === own
    ? `its processes cannot be read by uvfio serve (kernel.yama.ptrace_scope must be 0, or uvfio serve be root's)`
    : `processes of user ${uid} cannot be read by uvfio serve, which is user ${own}'s: start uvfio serve as root, or as that user`;
}

function parse(text: string): FromRun {
  try {
    const message: unknown = JSON.parse(text);
    if (typeof message === "object" && message !== null) return message as FromRun;
  } catch {
    // said below
  }
  throw new ClientError("that is no message of uvfio's");
}
