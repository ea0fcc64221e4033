import { fail } from "../kernel/errors.ts";
import {
  FileDescription,
  type MappedObject,
  type MmapRequest,
  type RegisterPage,
  type SharedMemory,
} from "../kernel/file-description.ts";
import type { RequestSteps } from "../kernel/request-steps.ts";
import type { Task } from "../kernel/task.ts";
import { type Word, wordFromBigInt } from "../kernel/word.ts";
import type { RequestDialect } from "../uapi/requests/dialect.ts";
import { DEVICE_DIALECT } from "../uapi/requests/dialects.ts";
import {
  VfioDeviceAttachIommufdPt as Attach,
  VfioDeviceBindIommufdV617 as Bind,
  VfioDeviceBindIommufd as BindV66,
  VfioDeviceDetachIommufdPt as Detach,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_ATTACH_PASID,
  VFIO_DEVICE_BIND_FLAG_TOKEN,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  VFIO_DEVICE_DETACH_PASID,
} from "../uapi/vfio-cdev.ts";
import type { VfioDevice } from "../vfio/device.ts";
import type { VfioGroup } from "../vfio/group.ts";
import type { ModelContext } from "../vfio/model-context.ts";
import { UserStruct } from "../vfio/user-struct.ts";
import { Command } from "./command.ts";
import type { IommufdContext } from "./context.ts";
import { bindDevice } from "./devices/bind-device.ts";
import { type Binding, forVfio } from "./devices/binding.ts";
import { IommufdFile } from "./iommufd-file.ts";

const command = new Command();
const user = new UserStruct(Attach.size);
const UUID_BYTES = 16;

/**
 * An open /dev/vfio/devices/vfioN (drivers/vfio/device_cdev.c). It can do nothing but BIND_IOMMUFD until that has
 * worked; from then on it is the device's file.
 */
export class CdevFile extends FileDescription {
  override readonly kind = "device";
  readonly #context: ModelContext;
  readonly #device: VfioDevice;
  readonly #group: VfioGroup;
  #binding: Binding | undefined;
  #opened: FileDescription | undefined;
  #memory: SharedMemory | undefined;

  constructor(context: ModelContext, device: VfioDevice, group: VfioGroup) {
    super();
    this.#context = context;
    this.#device = device;
    this.#group = group;
  }

  override get dialect(): RequestDialect {
    return DEVICE_DIALECT;
  }

  override get label(): string {
    return `device ${this.#device.name}`;
  }

  /** The device's own file, once it is bound. */
  get opened(): FileDescription | undefined {
    return this.#opened;
  }

  override ioctl(task: Task, request: number, arg: Word): number {
    if (request === VFIO_DEVICE_BIND_IOMMUFD) return this.#bind(task, arg);
    const opened = this.#bound();
    switch (request) {
      case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
        return this.#attach(task, arg);
      case VFIO_DEVICE_DETACH_IOMMUFD_PT:
        return this.#detach(task, arg);
      default:
        return opened.ioctl(task, request, arg);
    }
  }

  override read(task: Task, address: Word, count: number, offset: Word): number {
    return this.#bound().read(task, address, count, offset);
  }

  override write(task: Task, address: Word, count: number, offset: Word): number {
    return this.#bound().write(task, address, count, offset);
  }

  override readInSteps(task: Task, address: Word, count: number, offset: Word): number | RequestSteps {
    return this.#bound().readInSteps(task, address, count, offset);
  }

  override writeInSteps(task: Task, address: Word, count: number, offset: Word): number | RequestSteps {
    return this.#bound().writeInSteps(task, address, count, offset);
  }

  override mmap(task: Task, request: MmapRequest): void {
    this.#bound().mmap(task, request);
  }

  override mappedObject(request: MmapRequest): MappedObject | undefined {
    return this.#opened?.mappedObject(request);
  }

  override attachMemory(memory: SharedMemory): void {
    this.#memory = memory;
    this.#opened?.attachMemory(memory);
  }

  override hasNewWrites(): boolean {
    return this.#opened?.hasNewWrites() ?? false;
  }

  override get registerPages(): readonly RegisterPage[] | undefined {
    return this.#opened ? this.#opened.registerPages : [];
  }

  override expectWrite(offset: number): boolean {
    return this.#opened?.expectWrite(offset) ?? false;
  }

  override isExpected(offset: number): boolean {
    return this.#opened?.isExpected(offset) ?? false;
  }

  override carryOutWrite(offset: number): void {
    this.#opened?.carryOutWrite(offset);
  }

  override forgetWrites(): void {
    this.#opened?.forgetWrites();
  }

  override pollMemory(): boolean {
    return this.#opened?.pollMemory() ?? false;
  }

  override release(): void {
    this.#opened?.release();
  }

  #bound(): FileDescription {
    return this.#opened ?? fail("EINVAL", `${this.label} is not bound to an iommufd yet (VFIO_DEVICE_BIND_IOMMUFD)`);
  }

  /** device_cdev.c:vfio_df_ioctl_bind_iommufd */
  #bind(task: Task, arg: Word): number {
    const withToken = this.#context.release.has("bindToken");
    command.fetch(task, arg, withToken ? Bind.size : BindV66.size, BindV66.size, "vfio_device_bind_iommufd");
    const { flags, iommufd: fd, token_uuid_ptr: token } = Bind.read(command.view, 0);
    if (fd < 0) fail("EINVAL", `${fd} is no descriptor of an iommufd`);
    if (flags & ~(withToken ? VFIO_DEVICE_BIND_FLAG_TOKEN : 0))
      fail("EINVAL", `unknown flag bits 0x${flags.toString(16)}`);
    const group = this.#group;
    if (group.holder) {
      fail(
        "EBUSY",
        `${group.label} is open, by ${group.describeHolder()}; a device is reached through its group or through its own node, not both`,
      );
    }
    if (this.#opened) fail("EINVAL", `${this.label} is bound already`);
    if (withToken) this.#device.checkToken(flags & VFIO_DEVICE_BIND_FLAG_TOKEN ? readToken(task, token) : undefined);
    const context = contextOf(task, fd);
    if (this.#device.isOpen) fail("EINVAL", `${this.label} is open through another file`);
    const binding = bindDevice(context, this.#device.name, group.dma);
    try {
      Bind.write(command.view, 0, { out_devid: binding.id });
      command.respondField(Bind.offsets.out_devid, 4);
    } catch (error) {
      binding.unbind();
      throw error;
    }
    this.#binding = binding;
    this.#opened = group.openByNode(task, context, this.#device, forVfio(binding));
    if (this.#memory) this.#opened.attachMemory(this.#memory);
    return 0;
  }

  /** device_cdev.c:vfio_df_ioctl_attach_pt */
  #attach(task: Task, arg: Word): number {
    const minimum = Attach.endOf("pt_id");
    user.copyInSized(task, arg, minimum, "vfio_device_attach_iommufd_pt");
    const pasid = this.#pasid(task, arg, minimum, VFIO_DEVICE_ATTACH_PASID, Attach.offsets.pasid);
    const binding = this.#binding!;
    const target = user.u32(Attach.offsets.pt_id);
    const attached = pasid === undefined ? binding.attach(task, target) : binding.pasids!.attach(task, pasid, target);
    user.setU32(Attach.offsets.pt_id, attached);
    try {
      user.copyOut(task, arg, minimum);
    } catch (error) {
      // also when it was attached with a PASID, which stays (device_cdev.c:vfio_df_ioctl_attach_pt, out_detach)
      binding.detach();
      throw error;
    }
    return 0;
  }

  /** device_cdev.c:vfio_df_ioctl_detach_pt. What is not attached is no error. */
  #detach(task: Task, arg: Word): number {
    const minimum = Detach.endOf("flags");
    user.copyInSized(task, arg, minimum, "vfio_device_detach_iommufd_pt");
    const pasid = this.#pasid(task, arg, minimum, VFIO_DEVICE_DETACH_PASID, Detach.offsets.pasid);
    if (pasid === undefined) this.#binding!.detach();
    else this.#binding!.pasids!.detach(pasid);
    return 0;
  }

  /** The PASID behind a request's first version, when its flag says that there is one. */
  #pasid(task: Task, arg: Word, minimum: number, flag: number, offset: number): number | undefined {
    const flags = user.u32(Attach.offsets.flags);
    const known = this.#context.release.has("pasidAttach") ? flag : 0;
    if (flags & ~known) fail("EINVAL", `unknown flag bits 0x${(flags & ~known).toString(16)}`);
    if (!(flags & flag)) return undefined;
    if (!this.#binding!.pasids) {
      fail("EOPNOTSUPP", `${this.#device.name} is a mediated device whose driver knows no PASIDs`);
    }
    const argsz = user.u32(0);
    if (argsz < offset + 4) fail("EINVAL", `argsz ${argsz} leaves no room for the PASID, ${offset + 4} are needed`);
    user.copyInTail(task, arg, minimum, offset + 4 - minimum);
    return user.u32(offset);
  }
}

function readToken(task: Task, address: bigint): Uint8Array {
  const uuid = new Uint8Array(UUID_BYTES);
  task.memory.copyIn(wordFromBigInt(address), uuid, UUID_BYTES);
  return uuid;
}

/** main.c:iommufd_ctx_from_fd */
function contextOf(task: Task, fd: number): IommufdContext {
  const file = task.files.get(fd) ?? fail("EBADF", `file descriptor ${fd} is not open`);
  if (file instanceof IommufdFile) return file.context;
  fail("EBADFD", `file descriptor ${fd} is no iommufd but ${file.label}`);
}
