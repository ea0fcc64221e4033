import { spawnSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { compile, type Finished, finished, ROOT, scratchFolder, UVFIO } from "../cli/uvfio.ts";
import { type Running, start } from "../interpose/build.ts";

export const NOBODY = 65534;
/** Runs what follows as an ordinary user. */
export const AS_NOBODY = ["setpriv", "--reuid", `${NOBODY}`, "--regid", `${NOBODY}`, "--clear-groups"] as const;
/** Whether an ordinary user gets namespaces here, and reads these sources. */
export const hasNobody =
  process.getuid?.() === 0 &&
  spawnSync("setpriv", [...AS_NOBODY.slice(1), "unshare", "-Ur", "true"]).status === 0 &&
  spawnSync("setpriv", [...AS_NOBODY.slice(1), process.execPath, UVFIO, "--version"]).status === 0;

/** A folder with the client, and the hosts that are served from it. */
export class Services {
  readonly #scratch = scratchFolder();
  readonly client: string;
  readonly #running: Running[] = [];
  readonly #ends: (() => void)[] = [];

  constructor() {
    chmodSync(this.#scratch.path, 0o755);
    this.client = compile("shared-host", this.#scratch.path);
  }

  path(name: string): string {
    return join(this.#scratch.path, name);
  }

  /** Starts `uvfio serve`, and waits until programs can come. */
  async serve(name: string, options: readonly string[] = ["-m", "lab"], as: readonly string[] = []): Promise<Service> {
    const socket = this.path(`${name}.sock`);
    const running = this.start([...as, process.execPath, UVFIO, "serve", "--socket", socket, ...options]);
    await running.says("serving");
    return new Service(this, running, socket);
  }

  start(command: readonly string[], input = false): Running {
    const running = start(command, { stdio: [input ? "pipe" : "ignore", "pipe", "pipe"] });
    this.#running.push(running);
    return running;
  }

  /** Has something done before all else ends. */
  atEnd(act: () => void): void {
    this.#ends.push(act);
  }

  async remove(): Promise<void> {
    for (const act of this.#ends) act();
    for (const { child } of this.#running) child.kill("SIGKILL");
    await Promise.all(this.#running.map(({ finished }) => finished));
    this.#scratch.remove();
  }
}

/** A host that is served. */
export class Service {
  readonly running: Running;
  readonly socket: string;
  readonly #services: Services;

  constructor(services: Services, running: Running, socket: string) {
    this.#services = services;
    this.running = running;
    this.socket = socket;
  }

  /** The command line of a run of the client on it. */
  command(...words: readonly string[]): string[] {
    return [process.execPath, UVFIO, "run", "--on", this.socket, "--", this.#services.client, ...words];
  }

  /** Runs the client on it to its end. */
  client(...words: readonly string[]): Finished {
    const [program, ...rest] = this.command(...words);
    return finished(program!, rest);
  }

  /** Starts the client on it. end() lets one that holds something go. */
  start(...words: readonly string[]): Running {
    return this.#services.start(this.command(...words), true);
  }

  async holds(...words: readonly string[]): Promise<Running> {
    const running = this.start(...words);
    await running.says("held");
    return running;
  }
}

/** Lets a client go that waits for the end of its stdin. */
export function letGo(running: Running): Promise<unknown> {
  running.child.stdin!.end();
  return running.finished;
}

export { ROOT, UVFIO };
