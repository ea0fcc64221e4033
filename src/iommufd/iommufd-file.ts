import { fail, hex } from "../kernel/errors.ts";
import type { MappedObject, MmapRequest, SharedMemory } from "../kernel/file-description.ts";
import { finish, type RequestSteps } from "../kernel/request-steps.ts";
import type { Task } from "../kernel/task.ts";
import type { Word } from "../kernel/word.ts";
import { IOMMUFD_CMD_BASE } from "../uapi/ioctl.ts";
import { IOMMU_TEST_CMD } from "../uapi/iommufd-test.ts";
import { type GroupIommufd, IommufdDescription } from "../vfio/iommufd.ts";
import { Command } from "./command.ts";
import { compatRequest } from "./compat/requests.ts";
import type { IommufdContext } from "./context.ts";
import { forGroups } from "./devices/for-groups.ts";
import { WINDOWS_SIZE } from "./mmap-windows.ts";
import { HANDLERS, type RequestHandler } from "./requests/table.ts";
import { TEST_HANDLER } from "./selftest/operations.ts";

const command = new Command();
const LAST_NUMBER = Math.max(...HANDLERS.keys()) & 0xff;
/** A kernel that was built for its own tests has one more, far behind the others. */
const LAST_TEST_NUMBER = IOMMU_TEST_CMD & 0xff;

/** An open /dev/iommu. */
export class IommufdFile extends IommufdDescription {
  override readonly label = "iommufd";
  readonly context: IommufdContext;
  readonly forGroups: GroupIommufd;

  constructor(context: IommufdContext) {
    super();
    this.context = context;
    this.forGroups = forGroups(context);
  }

  override ioctl(task: Task, request: number, arg: Word): number {
    return finish(this.#request(task, request, arg));
  }

  override ioctlInSteps(task: Task, request: number, arg: Word): number | RequestSteps {
    return this.#request(task, request, arg);
  }

  /** main.c:iommufd_fops_ioctl. Not one of the two methods above: who watches calls replaces those. */
  #request(task: Task, request: number, arg: Word): number | RequestSteps {
    const { faults } = this.context.module;
    return faults ? faults.run(task.tid, () => this.#serve(task, request, arg)) : this.#serve(task, request, arg);
  }

  #serve(task: Task, request: number, arg: Word): number | RequestSteps {
    const { selftest } = this.context.module;
    const handler = HANDLERS.get(request) ?? (selftest && request === IOMMU_TEST_CMD ? TEST_HANDLER : undefined);
    if (handler && this.#knows(handler)) {
      command.fetch(task, arg, handler.size, handler.minimum, handler.name);
      return handler.execute(this.context, command);
    }
    const number = request & 0xff;
    if (number < IOMMUFD_CMD_BASE || number > (selftest ? LAST_TEST_NUMBER : LAST_NUMBER))
      return compatRequest(this.context, task, request, arg);
    // a number of iommufd's with another type or direction: the structure's size is looked at first
    if (!handler) task.memory.copyIn(arg, new Uint8Array(4), 4);
    const { release } = this.context.module.context;
    fail("ENOTTY", `an iommufd of Linux ${release.name} knows no request ${hex(request)}`);
  }

  /** Of hosts whose drivers may have memory to map. */
  override get memorySize(): number {
    return this.context.module.pasidHardware ? WINDOWS_SIZE : 0;
  }

  override attachMemory(memory: SharedMemory): void {
    this.context.windows.attachMemory(memory);
  }

  override mmap(_task: Task, request: MmapRequest): void {
    this.context.windows.check(request);
  }

  override mappedObject(request: MmapRequest): MappedObject | undefined {
    return this.context.windows.objectOf(request);
  }

  #knows({ needs }: RequestHandler): boolean {
    return needs === undefined || this.context.module.context.release.has(needs);
  }

  override release(): void {
    this.context.put();
  }
}
