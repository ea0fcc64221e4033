import { DEVICE_KINDS } from "../../devices/kinds.ts";
import { Host } from "../../host/host.ts";
import { isLittleEndian } from "../../kernel/arch.ts";
import { KernelError } from "../../kernel/errors.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { DeviceDescription, HostDescription } from "../../machine/host-description.ts";
import type { ModelWatch } from "../../vfio/model-watch.ts";
import type { Answer } from "./answer.ts";
import { type Difference, difference } from "./compare.ts";
import { KnownDifferences } from "./known-differences.ts";
import type { Operation } from "./operation.ts";
import { ReplayProcess } from "./process.ts";
import type { ProgramIdentity } from "./program.ts";
import { factsOf } from "./recorded-calls.ts";
import { RecordingError } from "./recording-error.ts";
import type { RecordingFacts } from "./recording-facts.ts";
import { shown } from "./shown.ts";

/** An operation that the model answered in another way. */
export interface DifferentCall extends Difference {
  /** Line in the recording, from 1. */
  readonly line: number;
  readonly operation: Operation;
  /** The model's reason for its errno, where it gave one. */
  readonly reason?: string;
}

/** Who looks on while a recording is repeated. */
export interface ReplayLooker {
  /** What messages are to call the program. */
  readonly identity?: ProgramIdentity;
  readonly model?: ModelWatch;
  booted?(host: Host): void;
  /** @param file that the operation is made on, where the program has it open */
  before?(operation: Operation, file: FileDescription | undefined): void;
  /** Also of operations that are not made, since they only inform, or were ordered to fail. */
  after?(operation: Operation): void;
  noticed?(line: string): void;
}

export interface ReplayResult {
  /** Operations compared. */
  readonly calls: number;
  readonly equal: number;
  /** Answers that should be equal and are not. */
  readonly different: readonly DifferentCall[];
  /** Answers that differ for a documented reason: how many for each. */
  readonly known: ReadonlyMap<string, number>;
}

/**
 * Makes recorded calls against a freshly booted host and compares every answer.
 * @param operations are gone through twice
 * @param path of the recording, for messages
 * @param looker who looks on
 * @throws RecordingError for an operation that cannot be made: a buffer that was never mapped, a child that was never
 * begun
 */
export function replay(
  description: HostDescription,
  operations: Iterable<Operation>,
  path = "the recording",
  looker: ReplayLooker = {},
): ReplayResult {
  const facts = factsOf(operations);
  const warnings: string[] = [];
  const host = new Host(withoutFiles(description), {
    onWarning: (message) => {
      warnings.push(message);
      looker.noticed?.(message);
    },
    ...(looker.model && { watch: looker.model }),
    // time goes by where the recorded program waited
    now: () => 0,
  });
  // a trace has the slices in which devices did long jobs; where there are none, they were done at once or nobody knows
  // when
  host.deviceWork.inSlices = facts.hasSlices;
  looker.booted?.(host);
  const littleEndian = isRecordedLittleEndian(description, facts);
  const process = new ReplayProcess(host, littleEndian, {
    ...looker.identity,
    isTraced: facts.first?.op === "host",
  });
  const knownDifferences = new KnownDifferences(description, littleEndian, operations);
  const different: DifferentCall[] = [];
  const known = new Map<string, number>();
  let calls = 0;
  let line = 0;
  for (const operation of operations) {
    line++;
    looker.before?.(operation, process.file(operation));
    const answer = answerOf(process, operation, `${path}:${line}`);
    looker.after?.(operation);
    if (!answer) continue;
    calls++;
    const found = difference(operation, answer);
    const reason = knownDifferences.explain(operation, found, [...warnings.splice(0), answer.reason ?? ""], line);
    if (!found) continue;
    if (reason !== undefined) known.set(reason, (known.get(reason) ?? 0) + 1);
    else different.push({ ...found, line, operation, ...reasonOf(answer) });
  }
  process.exit();
  let explained = 0;
  for (const count of known.values()) explained += count;
  return { calls, equal: calls - different.length - explained, different, known };
}

/** Devices leave the files alone that they had when the calls were made. */
function withoutFiles(description: HostDescription): HostDescription {
  const changed = (device: DeviceDescription): DeviceDescription => {
    if (device.bus !== "pci" || !device.options) return device;
    const kind = DEVICE_KINDS.pci.find(({ model }) => model === device.model);
    return kind?.withoutFiles ? { ...device, options: kind.withoutFiles(device.options) } : device;
  };
  return {
    ...description,
    groups: description.groups.map((group) => ({ ...group, devices: group.devices.map(changed) })),
  };
}

/**
 * A trace of `uvfio run` has the structures of a program of this machine, whatever the host is; other recordings have
 * those of their machine.
 */
function isRecordedLittleEndian({ arch }: HostDescription, { first }: RecordingFacts): boolean {
  return (first?.op === "host" && first.machine !== undefined) || isLittleEndian(arch);
}

function answerOf(process: ReplayProcess, operation: Operation, place: string): Answer | undefined {
  try {
    return process.run(operation);
  } catch (error) {
    // calls that fail have answers: this is something that every program that is recorded can do
    if (!(error instanceof KernelError)) throw error;
    throw new RecordingError(`${place}: ${operation.op} cannot be repeated: ${shown(error.reason)}`);
  }
}

function reasonOf(answer: Answer): { reason?: string } {
  return answer.reason === undefined ? {} : { reason: answer.reason };
}
