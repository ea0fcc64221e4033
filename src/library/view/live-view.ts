import type { Host } from "../../host/host.ts";
import type { Hello, PictureEvent } from "../../inspect/picture/event.ts";
import { PictureFeed } from "../../inspect/picture/feed.ts";
import { PictureState } from "../../inspect/picture/state.ts";
import type { FinishedCall } from "../../interpose/index.ts";
import type { HostKernel } from "../../kernel/host-kernel.ts";
import type { OnLooker } from "../run/inspection.ts";
import { ViewHub } from "./hub.ts";
import { LiveCalls } from "./live-calls.ts";

/** A host that lives, for pages: what happens on it goes to a hub. */
export class LiveView implements OnLooker {
  readonly hub: ViewHub;
  readonly #feed: PictureFeed;
  readonly #calls: LiveCalls;

  constructor(hello: Omit<Hello, "k" | "mode">) {
    const state = new PictureState();
    const began = performance.now();
    const now = () => Math.round((performance.now() - began) * 1000);
    this.#feed = new PictureFeed(state, (event: PictureEvent) => this.hub.push(event), now);
    this.#calls = new LiveCalls(this.#feed);
    this.hub = new ViewHub({
      hello: { ...hello, mode: "live" },
      state,
      beforeBatch: () => {
        // what went without a call: files that were closed, devices that came or went
        this.#feed.look();
        this.#feed.seal();
      },
    });
  }

  get model() {
    return this.#feed.model;
  }

  begin(host: Host): void {
    this.#feed.begin(host);
  }

  /** What was mapped before it began, a slice at a time, between other things. */
  catchUp(): void {
    const slices = this.#feed.mappings();
    const next = () => {
      if (slices.next().done !== true) setImmediate(next);
    };
    next();
  }

  readonly before: NonNullable<HostKernel["before"]> = (...call) => this.#calls.before(...call);

  finished(call: FinishedCall): void {
    this.#calls.finished(call);
  }

  note(line: string): void {
    this.#feed.note(line);
  }

  ended(): void {
    this.#feed.look();
    this.#feed.seal();
  }

  /** Nobody looks on any more. */
  close(): void {
    this.#feed.end();
  }
}
