import { PIECE } from "../../disk/disk.ts";
import { ADMIN_EFFECTS, Admin, ALL_NAMESPACES, type Command } from "./command.ts";
import type { CommandContext } from "./command-context.ts";
import { HEALTH_EVENT, NAMESPACES_CHANGED, NOTICE_EVENT, TEMPERATURE_THRESHOLD } from "./events.ts";
import { MOST_NAMESPACES } from "./facts.ts";
import { Feature, featureCapabilities, HOST_BEHAVIOR_SIZE } from "./features.ts";
import * as identify from "./identify.ts";
import { LOG_SIZES, logPage } from "./log-pages.ts";
import { FORMATS, type Namespace } from "./namespace.ts";
import type { Request } from "./queues.ts";
import { COMPLETION_SHIFT, SUBMISSION_SHIFT } from "./registers.ts";
import * as status from "./status.ts";
import { atOnce, COMPLETED_LATER, type Steps } from "./steps.ts";
import { fromHost, toHost } from "./transfer.ts";

const INVALID_FIELD = status.INVALID_FIELD | status.DNR;
const INVALID_NAMESPACE = status.INVALID_NAMESPACE | status.DNR;
/** SEL of Get Features. */
const SAVED = 2;
const DEFAULT = 1;
const CAPABILITIES = 3;
const SAVE = 2 ** 31;
/** Bit of feature 0bh: the temperature. */
const REPORTS_TEMPERATURE = 1 << 1;
const CONTROLLER_LIST_SIZE = 4096;
const ZONED = 2;

type Handler = (request: Request) => Steps;

/**
 * Commands of the admin queue (NVM Express Base Specification 2.0, 5). Checks and their order are those of QEMU's
 * controller (hw/nvme/ctrl.c), which was recorded.
 */
export class AdminCommands {
  readonly #controller: CommandContext;
  readonly #handlers: ReadonlyMap<number, Handler>;

  constructor(controller: CommandContext) {
    this.#controller = controller;
    const at = (handle: (request: Request) => number): Handler => {
      return (request) => atOnce(() => handle(request));
    };
    this.#handlers = new Map<number, Handler>([
      [Admin.deleteSubmissionQueue, at(({ command }) => this.#deleteSubmissionQueue(command))],
      [Admin.createSubmissionQueue, at(({ command }) => this.#createSubmissionQueue(command))],
      [Admin.getLogPage, ({ command }) => this.#getLogPage(command)],
      [Admin.deleteCompletionQueue, at(({ command }) => this.#deleteCompletionQueue(command))],
      [Admin.createCompletionQueue, at(({ command }) => this.#createCompletionQueue(command))],
      [Admin.identify, ({ command }) => this.#identify(command)],
      [Admin.abort, at((request) => this.#abort(request))],
      [Admin.setFeatures, (request) => this.#setFeatures(request)],
      [Admin.getFeatures, (request) => this.#getFeatures(request)],
      [Admin.asyncEventRequest, at((request) => this.#controller.events.add(request) || COMPLETED_LATER)],
      [Admin.namespaceAttachment, ({ command }) => this.#attach(command)],
      [Admin.directiveSend, at(() => INVALID_FIELD)],
      [Admin.directiveReceive, ({ command }) => this.#receiveDirective(command)],
      [Admin.doorbellBufferConfig, at(({ command }) => this.#useShadows(command))],
      [Admin.formatNvm, ({ command }) => this.#format(command)],
    ]);
  }

  execute(request: Request): Steps {
    const { command } = request;
    const handler = ADMIN_EFFECTS.has(command.opcode) ? this.#handlers.get(command.opcode) : undefined;
    return handler && command.psdt === 0 && command.fuse === 0 ? handler(request) : refused(command, handler);
  }

  #createCompletionQueue(command: Command): number {
    const controller = this.#controller;
    const { facts, completions } = controller;
    const [id, size] = [command.dword(10) & 0xffff, command.dword(10) >>> 16];
    const [isContiguous, interrupts] = [(command.dword(11) & 1) !== 0, (command.dword(11) & 2) !== 0];
    const vector = command.dword(11) >>> 16;
    const { submission, completion } = controller.entryShifts;
    if (submission !== SUBMISSION_SHIFT || completion !== COMPLETION_SHIFT)
      return status.QUEUE_SIZE_INVALID | status.DNR;
    if (id === 0 || id > facts.queues || completions.has(id)) return status.QUEUE_ID_INVALID | status.DNR;
    if (size === 0 || size >= facts.entries) return status.QUEUE_SIZE_INVALID | status.DNR;
    if (!this.#isAligned(command.prp1)) return status.PRP_OFFSET_INVALID | status.DNR;
    if (vector >= facts.vectors || (vector > 0 && !controller.messagesEnabled))
      return status.VECTOR_INVALID | status.DNR;
    if (!isContiguous) return INVALID_FIELD;
    controller.addCompletionQueue({ id, address: command.prp1, size: size + 1 }, vector, interrupts);
    controller.queuesMade = true;
    return status.SUCCESS;
  }

  #createSubmissionQueue(command: Command): number {
    const { facts, completions, submissions } = this.#controller;
    const [id, size] = [command.dword(10) & 0xffff, command.dword(10) >>> 16];
    const completionId = command.dword(11) >>> 16;
    const queue = completionId === 0 ? undefined : completions.get(completionId);
    if (!queue) return status.CQ_INVALID | status.DNR;
    if (id === 0 || id > facts.queues || submissions.has(id)) return status.QUEUE_ID_INVALID | status.DNR;
    if (size === 0 || size >= facts.entries) return status.QUEUE_SIZE_INVALID | status.DNR;
    if (!this.#isAligned(command.prp1)) return status.PRP_OFFSET_INVALID | status.DNR;
    if (!(command.dword(11) & 1)) return INVALID_FIELD;
    this.#controller.addSubmissionQueue({ id, address: command.prp1, size: size + 1 }, queue);
    return status.SUCCESS;
  }

  #deleteSubmissionQueue(command: Command): number {
    const id = command.dword(10) & 0xffff;
    const queue = id === 0 ? undefined : this.#controller.submissions.get(id);
    if (!queue) return status.QUEUE_ID_INVALID | status.DNR;
    this.#controller.deleteSubmissionQueue(queue);
    return status.SUCCESS;
  }

  #deleteCompletionQueue(command: Command): number {
    const id = command.dword(10) & 0xffff;
    const queue = id === 0 ? undefined : this.#controller.completions.get(id);
    if (!queue) return status.CQ_INVALID | status.DNR;
    if (queue.users.size > 0) return status.QUEUE_IN_USE;
    this.#controller.deleteCompletionQueue(queue);
    return status.SUCCESS;
  }

  #isAligned(address: bigint): boolean {
    return (address & BigInt(this.#controller.pageSize - 1)) === 0n;
  }

  *#getLogPage(command: Command): Steps {
    const length = (((command.dword(11) & 0xffff) << 16) | (command.dword(10) >>> 16)) >>> 0;
    const bytes = (length + 1) * 4;
    const offset = command.quadword(12);
    if (offset & 3n || bytes > this.#controller.transferLimit) return INVALID_FIELD;
    const size = LOG_SIZES.get(command.dword(10) & 0xff);
    if (size === undefined || offset >= BigInt(size)) return INVALID_FIELD;
    const page = logPage(this.#controller, command);
    if (typeof page === "number") return page;
    const start = Number(offset);
    return yield* toHost(this.#controller, command, page.subarray(start, start + bytes));
  }

  *#identify(command: Command): Steps {
    const data = this.#identifyData(command);
    return typeof data === "number" ? data : yield* toHost(this.#controller, command, data);
  }

  #identifyData(command: Command): Uint8Array | number {
    const controller = this.#controller;
    const { facts } = controller;
    const { nsid } = command;
    const set = command.dword(11) >>> 24;
    const structure = command.dword(10) & 0xff;
    switch (structure) {
      case 0x00:
      case 0x11:
        return this.#ofNamespace(nsid, structure === 0x11, identify.namespaceData);
      case 0x01:
        return identify.controllerData(facts);
      case 0x02:
      case 0x10:
        return this.#namespacesBehind(nsid, structure === 0x10);
      case 0x03: {
        if (!isIdentifier(nsid)) return INVALID_NAMESPACE;
        const namespace = controller.namespace(nsid);
        return namespace ? identify.identifierList(namespace) : INVALID_FIELD;
      }
      case 0x05:
      case 0x1b:
        return this.#ofNamespace(nsid, structure === 0x1b, (namespace) =>
          set === 0 ? identify.namespaceCommandSetData(namespace) : INVALID_FIELD,
        );
      case 0x06:
        if (set === ZONED) return new Uint8Array(identify.IDENTIFY_SIZE);
        return set === 0 ? identify.controllerCommandSetData(controller.attached()) : INVALID_FIELD;
      case 0x07:
      case 0x1a: {
        if (nsid >= ALL_NAMESPACES - 1) return INVALID_NAMESPACE;
        if (set !== 0 && set !== ZONED) return INVALID_FIELD;
        return set === 0 ? this.#namespacesBehind(nsid, structure === 0x1a) : identify.namespaceList([]);
      }
      case 0x08:
      case 0x1f:
        return this.#ofNamespace(nsid, structure === 0x1f, identify.independentData);
      case 0x12: {
        const namespace = facts.namespaces.find(({ id }) => id === nsid);
        if (!namespace) return INVALID_FIELD;
        return identify.identifiers16(namespace.isAttached && command.dword(10) >>> 16 === 0 ? [0] : []);
      }
      case 0x13:
        return identify.identifiers16(command.dword(10) >>> 16 === 0 ? [0] : []);
      case 0x14:
        return identify.primaryCapabilities(facts);
      case 0x15:
        return new Uint8Array(identify.IDENTIFY_SIZE);
      case 0x19:
        return identify.identifiers16((command.dword(11) & 0xffff) === 0 ? [1] : []);
      case 0x1c:
        return identify.commandSets();
      default:
        return INVALID_FIELD;
    }
  }

  /** @param allocated also of a namespace that is not attached */
  #ofNamespace(
    nsid: number,
    allocated: boolean,
    data: (namespace: Namespace) => Uint8Array | number,
  ): Uint8Array | number {
    if (!isIdentifier(nsid)) return INVALID_NAMESPACE;
    const namespace = this.#controller.namespace(nsid, allocated);
    return namespace ? data(namespace) : new Uint8Array(identify.IDENTIFY_SIZE);
  }

  #namespacesBehind(nsid: number, allocated: boolean): Uint8Array | number {
    if (nsid >= ALL_NAMESPACES - 1) return INVALID_NAMESPACE;
    const { facts } = this.#controller;
    const listed = allocated ? facts.namespaces : this.#controller.attached();
    return identify.namespaceList(listed.map(({ id }) => id).filter((id) => id > nsid));
  }

  #abort(request: Request): number {
    const { command } = request;
    const [queue, id] = [command.dword(10) & 0xffff, command.dword(10) >>> 16];
    request.result = 1;
    if (!this.#controller.submissions.has(queue)) return INVALID_FIELD;
    // the others are over before they can be aborted, or go on: aborting is a best effort
    if (queue === 0 && this.#controller.events.abort(id)) request.result = 0;
    return status.SUCCESS;
  }

  *#getFeatures(request: Request): Steps {
    const { command } = request;
    const { features } = this.#controller;
    const id = command.dword(10) & 0xff;
    const select = (command.dword(10) >>> 8) & 7;
    const dword = command.dword(11);
    const capabilities = featureCapabilities(id);
    if (capabilities === undefined) return INVALID_FIELD;
    const isOfNamespace = id === Feature.errorRecovery || id === Feature.placementEvents;
    if (isOfNamespace && !isIdentifier(command.nsid)) return INVALID_NAMESPACE;
    const namespace = this.#controller.namespace(command.nsid);
    if (isOfNamespace && !namespace) return INVALID_FIELD;
    if (select === CAPABILITIES) {
      request.result = capabilities;
      return status.SUCCESS;
    }
    const isDefault = select === SAVED || select === DEFAULT;
    if (!isDefault && id === Feature.errorRecovery) {
      request.result = namespace!.errorRecovery;
      return status.SUCCESS;
    }
    if (!isDefault && id === Feature.timestamp) {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, features.timestamp, true);
      return yield* toHost(this.#controller, command, bytes);
    }
    if (!isDefault && id === Feature.hostBehavior)
      return yield* toHost(this.#controller, command, features.hostBehavior);
    const got = isDefault ? features.default(id, dword) : features.get(id, dword);
    if ("status" in got) return got.status;
    request.result = got.value;
    return status.SUCCESS;
  }

  *#setFeatures(request: Request): Steps {
    const { command } = request;
    const { nsid } = command;
    const controller = this.#controller;
    const { features } = controller;
    const id = command.dword(10) & 0xff;
    const dword = command.dword(11);
    const capabilities = featureCapabilities(id);
    if (command.dword(10) >= SAVE) return status.NOT_SAVEABLE | status.DNR;
    if (capabilities === undefined) return INVALID_FIELD;
    const isOfNamespace = id === Feature.errorRecovery || id === Feature.placementEvents;
    const meant = nsid === ALL_NAMESPACES ? controller.attached() : [controller.namespace(nsid)];
    if (isOfNamespace && nsid !== ALL_NAMESPACES) {
      if (!isIdentifier(nsid)) return INVALID_NAMESPACE;
      if (meant[0] === undefined) return INVALID_FIELD;
    }
    if (!isOfNamespace && nsid !== 0 && nsid !== ALL_NAMESPACES)
      return (isIdentifier(nsid) ? status.NOT_OF_NAMESPACE : status.INVALID_NAMESPACE) | status.DNR;
    if (capabilities === 0) return status.NOT_CHANGEABLE | status.DNR;
    switch (id) {
      case Feature.temperatureThreshold: {
        const problem = features.setThreshold(dword);
        const isTold = features.isTooWarm && (features.asyncEvents & REPORTS_TEMPERATURE) !== 0;
        if (!problem && ((dword >>> 16) & 15) === 0 && isTold)
          controller.events.raise(HEALTH_EVENT, TEMPERATURE_THRESHOLD);
        return problem;
      }
      case Feature.errorRecovery:
        for (const namespace of meant) namespace!.errorRecovery = dword;
        return status.SUCCESS;
      case Feature.writeCache: {
        const wasOn = features.writeCache;
        features.writeCache = (dword & 1) !== 0;
        if (!wasOn || features.writeCache) return status.SUCCESS;
        return yield* controller.flush(controller.attached(), request);
      }
      case Feature.numberOfQueues: {
        if (controller.queuesMade) return status.SEQUENCE_ERROR | status.DNR;
        if ((dword & 0xffff) === 0xffff || dword >>> 16 === 0xffff) return INVALID_FIELD;
        const queues = features.default(id, 0);
        if ("value" in queues) request.result = queues.value;
        return status.SUCCESS;
      }
      case Feature.writeAtomicity:
        features.setAtomicity(dword);
        return status.SUCCESS;
      case Feature.asyncEvents:
        features.asyncEvents = dword;
        return status.SUCCESS;
      case Feature.timestamp: {
        const bytes = new Uint8Array(8);
        const problem = yield* fromHost(controller, command, bytes);
        if (!problem) features.timestamp = new DataView(bytes.buffer).getBigUint64(0, true);
        return problem;
      }
      case Feature.hostBehavior: {
        const bytes = new Uint8Array(HOST_BEHAVIOR_SIZE);
        const problem = yield* fromHost(controller, command, bytes);
        if (!problem) features.hostBehavior.set(bytes);
        return problem;
      }
      case Feature.commandSetProfile:
        return dword & 0x1ff ? status.COMMAND_SET_COMBINATION | status.DNR : status.SUCCESS;
      case Feature.flexiblePlacement:
        return status.SEQUENCE_ERROR | status.DNR;
      default:
        return status.PLACEMENT_DISABLED | status.DNR;
    }
  }

  *#attach(command: Command): Steps {
    const controller = this.#controller;
    const { nsid } = command;
    const select = command.dword(10) & 15;
    if (nsid !== ALL_NAMESPACES && !isIdentifier(nsid)) return INVALID_NAMESPACE;
    const namespace = controller.namespace(nsid, true);
    if (!namespace) return INVALID_FIELD;
    const bytes = new Uint8Array(CONTROLLER_LIST_SIZE);
    const problem = yield* fromHost(controller, command, bytes);
    if (problem) return problem;
    const list = new DataView(bytes.buffer);
    const count = Math.min(list.getUint16(0, true), CONTROLLER_LIST_SIZE / 2 - 1);
    if (count === 0) return status.CONTROLLER_LIST_INVALID | status.DNR;
    for (let index = 1; index <= count; index++) {
      // there is one controller, and its number is 0
      if (list.getUint16(2 * index, true) !== 0) return status.CONTROLLER_LIST_INVALID | status.DNR;
      if (select > 1) return INVALID_FIELD;
      const attach = select === 0;
      if (namespace.isAttached === attach) return (attach ? status.ALREADY_ATTACHED : status.NOT_ATTACHED) | status.DNR;
      namespace.isAttached = attach;
      if (controller.noteChanged(nsid)) controller.events.raise(NOTICE_EVENT, NAMESPACES_CHANGED);
    }
    return status.SUCCESS;
  }

  *#receiveDirective(command: Command): Steps {
    const [operation, type] = [command.dword(11) & 0xff, (command.dword(11) >>> 8) & 0xff];
    const namespace = this.#controller.namespace(command.nsid);
    if (type !== 0 || operation !== 1 || !namespace) return INVALID_FIELD;
    // which directives there are, and which are on: Identify itself
    const parameters = new Uint8Array(identify.IDENTIFY_SIZE);
    parameters[0] = 1;
    parameters[32] = 1;
    const length = Math.min((command.dword(10) + 1) * 4, parameters.length);
    return yield* toHost(this.#controller, command, parameters.subarray(0, length));
  }

  #useShadows(command: Command): number {
    if (!this.#isAligned(command.prp1) || !this.#isAligned(command.prp2)) return INVALID_FIELD;
    this.#controller.useShadows(command.prp1, command.prp2);
    return status.SUCCESS;
  }

  *#format(command: Command): Steps {
    const { nsid } = command;
    const dword = command.dword(10);
    const [format, isExtended, protection] = [dword & 15, (dword & 16) !== 0, (dword >>> 5) & 7];
    let namespaces = this.#controller.attached();
    if (nsid !== ALL_NAMESPACES) {
      if (!isIdentifier(nsid)) return INVALID_NAMESPACE;
      const namespace = this.#controller.namespace(nsid);
      if (!namespace) return INVALID_FIELD;
      namespaces = [namespace];
    }
    for (const namespace of namespaces) {
      const layout = FORMATS[format];
      // protection information is not there, although Identify says so as QEMU's does
      if (!layout || protection !== 0) return status.INVALID_FORMAT | status.DNR;
      if (namespace.disk.isReadOnly) return status.WRITE_PROTECTED | status.DNR;
      namespace.isFormatting = true;
      try {
        yield* this.#erase(namespace);
        namespace.setFormat(format, isExtended, (dword & 256) !== 0);
      } finally {
        namespace.isFormatting = false;
      }
    }
    return status.SUCCESS;
  }

  *#erase({ disk }: Namespace): Steps<void> {
    for (let at = disk.nextData(0, disk.size); at < disk.size; at = disk.nextData(at, disk.size)) {
      const count = Math.min(PIECE, disk.size - at);
      disk.zero(at, count);
      at += count;
      yield count;
    }
  }
}

function isIdentifier(nsid: number): boolean {
  return nsid > 0 && nsid <= MOST_NAMESPACES;
}

/** Why a command is not carried out at all. */
function refused({ psdt }: Command, handler: Handler | undefined): Steps {
  if (!handler) return atOnce(() => status.INVALID_OPCODE | status.DNR);
  return atOnce(() => (psdt === 0 ? status.INVALID_FIELD : INVALID_FIELD));
}
