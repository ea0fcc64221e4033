import type { Host } from "../../host/host.ts";
import type { Message } from "../../inspect/picture/event.ts";
import type { SharedWatch } from "../../inspect/watch/shared-watch.ts";
import type { Observer } from "../../interpose/index.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { LiveView } from "../view/live-view.ts";

/** A client of the socket. */
interface LookingClient {
  send(messages: readonly unknown[]): void;
  readonly backlog: number;
}

/** Who looks on at a served host. As long as nobody does, nothing is kept of what happens. */
export class ServiceLooks {
  readonly #host: Host;
  readonly #watch: SharedWatch;
  readonly #title: string;
  #view: { readonly live: LiveView; readonly end: () => void } | undefined;

  /** @param title what a page is headed with */
  constructor(host: Host, watch: SharedWatch, title: string) {
    this.#host = host;
    this.#watch = watch;
    this.#title = title;
  }

  /** @returns ends it */
  join(client: LookingClient): () => void {
    const view = this.#view ?? this.#begin();
    this.#view = view;
    const leave = view.live.hub.join({
      send: (messages: readonly Message[]) => client.send(messages),
      get backlog() {
        return client.backlog;
      },
    });
    return () => {
      leave();
      if (view.live.hub.isWatched || this.#view !== view) return;
      view.end();
      this.#view = undefined;
    };
  }

  before(task: Task, file: FileDescription, request: number, arg: Word): void {
    this.#view?.live.before(task, file, request, arg);
  }

  note(line: string): void {
    this.#view?.live.note(line);
  }

  /** An observer by which calls are heard of, too. */
  with(observer: Observer): Observer {
    const finished: NonNullable<Observer["finished"]> = (call) => {
      this.#view?.live.finished(call);
      observer.finished?.(call);
    };
    const { failed } = observer;
    const looks = this;
    return {
      ...observer,
      ...(failed && { failed }),
      // left out as long as nobody wants it: making a report of each call takes time
      get finished() {
        return looks.#view === undefined ? observer.finished : finished;
      },
      get namesAll() {
        return looks.#view !== undefined || observer.namesAll === true;
      },
    } as Observer;
  }

  #begin() {
    const { name, kernel } = this.#host.description;
    const live = new LiveView({ host: name, kernel, title: this.#title });
    const unwatch = this.#watch.add(live.model);
    live.begin(this.#host);
    live.catchUp();
    const end = () => {
      unwatch();
      live.close();
    };
    return { live, end };
  }
}
