import type { PciFunction } from "../../devices/pci/function.ts";
import { type SavableModel, type SavedMemory, SavedStateError } from "../../devices/saved-state.ts";
import { fail, hex, KernelError } from "../../kernel/errors.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { Release } from "../../kernel/releases.ts";
import {
  VFIO_DEVICE_STATE_ERROR as ERROR,
  VFIO_DEVICE_STATE_PRE_COPY as PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P as PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_RUNNING as RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P as RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP as STOP,
  VFIO_DEVICE_STATE_STOP_COPY as STOP_COPY,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
} from "../../uapi/vfio-migration.ts";
import { ResumingFile, SavingFile } from "./data-files.ts";
import { DmaLog } from "./dma-log.ts";
import { precopyInfo } from "./precopy-info.ts";
import { frameSize, SavingStream } from "./saving-stream.ts";
import { nextState, stateName } from "./states.ts";
import { memoryRecordSize } from "./stream.ts";

/** How long a device may take to end what it has begun, in milliseconds. */
const PATIENCE_MS = 10_000;
/** Bytes of a mapped region that are brought over in a step. */
const STEP = 256 * 1024;

/** What migration needs of a device that is open. */
export interface MigratedDevice {
  readonly target: PciFunction;
  readonly context: { readonly release: Release };
  /** Carries out what programs have written to mapped registers. */
  pollShared(): boolean;
  /** Shows programs what the registers are now. */
  showShared(): void;
  /** Brings what programs have written to a mapped part of a region to the device. */
  pull(region: number, at: number, length: number): void;
  /** Brings it back after the device's side has changed. */
  push(region: number, at: number, length: number): void;
}

/** The steps of a change of state; the file that it gives at the end, when it is one that gives one. */
type Transition = Generator<void, FileDescription | undefined>;

/** How a change of state ended. */
interface Outcome {
  readonly file?: FileDescription | undefined;
  readonly error?: unknown;
}

/** A change of state that was asked for. */
interface Change {
  readonly steps: Transition;
  outcome: Outcome | undefined;
}

/** The migration of a device that is open (struct vfio_device: mig_ops, log_ops). */
export class DeviceMigration {
  /** VFIO_MIGRATION_*: what the device can do. */
  readonly flags: number;
  readonly log: DmaLog;
  /** VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 was set. */
  hasPrecopyFlags = false;
  readonly #device: MigratedDevice;
  readonly #model: SavableModel;
  #state: number = RUNNING;
  #saving: SavingFile | undefined;
  #resuming: ResumingFile | undefined;
  /** Under way: whoever comes next ends it first, since its caller may be gone. */
  #change: Change | undefined;

  constructor(device: MigratedDevice, model: SavableModel) {
    this.#device = device;
    this.#model = model;
    this.log = new DmaLog(device.target);
    const precopy = this.release.has("migrationPrecopy") ? VFIO_MIGRATION_PRE_COPY : 0;
    this.flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | precopy;
  }

  get name(): string {
    return this.#device.target.name;
  }

  get release(): Release {
    return this.#device.context.release;
  }

  get state(): number {
    return this.#state;
  }

  get isInPrecopy(): boolean {
    return this.#state === PRE_COPY || this.#state === PRE_COPY_P2P;
  }

  /** Bytes that STOP_COPY will transfer, estimated. */
  get dataSize(): number {
    const memories = this.#memories.reduce(
      (sum, memory) => sum + [...memory.pieces()].length * memoryRecordSize(memory.pieceSize),
      0,
    );
    return frameSize(this.#identity) + memories + (this.#model.savedSize?.() ?? this.#model.save().bytes.length);
  }

  /**
   * Goes to a state, step by step (migration_set_state). EINVAL where no way leads there, and for a stream that the
   * device does not take; EBUSY when it does not come to rest.
   * @returns the data file that belongs to the new state, when it was made for it
   */
  *setState(wanted: number): Transition {
    while (this.#change) {
      this.#advance(this.#change);
      if (this.#change) yield;
    }
    const change: Change = { steps: this.#go(wanted), outcome: undefined };
    this.#change = change;
    while (!change.outcome) {
      this.#advance(change);
      if (!change.outcome) yield;
    }
    const { file, error } = change.outcome;
    if (error !== undefined) throw error;
    return file;
  }

  #advance(change: Change): void {
    try {
      const { done, value } = change.steps.next();
      if (done) this.#end(change, { file: value });
    } catch (error) {
      this.#end(change, { error });
    }
  }

  #end(change: Change, outcome: Outcome): void {
    change.outcome = outcome;
    if (this.#change === change) this.#change = undefined;
  }

  *#go(wanted: number): Transition {
    let file: FileDescription | undefined;
    while (this.#state !== wanted) {
      const next = nextState(this.name, this.flags, this.#state, wanted);
      file = yield* this.#step(next);
      this.#state = next;
    }
    return file;
  }

  /** One arc of the state machine. */
  *#step(next: number): Transition {
    const { target } = this.#device;
    switch (`${this.#state} ${next}`) {
      case `${RUNNING} ${RUNNING_P2P}`:
      case `${PRE_COPY} ${PRE_COPY_P2P}`:
        yield* this.#quiesce();
        return undefined;
      case `${RUNNING_P2P} ${RUNNING}`:
      case `${PRE_COPY_P2P} ${PRE_COPY}`:
        target.release();
        return undefined;
      case `${RUNNING_P2P} ${STOP}`:
        target.halt(true);
        return undefined;
      case `${STOP} ${RUNNING_P2P}`:
        target.halt(false);
        return undefined;
      case `${PRE_COPY} ${RUNNING}`:
      case `${PRE_COPY_P2P} ${RUNNING_P2P}`:
      case `${STOP_COPY} ${STOP}`:
        this.#endFiles();
        return undefined;
      case `${RUNNING} ${PRE_COPY}`:
      case `${RUNNING_P2P} ${PRE_COPY_P2P}`:
        return this.#save();
      case `${STOP} ${STOP_COPY}`: {
        const file = this.#save();
        yield* this.#complete(file);
        return file;
      }
      case `${PRE_COPY_P2P} ${STOP_COPY}`:
        target.halt(true);
        yield* this.#complete(this.#saving!);
        return undefined;
      case `${STOP} ${RESUMING}`:
        this.#resuming = new ResumingFile(this.name, this.#identity, this.#memories);
        return this.#resuming;
      case `${RESUMING} ${STOP}`:
        yield* this.#load(this.#resuming!);
        return undefined;
    }
    throw new Error(`${stateName(this.#state)} to ${stateName(next)} is no arc`);
  }

  *#quiesce(): Generator<void, void> {
    const { target } = this.#device;
    this.#device.pollShared();
    try {
      if (yield* target.quiesce(PATIENCE_MS)) return;
    } catch (error) {
      target.release();
      throw notGiven(this.name, error);
    }
    target.release();
    fail("EBUSY", `${this.name} does not end what it does within ${PATIENCE_MS / 1000} s`);
  }

  #save(): SavingFile {
    const pull = ({ region, pieceSize }: SavedMemory, piece: number) => {
      if (region !== undefined) this.#device.pull(region, piece * pieceSize, pieceSize);
    };
    const stream = new SavingStream(this.#identity, this.#memories, pull);
    this.#saving = new SavingFile(this.name, stream, (file, task, arg) => precopyInfo(this, file, task, arg));
    return this.#saving;
  }

  *#complete({ stream }: SavingFile): Generator<void, void> {
    yield* this.#eachMapped((region, at, length) => this.#device.pull(region, at, length));
    try {
      if (this.#model.fetchState) yield* this.#model.fetchState();
    } catch (error) {
      this.#endFiles();
      throw notGiven(this.name, error);
    }
    const { clock, kept } = this.#device.target;
    stream.complete((writer) => [
      writer.writes(clock.posted),
      writer.messages(kept),
      writer.state(this.#model.save()),
      writer.end(),
    ]);
  }

  *#load(file: ResumingFile): Generator<void, void> {
    const { target } = this.#device;
    const { reader, pieces } = file;
    try {
      if (file.failure !== undefined) throw new Error(file.failure);
      if (!reader.isWhole || !reader.state) throw new Error("it is cut short");
      const lost = reader.writes.find(({ region, offset, width }) => {
        const size = target.bar(region)?.size ?? 0;
        return offset % width !== 0 || offset + width > size;
      });
      if (lost) throw new Error(`it has a write to ${hex(lost.offset)} of BAR ${lost.region}`);
      if (this.#model.restoreInSteps) yield* this.#model.restoreInSteps(reader.state);
      else this.#model.restore(reader.state);
    } catch (error) {
      this.#state = ERROR;
      this.#endFiles();
      fail("EINVAL", `${this.name} takes nothing of the stream: ${(error as Error).message}`);
    }
    for (const [which, memory] of this.#memories.entries()) memory.replace(pieces[which]!);
    target.clock.posted = [...reader.writes];
    for (const vector of reader.messages) target.kept.add(vector);
    this.#endFiles();
    yield* this.#eachMapped((region, at, length) => this.#device.push(region, at, length));
    this.#device.showShared();
  }

  *#eachMapped(move: (region: number, at: number, length: number) => void): Generator<void, void> {
    for (const { region, size } of this.#memories) {
      if (region === undefined) continue;
      for (let at = 0; at < size; at += STEP) {
        move(region, at, Math.min(STEP, size - at));
        yield;
      }
    }
  }

  #endFiles(): void {
    this.#saving?.end();
    this.#resuming?.end();
    this.#saving = undefined;
    this.#resuming = undefined;
  }

  /** The device was reset: it runs again. */
  reset(): void {
    const reason = `${this.name} was reset before it was in the state that was asked for`;
    if (this.#change) this.#end(this.#change, { error: new KernelError("EINVAL", reason) });
    this.#endFiles();
    this.#state = RUNNING;
  }

  /** The last close. What is held is reset, so that whoever comes next finds a device that runs, and as it was made. */
  close(): void {
    const isHeld = this.#state !== RUNNING && this.#state !== PRE_COPY;
    this.reset();
    this.log.stop();
    this.hasPrecopyFlags = false;
    if (isHeld) this.#device.target.reset();
  }

  get #memories(): readonly SavedMemory[] {
    return this.#model.memories ?? [];
  }

  /** What must be the same on both sides. */
  get #identity(): string {
    const { vendor, device, subsystemVendor, class: code, bars } = this.#device.target.description;
    const digits = (value: number) => value.toString(16).padStart(4, "0");
    const regions = bars.map(({ index, size }) => `${index}/${size.toString(16)}`);
    const memories = this.#memories.map(({ size, pieceSize }) => `${size.toString(16)}/${pieceSize.toString(16)}`);
    return [
      `${digits(vendor)}:${digits(device)} ${digits(subsystemVendor)} class ${digits(code)}`,
      `bars ${regions.join(" ")}`,
      `memory ${memories.join(" ")}`,
    ].join(", ");
  }
}

/** EIO for a device in another process that does not do what is asked. */
function notGiven(name: string, error: unknown): unknown {
  if (!(error instanceof SavedStateError)) return error;
  return new KernelError("EIO", `${name} does not go on with its migration: ${error.message}`);
}
