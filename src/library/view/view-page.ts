import type { ViewHub } from "./hub.ts";
import { PageServer } from "./page-server.ts";

/** A page that shows what a hub tells, on this machine. */
export class ViewPage {
  readonly #server: PageServer;

  private constructor(server: PageServer) {
    this.#server = server;
  }

  /** @throws UsageError for a port that cannot be had */
  static async open(hub: ViewHub, port: number): Promise<ViewPage> {
    const server = new PageServer(hub);
    await server.listen(port);
    return new ViewPage(server);
  }

  /** Its address, with the token that opens it. */
  get url(): string {
    return this.#server.url;
  }

  /** Ends it. */
  close(): Promise<void> {
    return this.#server.close();
  }
}
