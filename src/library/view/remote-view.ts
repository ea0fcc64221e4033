import type { Hello, Message } from "../../inspect/picture/event.ts";
import { PictureState } from "../../inspect/picture/state.ts";
import { PROTOCOL, ServeSocket } from "../../interpose/index.ts";
import { ViewHub } from "./hub.ts";

/** How often the socket is looked at. Milliseconds. */
const LOOK_MS = 20;

/** A host that `uvfio serve` keeps, for pages here: it is told by the server, and told on. */
export class RemoteView {
  readonly hub: ViewHub;
  /** The server has ended. */
  readonly whenEnded: Promise<void>;
  readonly #socket: ServeSocket;
  readonly #state = new PictureState();
  #timer: NodeJS.Timeout | undefined;
  #ended = () => {};

  /** @throws InterposerError when nobody serves there, or does not let this user look on */
  constructor(path: string) {
    this.#socket = new ServeSocket(path);
    let first: readonly Message[];
    try {
      first = this.#socket.ask({ uvfio: PROTOCOL, do: "view" }, "view", () => {}) as readonly Message[];
    } catch (error) {
      this.#socket.close();
      throw error;
    }
    const said = first.find((message) => message.k === "hello");
    const { k: _k, ...hello }: Hello = said ?? { k: "hello", mode: "live", host: "?", kernel: "?", title: path };
    this.hub = new ViewHub({ hello, state: this.#state });
    this.whenEnded = new Promise((resolve) => {
      this.#ended = resolve;
    });
    this.#take(first);
    this.#look();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#socket.close();
  }

  #look(): void {
    const messages = this.#socket.receive(false);
    if (messages === undefined) {
      this.hub.end("uvfio serve has ended, and with it the host.");
      this.#ended();
      return;
    }
    for (const { view } of messages) if (view) this.#take(view as readonly Message[]);
    this.#timer = setTimeout(() => this.#look(), LOOK_MS);
  }

  #take(messages: readonly Message[]): void {
    for (const message of messages) {
      switch (message.k) {
        case "hello":
        case "whole":
          break;
        case "end":
          this.hub.end(message.text);
          break;
        case "again":
          this.#state.forgetSpaces();
          this.hub.forget();
          break;
        default:
          this.#state.apply(message);
          this.hub.push(message);
      }
    }
  }
}
