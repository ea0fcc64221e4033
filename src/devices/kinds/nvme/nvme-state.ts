import { type SavedState, SavedStateError } from "../../saved-state.ts";
import { HEX, misfit, type Shape } from "../../shape.ts";
import type { ControllerState } from "./controller-state.ts";
import type { ControllerFacts } from "./facts.ts";
import { FORMATS, type NamespaceState } from "./namespace.ts";
import { REGISTERS_SIZE } from "./registers.ts";

/** All of a controller that is saved, beside its memory and its disks. */
export interface NvmeState {
  /** What must be the same where it is restored. */
  readonly facts: string;
  /** Bytes of the registers in hex. */
  readonly registers: string;
  /** The last values. */
  readonly doorbells: readonly number[];
  readonly pmrEnabled: boolean;
  /** Where its own memory is, in hex. */
  readonly cmbBase: string | null;
  readonly pmrBase: string | null;
  readonly controller: ControllerState;
  readonly namespaces: readonly NamespaceState[];
}

const VERSION = 1;
const MOST_ENTRIES = 65_536;

const COMPLETION = { queue: 0, id: 0, status: 0, result: 0 };
const SHAPE: Shape = {
  facts: "",
  registers: HEX,
  doorbells: [0],
  pmrEnabled: false,
  cmbBase: { orNull: HEX },
  pmrBase: { orNull: HEX },
  controller: {
    completions: [
      {
        ...{ id: 0, address: HEX, size: 0, vector: 0, interrupts: false, head: 0, tail: 0, phase: 0 },
        pending: [COMPLETION],
      },
    ],
    submissions: [{ id: 0, address: HEX, size: 0, completions: 0, head: 0, tail: 0, outstanding: 0 }],
    shadows: { orNull: { doorbells: HEX, eventIndexes: HEX } },
    masked: 0,
    hasFailed: false,
    queuesMade: false,
    changed: [0],
    events: { requests: [HEX], kept: [{ type: 0, page: 0, info: 0 }], told: [0] },
    features: {
      ...{ over: 0, under: 0, asyncEvents: 0, writeCache: false, nonatomic: 0 },
      ...{ hostBehavior: HEX, timestamp: HEX, elapsed: 0.5 },
    },
  },
  namespaces: [
    {
      ...{ format: 0, isExtended: false, protectsFirst: false, isAttached: false, errorRecovery: 0 },
      counts: { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 },
    },
  ],
};

/** What two controllers must have in common, in words. */
export function factsText(facts: ControllerFacts): string {
  const { serial, queues, vectors, entries, transferShift, eventRequests, namespaces } = facts;
  const disks = namespaces.map(({ id, disk }) => `${id}: ${disk.size} bytes`);
  return `serial ${serial}, ${queues} queues of ${entries}, ${vectors} vectors, mdts ${transferShift}, ${eventRequests} event requests, namespaces ${disks.join(", ")}`;
}

/** Version 1: JSON. */
export function encodeNvme(state: NvmeState): SavedState {
  return { version: VERSION, bytes: Buffer.from(JSON.stringify(state)) };
}

/** @throws SavedStateError */
export function decodeNvme({ version, bytes }: SavedState, facts: ControllerFacts): NvmeState {
  if (version !== VERSION)
    throw new SavedStateError(`nvme: version ${version} of the state is unknown (known: ${VERSION})`);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString());
  } catch {
    throw new SavedStateError("nvme: the state is no JSON");
  }
  const place = misfit(value, SHAPE);
  if (place !== undefined) throw new SavedStateError(`nvme: the state is not as it must be at ${place}`);
  const state = value as NvmeState;
  const own = factsText(facts);
  if (state.facts !== own)
    throw new SavedStateError(`nvme: the state is of a controller with ${state.facts}; this one has ${own}`);
  const wrong = check(state, facts);
  if (wrong !== undefined) throw new SavedStateError(`nvme: the state has ${wrong}`);
  return state;
}

/** What no controller of these facts could have saved. */
function check(state: NvmeState, { queues, eventRequests, namespaces }: ControllerFacts): string | undefined {
  const { completions, submissions, events, features } = state.controller;
  if (state.registers.length !== 2 * REGISTERS_SIZE) return "other registers";
  if (state.doorbells.length !== 2 * (queues + 1)) return "other doorbells";
  if (state.namespaces.length !== namespaces.length) return "other namespaces";
  if (state.namespaces.some(({ format }) => format >= FORMATS.length)) return "a format that there is not";
  const ids = (of: readonly { readonly id: number }[]) => new Set(of.map(({ id }) => id));
  const [completionIds, submissionIds] = [ids(completions), ids(submissions)];
  if (completionIds.size !== completions.length || submissionIds.size !== submissions.length) return "a queue twice";
  const isQueue = ({ id, size, head, tail, address }: (typeof submissions)[number] | (typeof completions)[number]) =>
    id <= queues && size >= 2 && size <= MOST_ENTRIES && head < size && tail < size && isAddress(address);
  if (![...completions, ...submissions].every(isQueue)) return "a queue that there cannot be";
  if (completions.some(({ phase, vector }) => phase > 1 || vector > 0xffff)) return "a phase or vector too high";
  if (completions.some(({ pending }) => pending.some(({ queue }) => !submissionIds.has(queue))))
    return "a completion for no queue";
  if (submissions.some((queue) => !completionIds.has(queue.completions) || queue.outstanding > queue.size))
    return "a queue that belongs to none";
  const requests = events.requests.length;
  if (requests > eventRequests || (requests > 0 && !submissionIds.has(0))) return "too many event requests";
  if (events.requests.some((request) => request.length !== 128)) return "a request that is no command";
  if (features.hostBehavior.length !== 1024 || features.timestamp.length > 16) return "a feature of another size";
  return undefined;
}

function isAddress(hex: string): boolean {
  return hex.length > 0 && hex.length <= 16;
}
