import {
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
} from "../../../uapi/vfio-feature.ts";
import {
  VfioDeviceFeatureMigDataSize as DATA_SIZE,
  VfioDeviceFeatureMigration as MIGRATION,
  VfioDeviceFeatureMigState as STATE,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_STOP_COPY,
} from "../../../uapi/vfio-migration.ts";
import {
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_MIG_DATA_READ,
  VFIO_USER_MIG_DATA_WRITE,
} from "../../../vfio-user/commands.ts";
import type { Question } from "../../../vfio-user/connection.ts";
import { MigrationDataBody } from "../../../vfio-user/layouts.ts";
import { PeerError } from "../../../vfio-user/peer-error.ts";
import { type SavedState, SavedStateError } from "../../saved-state.ts";
import { RefusedError, type RemoteDevice } from "./remote-device.ts";
import { beginFeature, getFeature, setFeature } from "./remote-features.ts";

const VERSION = 1;
/** Bytes of one message: the thread goes through them in far less than a millisecond. */
const PORTION = 128 * 1024;
/** What a data file of VFIO takes as one state here, in bytes. */
const MOST = 15 * 2 ** 20;
/** How long one look at the server takes, in milliseconds. */
const LOOK_MS = 1;
const NONE = new Uint8Array(0);

/** VFIO_MIGRATION_*: what a server says that its device can do; 0 for none. @throws PeerError */
export function migrationOf(remote: RemoteDevice): number {
  if (!remote.abilities.migration) return 0;
  try {
    const { flags } = MIGRATION.decode(getFeature(remote, VFIO_DEVICE_FEATURE_MIGRATION, NONE, MIGRATION.size));
    return Number(flags & 0xffn);
  } catch (error) {
    if (error instanceof RefusedError) return 0;
    throw error;
  }
}

/**
 * The states of a device elsewhere, and the data that its server gives and takes. A change of state of VFIO's is one of
 * the server's; the data are all taken when the device has stopped.
 */
export class RemoteMigration {
  readonly #remote: RemoteDevice;
  readonly #restState: number;
  readonly #size: number;
  /** The way to rest, while the server is on it. */
  #pausing: Generator<void, void> | undefined;
  #isHeld = false;
  #data: Buffer | undefined;

  /** @param flags what migrationOf() says */
  constructor(remote: RemoteDevice, flags: number) {
    this.#remote = remote;
    this.#restState = flags & VFIO_MIGRATION_P2P ? VFIO_DEVICE_STATE_RUNNING_P2P : VFIO_DEVICE_STATE_STOP;
    this.#size = remote.regions.reduce((sum, { size }) => sum + size, 0);
  }

  /** Whether the server can do what is needed. */
  static isEnough(flags: number): boolean {
    return (flags & VFIO_MIGRATION_STOP_COPY) !== 0;
  }

  /** Whether the device rests, so that its server takes nothing but what migration needs. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  pause(): void {
    this.#isHeld = true;
    this.#pausing = this.#go(this.#restState);
  }

  /** @throws SavedStateError */
  isBusy(): boolean {
    if (!this.#pausing) return false;
    const { done } = this.#pausing.next();
    if (done) this.#pausing = undefined;
    return !done;
  }

  /** The device runs again. */
  resume(): void {
    this.#pausing = undefined;
    this.#data = undefined;
    this.#isHeld = false;
    this.#remote.access(() => this.#setState(VFIO_DEVICE_STATE_RUNNING));
  }

  /** The server's figure; all of its registers and memory where it has none. */
  size(): number {
    const size = () => getFeature(this.#remote, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, NONE, DATA_SIZE.size);
    return (
      this.#remote.attempt(() => {
        try {
          return Math.min(Number(DATA_SIZE.decode(size()).stop_copy_length), MOST);
        } catch (error) {
          if (error instanceof RefusedError) return this.#size;
          throw error;
        }
      }) ?? 0
    );
  }

  /** Takes all that the server gives. @throws SavedStateError */
  *fetch(): Generator<void, void> {
    yield* this.#go(VFIO_DEVICE_STATE_STOP_COPY);
    const portions: Buffer[] = [];
    for (let total = 0; ; ) {
      const { size: head } = MigrationDataBody;
      const question = MigrationDataBody.encode({ argsz: head + this.#portion, size: this.#portion });
      const body = yield* this.#ask(() => this.#remote.begin(VFIO_USER_MIG_DATA_READ, [question]));
      const count = body.length < head ? this.#portion + 1 : MigrationDataBody.decode(body).size;
      if (count > this.#portion || body.length < head + count)
        throw this.#lost(new PeerError(`its answer to MIG_DATA_READ has ${body.length} bytes`));
      if (count === 0) break;
      total += count;
      if (total > MOST) throw new SavedStateError(`its server gives more than ${MOST} bytes`);
      portions.push(body.subarray(head, head + count));
    }
    yield* this.#go(VFIO_DEVICE_STATE_STOP);
    this.#data = Buffer.concat(portions);
  }

  /** What fetch() has taken. */
  save(): SavedState {
    return { version: VERSION, bytes: this.#data ?? NONE };
  }

  /** Gives a state to the server, and leaves the device at rest. @throws SavedStateError */
  *restore({ version, bytes }: SavedState): Generator<void, void> {
    if (version !== VERSION) throw new SavedStateError(`its form ${version} is not known`);
    this.#isHeld = true;
    yield* this.#go(VFIO_DEVICE_STATE_RESUMING);
    for (let at = 0; at < bytes.length; at += this.#portion) {
      const data = bytes.subarray(at, at + this.#portion);
      const head = MigrationDataBody.encode({ argsz: MigrationDataBody.size + data.length, size: data.length });
      yield* this.#ask(() => this.#remote.begin(VFIO_USER_MIG_DATA_WRITE, [head, data]));
    }
    yield* this.#go(VFIO_DEVICE_STATE_STOP);
  }

  /** DEVICE_RESET of a device that rests: there are servers that refuse it, and ones that leave it at rest. */
  reset(): void {
    this.#pausing = undefined;
    this.#data = undefined;
    this.#isHeld = false;
    this.#remote.access(() => {
      try {
        this.#remote.ask(VFIO_USER_DEVICE_RESET, []);
      } catch (error) {
        if (!(error instanceof RefusedError)) throw error;
        this.#setState(VFIO_DEVICE_STATE_RUNNING);
        this.#remote.ask(VFIO_USER_DEVICE_RESET, []);
      }
      const answer = getFeature(this.#remote, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, NONE, STATE.size);
      if (STATE.decode(answer).device_state !== VFIO_DEVICE_STATE_RUNNING) this.#setState(VFIO_DEVICE_STATE_RUNNING);
    });
  }

  get #portion(): number {
    return Math.min(PORTION, this.#remote.abilities.maxTransfer);
  }

  #setState(state: number): void {
    setFeature(this.#remote, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, encodeState(state));
  }

  *#go(state: number): Generator<void, void> {
    const begin = () => beginFeature(this.#remote, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, encodeState(state));
    yield* this.#ask(begin);
  }

  /** An answer, in steps. @throws SavedStateError */
  *#ask(begin: () => Question): Generator<void, Buffer> {
    if (this.#remote.reason !== undefined) throw new SavedStateError("its server is gone");
    try {
      const question = begin();
      for (;;) {
        const body = this.#remote.answerTo(question, LOOK_MS);
        if (body) return body;
        yield;
      }
    } catch (error) {
      throw this.#lost(error);
    }
  }

  #lost(error: unknown): unknown {
    if (error instanceof PeerError) this.#remote.gone(error.message);
    else if (!(error instanceof RefusedError)) return error;
    return new SavedStateError(`its server: ${error.message}`);
  }
}

function encodeState(device_state: number): Uint8Array {
  return STATE.encode({ device_state, data_fd: -1 });
}
