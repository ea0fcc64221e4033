import type { DeviceJob } from "../../device-clock.ts";
import type { DeviceBus } from "../../device-model.ts";
import { AdminCommands } from "./admin-commands.ts";
import { Command } from "./command.ts";
import type { CommandContext } from "./command-context.ts";
import type { ControllerMemory } from "./controller-memory.ts";
import { type ControllerState, readQueues, saveQueues } from "./controller-state.ts";
import type { PointerContext } from "./data-pointer.ts";
import { ERROR_EVENT, Events, INVALID_DOORBELL_REGISTER, INVALID_DOORBELL_VALUE } from "./events.ts";
import type { ControllerFacts } from "./facts.ts";
import { Features } from "./features.ts";
import { IoCommands } from "./io-commands.ts";
import type { Namespace } from "./namespace.ts";
import { QueueSet } from "./queue-set.ts";
import type { CompletionQueue, QueuePlace, Request, Shadow, SubmissionQueue } from "./queues.ts";
import { COMPLETION_SHIFT, configuration, SUBMISSION_SHIFT } from "./registers.ts";
import * as status from "./status.ts";
import { aside, COMPLETED_LATER, type Steps } from "./steps.ts";

/** Entries of a submission queue that are read together. */
const FETCHED_TOGETHER = 64;
/** Commands that have begun and are not over, but for those that wait: each may have a buffer of its own. */
const MOST_RUNNING = 16;
const COMPLETION_SIZE = 1 << COMPLETION_SHIFT;

/** A command that has begun. */
interface Running {
  readonly request: Request;
  readonly steps: Steps;
}

/** What the registers hear of the controller. */
export interface ControllerOwner {
  /** Something is wrong for good: CSTS.CFS. */
  fatal(): void;
  /** Doorbells of a queue that there is no more begin at 0 again when there is another one. */
  queueGone(kind: "submission" | "completion", id: number): void;
}

/**
 * A controller that is enabled: its queues, and the commands in them, which it works off as a job. Entries are taken in
 * batches; each command begins in its turn, those that take long go on in turns, and completions are posted together
 * when there is nothing to begin.
 */
export class Controller implements DeviceJob, PointerContext, CommandContext {
  readonly facts: ControllerFacts;
  readonly memory: ControllerMemory;
  readonly events: Events;
  readonly features: Features;
  readonly #queues: QueueSet;
  pageSize = 4096;
  /** CC.CSS. */
  commandSet = 0;
  /** I/O queues were made since it was enabled. */
  queuesMade = false;
  readonly #bus: DeviceBus;
  readonly #owner: ControllerOwner;
  readonly #admin: AdminCommands;
  readonly #io: IoCommands;
  /** Queues with entries that can be taken. */
  readonly #rung = new Set<SubmissionQueue>();
  /** Commands that were taken and have not begun, from `#next` on. */
  #ready: Request[] = [];
  #next = 0;
  #running: Running[] = [];
  readonly #waiting = new Set<Running>();
  /** Queues with completions to be posted. */
  readonly #unposted = new Set<CompletionQueue>();
  /** Commands that were completed since completions were posted last. */
  #unpostedCount = 0;
  #fetchesNext = true;
  readonly #born: number;
  readonly #changed = new Set<number>();
  /** log2 of the bytes of queue entries, as CC has them. */
  entryShifts = { submission: 0, completion: 0 };
  /** INTMS. */
  #masked = 0;
  #line = false;
  /** It begins nothing. */
  #isPaused = false;
  /** A queue could not be reached. */
  #hasFailed = false;

  constructor(bus: DeviceBus, memory: ControllerMemory, facts: ControllerFacts, owner: ControllerOwner) {
    this.#bus = bus;
    this.memory = memory;
    this.#queues = new QueueSet(memory);
    this.facts = facts;
    this.#owner = owner;
    this.#born = bus.clock.now();
    this.events = new Events(facts.eventRequests, (request, code, result) => {
      request.result = result;
      this.#complete(request, code);
      this.#bus.clock.start(this);
    });
    this.features = new Features(facts, () => this.#bus.clock.now());
    this.#admin = new AdminCommands(this);
    this.#io = new IoCommands(this);
  }

  get submissions(): ReadonlyMap<number, SubmissionQueue> {
    return this.#queues.submissions;
  }

  get completions(): ReadonlyMap<number, CompletionQueue> {
    return this.#queues.completions;
  }

  /** Makes the admin queues. */
  start(cc: number, submission: Omit<QueuePlace, "id">, completion: Omit<QueuePlace, "id">): void {
    const { pageShift, commandSet } = configuration(cc);
    this.configure(cc);
    this.pageSize = 1 << pageShift;
    this.commandSet = commandSet;
    this.queuesMade = false;
    this.features.restart();
    this.addCompletionQueue({ ...completion, id: 0 }, 0, true);
    this.addSubmissionQueue({ ...submission, id: 0 }, this.completions.get(0)!);
  }

  /** CC was written while the controller is enabled: queues are made with the sizes of entries in it. */
  configure(cc: number): void {
    const { submissionEntryShift, completionEntryShift } = configuration(cc);
    this.entryShifts = { submission: submissionEntryShift, completion: completionEntryShift };
  }

  /** Forgets all queues and commands. */
  stop(): void {
    this.#bus.clock.stop(this);
    this.#queues.clear();
    this.#hasFailed = false;
    this.#isPaused = false;
    this.#rung.clear();
    this.#ready = [];
    this.#next = 0;
    this.#running = [];
    this.#waiting.clear();
    this.#unposted.clear();
    this.events.reset();
    this.#masked = 0;
    this.updateLine();
  }

  get masked(): number {
    return this.#masked;
  }

  set masked(mask: number) {
    this.#masked = mask >>> 0;
    this.updateLine();
  }

  /** A submission queue's doorbell. */
  ringTail(id: number, tail: number): void {
    const queue = this.submissions.get(id);
    if (!queue || tail >= queue.size) {
      this.#wrongDoorbell(queue);
      return;
    }
    queue.tail = tail;
    // drivers do not keep the admin queue's shadow, so the controller does
    if (queue.shadow && id === 0) this.#queues.writeIndex(queue.shadow.doorbell, tail);
    this.#rung.add(queue);
    this.#bus.clock.start(this);
  }

  /** A completion queue's doorbell. */
  ringHead(id: number, head: number): void {
    const queue = this.completions.get(id);
    if (!queue || head >= queue.size) {
      this.#wrongDoorbell(queue);
      return;
    }
    queue.head = head;
    if (queue.shadow && id === 0) this.#queues.writeIndex(queue.shadow.doorbell, head);
    this.updateLine();
    if (queue.pending.length === 0) return;
    this.#unposted.add(queue);
    this.#bus.clock.start(this);
  }

  #wrongDoorbell(queue: object | undefined): void {
    if (!this.events.hasRequests) return;
    this.events.raise(ERROR_EVENT, queue ? INVALID_DOORBELL_VALUE : INVALID_DOORBELL_REGISTER);
  }

  addCompletionQueue(place: QueuePlace, vector: number, interrupts: boolean): void {
    this.#queues.addCompletionQueue(place, vector, interrupts);
  }

  addSubmissionQueue(place: QueuePlace, completions: CompletionQueue): void {
    this.#queues.addSubmissionQueue(place, completions);
  }

  /** Commands of it that are not over are completed as such. */
  deleteSubmissionQueue(queue: SubmissionQueue): void {
    this.#queues.submissions.delete(queue.id);
    this.#rung.delete(queue);
    const isOther = ({ queue: own }: Request) => own !== queue;
    const begun = [...this.#running, ...this.#waiting].map(({ request }) => request);
    const left = [...begun, ...this.#ready.slice(this.#next)].filter((request) => !isOther(request));
    this.#ready = this.#ready.slice(this.#next).filter(isOther);
    this.#next = 0;
    this.#running = this.#running.filter(({ request }) => isOther(request));
    for (const each of this.#waiting) if (!isOther(each.request)) this.#waiting.delete(each);
    for (const request of left) this.#complete(request, status.SQ_DELETED);
    const { completions } = queue;
    this.#post(completions);
    completions.users.delete(queue);
    const others = completions.pending.filter((each) => each.queue !== queue);
    completions.pending.splice(0, completions.pending.length, ...others);
    this.#owner.queueGone("submission", queue.id);
  }

  deleteCompletionQueue(queue: CompletionQueue): void {
    this.#queues.completions.delete(queue.id);
    this.#unposted.delete(queue);
    this.updateLine();
    this.#owner.queueGone("completion", queue.id);
  }

  /** From now on doorbells of I/O queues are in the host's memory. */
  useShadows(doorbells: bigint, eventIndexes: bigint): void {
    this.#queues.useShadows({ doorbells, eventIndexes });
    // what is read there from now on counts, whether or not it could be written
    for (const queue of this.submissions.values()) this.#rung.add(queue);
  }

  /** Has what was written to namespaces reach their storage. */
  *flush(namespaces: readonly Namespace[], { wake }: Request): Steps {
    for (const { disk } of namespaces) {
      const worked = yield* aside<boolean>((done) => disk.flush(done), wake);
      if (!worked) return status.WRITE_FAULT;
    }
    return status.SUCCESS;
  }

  /** The most bytes that a command may move (MDTS). */
  get transferLimit(): number {
    return this.pageSize * 2 ** this.facts.transferShift;
  }

  get messagesEnabled(): boolean {
    return this.#bus.messagesEnabled;
  }

  /** Milliseconds since it was made. */
  get age(): number {
    return this.#bus.clock.now() - this.#born;
  }

  attached(): readonly Namespace[] {
    return this.facts.namespaces.filter(({ isAttached }) => isAttached);
  }

  /** @param allocated also one that is not attached */
  namespace(id: number, allocated = false): Namespace | undefined {
    return this.facts.namespaces.find((each) => each.id === id && (allocated || each.isAttached));
  }

  /** Remembers that a namespace has come or gone; false when that was known. */
  noteChanged(id: number): boolean {
    if (this.#changed.has(id)) return false;
    this.#changed.add(id);
    return true;
  }

  /** Those that have come or gone since this was asked last. */
  takeChangedNamespaces(): readonly number[] {
    const ids = [...this.#changed].sort((a, b) => a - b);
    this.#changed.clear();
    return ids;
  }

  /** Takes no more entries from queues. What was taken is done. */
  pause(): void {
    this.#isPaused = true;
  }

  /** Commands were taken that are not over. */
  get isBusy(): boolean {
    return this.#running.length + this.#waiting.size + this.#ready.length - this.#next > 0;
  }

  /** Goes on. @param restored it is another one's state: interrupts may have been on their way */
  resume(restored: boolean): void {
    this.#isPaused = false;
    if (this.#hasFailed) return;
    for (const queue of this.submissions.values()) if (queue.shadow || !queue.isEmpty) this.#rung.add(queue);
    for (const queue of this.completions.values()) {
      if (queue.pending.length > 0) this.#unposted.add(queue);
      if (restored && queue.interrupts && queue.head !== queue.tail && this.#bus.messagesEnabled)
        this.#bus.sendMessage(queue.vector);
    }
    this.updateLine();
    if (this.submissions.size > 0) this.#bus.clock.start(this);
  }

  save(): ControllerState {
    return {
      ...saveQueues(this.#queues),
      masked: this.#masked,
      hasFailed: this.#hasFailed,
      queuesMade: this.queuesMade,
      changed: [...this.#changed],
      events: this.events.save(),
      features: this.features.save(),
    };
  }

  /** Takes over what another one saved, and is paused. @param cc the value of CC, where that is enabled */
  restore(state: ControllerState, cc: number): void {
    this.stop();
    this.#isPaused = true;
    const { pageShift, commandSet } = configuration(cc);
    this.configure(cc);
    this.pageSize = 1 << pageShift;
    this.commandSet = commandSet;
    readQueues(this.#queues, state);
    this.#masked = state.masked;
    this.#hasFailed = state.hasFailed;
    this.queuesMade = state.queuesMade;
    this.#changed.clear();
    for (const id of state.changed) this.#changed.add(id);
    const admin = this.submissions.get(0);
    this.events.restore(state.events, (bytes) => this.#request(admin!, new Command(bytes)));
    this.features.restore(state.features);
  }

  step(): number | undefined {
    const taken = this.#ready.length - this.#next;
    const rung = this.#isPaused ? [] : this.#rung;
    // all that is there, round the end of a ring too, before completions tell how far the head is
    if (taken + this.#unpostedCount < FETCHED_TOGETHER && this.#running.length === 0)
      for (const queue of rung) return this.#fetch(queue);
    if (taken > 0 && this.#running.length < MOST_RUNNING) return this.#begin();
    for (const queue of this.#unposted) {
      this.#unposted.delete(queue);
      return this.#post(queue);
    }
    const fetches = this.#fetchesNext;
    this.#fetchesNext = !fetches;
    if (fetches || this.#running.length === 0) {
      for (const queue of rung) return this.#fetch(queue);
    }
    const running = this.#running.shift();
    return running && this.#goOn(running);
  }

  /** Takes entries of a queue. */
  #fetch(queue: SubmissionQueue): number | undefined {
    // the end of the line
    this.#rung.delete(queue);
    if (queue.shadow) this.#readTail(queue, queue.shadow);
    const room = FETCHED_TOGETHER - (this.#ready.length - this.#next);
    let count = Math.min(queue.available, room);
    if (count <= 0) return 0;
    const address = queue.address + BigInt(queue.head << SUBMISSION_SHIFT);
    let bytes = new Uint8Array(count << SUBMISSION_SHIFT);
    if (!this.memory.read(address, bytes)) {
      count = 1;
      bytes = bytes.subarray(0, Command.SIZE);
      if (!this.memory.read(address, bytes)) return this.#fail();
    }
    if (this.#next === this.#ready.length) {
      this.#ready = [];
      this.#next = 0;
    }
    for (let i = 0; i < count; i++) {
      const own = bytes.subarray(i << SUBMISSION_SHIFT, (i + 1) << SUBMISSION_SHIFT);
      this.#ready.push(this.#request(queue, new Command(own)));
    }
    queue.head = (queue.head + count) % queue.size;
    queue.outstanding += count;
    if (queue.shadow) {
      this.#queues.writeIndex(queue.shadow.eventIndex, queue.tail);
      this.#readTail(queue, queue.shadow);
    }
    if (!queue.isEmpty) this.#rung.add(queue);
    return bytes.length;
  }

  /** A number that is no tail of the queue changes nothing. */
  #readTail(queue: SubmissionQueue, shadow: Shadow): void {
    const tail = this.#queues.readIndex(shadow.doorbell);
    if (tail < queue.size) queue.tail = tail;
  }

  #request(queue: SubmissionQueue, command: Command): Request {
    const wake = () => {
      const running = [...this.#waiting].find((each) => each.request === request);
      if (!running) return;
      this.#waiting.delete(running);
      this.#running.push(running);
      this.#bus.clock.resume(this);
    };
    const request: Request = { queue, command, result: 0, moved: 0, wake };
    return request;
  }

  #begin(): number {
    const request = this.#ready[this.#next++]!;
    const commands = request.queue.id === 0 ? this.#admin : this.#io;
    return this.#goOn({ request, steps: commands.execute(request) });
  }

  #goOn(running: Running): number {
    const { done, value } = running.steps.next();
    if (done) {
      if (value !== COMPLETED_LATER) this.#complete(running.request, value);
      return running.request.moved;
    }
    if (value === "waiting") {
      this.#waiting.add(running);
      return 0;
    }
    this.#running.push(running);
    return value;
  }

  #complete({ queue, command, result }: Request, code: number): void {
    queue.completions.pending.push({ queue, id: command.id, status: code, result });
    this.#unpostedCount++;
    this.#unposted.add(queue.completions);
  }

  /** Posts what fits, and tells the host. */
  #post(queue: CompletionQueue): number | undefined {
    this.#unpostedCount = 0;
    const { pending, shadow } = queue;
    let posted = 0;
    while (pending.length > 0) {
      if (shadow) {
        this.#queues.writeIndex(shadow.eventIndex, queue.head);
        const head = this.#queues.readIndex(shadow.doorbell);
        if (head < queue.size) queue.head = head;
      }
      const count = Math.min(queue.room, pending.length);
      if (count === 0) break;
      const bytes = new Uint8Array(count << COMPLETION_SHIFT);
      const view = new DataView(bytes.buffer);
      for (let i = 0; i < count; i++) {
        const { queue: submissions, id, status: code, result } = pending[i]!;
        const at = i * COMPLETION_SIZE;
        view.setUint32(at, result, true);
        view.setUint16(at + 8, submissions.head, true);
        view.setUint16(at + 10, submissions.id, true);
        view.setUint16(at + 12, id, true);
        view.setUint16(at + 14, (code << 1) | queue.phase, true);
      }
      if (!this.memory.write(queue.address + BigInt(queue.tail << COMPLETION_SHIFT), bytes)) return this.#fail();
      for (const { queue: submissions } of pending.splice(0, count)) {
        submissions.outstanding--;
        if (!submissions.isEmpty && this.submissions.get(submissions.id) === submissions) this.#rung.add(submissions);
      }
      queue.advance(count);
      posted += count;
    }
    if (posted > 0 && queue.interrupts && queue.head !== queue.tail) {
      if (this.#bus.messagesEnabled) this.#bus.sendMessage(queue.vector);
      else this.updateLine();
    }
    return posted * COMPLETION_SIZE;
  }

  /** The INTx line is up while a queue has entries that the host has not taken, and its vector is not masked. */
  updateLine(): void {
    const isUp =
      !this.#bus.messagesEnabled &&
      [...this.completions.values()].some(
        ({ interrupts, head, tail, vector }) => interrupts && head !== tail && !((this.#masked >>> vector) & 1),
      );
    if (isUp === this.#line) return;
    this.#line = isUp;
    this.#bus.setLine(isUp);
  }

  /** A queue cannot be reached: nothing more is done until the controller is reset. */
  #fail(): undefined {
    this.#hasFailed = true;
    this.#rung.clear();
    this.#ready = [];
    this.#next = 0;
    this.#running = [];
    this.#waiting.clear();
    this.#unposted.clear();
    this.#owner.fatal();
    return undefined;
  }
}
