import { randomBytes, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Message } from "../../inspect/picture/event.ts";
import { UsageError } from "../usage-error.ts";
import type { ViewHub } from "./hub.ts";
import { type PageFile, pageFile } from "./page-files.ts";

const ADDRESS = "127.0.0.1";
const TOKEN_BYTES = 16;
/** Pages at the same time. */
const PAGES_MAX = 16;
/** How long pages are waited for that have not got the last of it. Milliseconds. */
const LAST_WORDS_MS = 500;
const LOOK_MS = 20;

/** The page loads nothing but its own files, and nobody else may show it. */
const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cache-Control": "no-store",
};

/**
 * Serves the page on this machine alone. Its address has a token that nobody else knows; a request that comes from
 * another site's page, by another name of this machine or without the token gets nothing.
 */
export class PageServer {
  readonly #hub: ViewHub;
  readonly #server: Server;
  readonly #token = randomBytes(TOKEN_BYTES).toString("hex");
  /** Pages that look on. */
  readonly #streams = new Set<ServerResponse>();
  #port = 0;

  constructor(hub: ViewHub) {
    this.#hub = hub;
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#server.keepAliveTimeout = 1000;
  }

  /**
   * @param port 0 for any
   * @throws UsageError when it is taken
   */
  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (error: NodeJS.ErrnoException) =>
        reject(new UsageError(`--view: port ${port} of ${ADDRESS} cannot be had (${error.code})`)),
      );
      this.#server.listen(port, ADDRESS, resolve);
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** What a person opens. */
  get url(): string {
    return `http://${ADDRESS}:${this.#port}/${this.#token}/`;
  }

  /** Ends it, when pages have what was told. */
  async close(): Promise<void> {
    const end = performance.now() + LAST_WORDS_MS;
    while (!this.#hub.isIdle && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    // A browser drops what it has not yet read of a response that breaks off.
    for (const response of this.#streams) response.end();
    while (this.#streams.size > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 1));
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const refusal = this.#refusal(request);
    if (refusal !== undefined) {
      response.writeHead(refusal, { "Content-Type": "text/plain; charset=utf-8", ...HEADERS });
      response.end(refusal === 404 ? "Nothing is here. uvfio has printed the whole address.\n" : "Not for you.\n");
      return;
    }
    const name = pathOf(request).slice(this.#token.length + 2);
    if (name === "events") {
      this.#events(response);
      return;
    }
    const file = fileOrNothing(name === "" ? "index.html" : name);
    if (file === undefined) {
      response.writeHead(404, HEADERS).end();
      return;
    }
    response.writeHead(200, { "Content-Type": file.type, ...HEADERS });
    response.end(request.method === "HEAD" ? undefined : file.content);
  }

  /** The status that refuses a request. */
  #refusal(request: IncomingMessage): number | undefined {
    const { host, origin } = request.headers;
    const names = [`${ADDRESS}:${this.#port}`, `localhost:${this.#port}`];
    // another name that leads here is somebody else's (DNS rebinding)
    if (host === undefined || !names.includes(host)) return 403;
    if (origin !== undefined && origin !== `http://${host}`) return 403;
    if (request.method !== "GET" && request.method !== "HEAD") return 405;
    return this.#hasToken(pathOf(request)) ? undefined : 404;
  }

  #hasToken(path: string): boolean {
    const given = Buffer.from(path.slice(1, this.#token.length + 1));
    const token = Buffer.from(this.#token);
    return path[this.#token.length + 1] === "/" && given.length === token.length && timingSafeEqual(given, token);
  }

  /** Server-sent events: each is a batch of messages. */
  #events(response: ServerResponse): void {
    if (this.#streams.size >= PAGES_MAX) {
      response.writeHead(503, HEADERS).end();
      return;
    }
    this.#streams.add(response);
    // a page that goes in the middle of a batch
    response.on("error", () => {});
    response.writeHead(200, { "Content-Type": "text/event-stream", ...HEADERS });
    response.flushHeaders();
    const leave = this.#hub.join({
      send: (messages: readonly Message[]) => response.write(`data: ${JSON.stringify(messages)}\n\n`),
      get backlog() {
        return response.writableLength;
      },
    });
    response.once("close", () => {
      this.#streams.delete(response);
      leave();
    });
  }
}

/** An installation without its files is no reason to end the program that runs. */
function fileOrNothing(name: string): PageFile | undefined {
  try {
    return pageFile(name);
  } catch {
    return undefined;
  }
}

function pathOf({ url = "/" }: IncomingMessage): string {
  return url.replace(/\?.*$/s, "");
}
