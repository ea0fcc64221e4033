import {
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
} from "../../../uapi/vfio-device.ts";
import { VFIO_USER_DEVICE_RESET } from "../../../vfio-user/commands.ts";
import type {
  AccessWidth,
  DeviceBus,
  DeviceModel,
  MappableArea,
  MappedRegister,
  OwnWrites,
} from "../../device-model.ts";
import { findCapability } from "../../pci/capabilities.ts";
import * as pci from "../../pci/registers.ts";
import type { RemoteDevice } from "./remote-device.ts";
import { RemoteDma } from "./remote-dma.ts";
import { RemoteInterrupts } from "./remote-interrupts.ts";
import type { RemoteWindow } from "./remote-window.ts";

const MSI_SIZE = 24;
const MSIX_SIZE = 12;

/** How long one look at the server takes, in milliseconds. */
const LOOK_MS = 1;
/** What is read where nobody is. */
const ALL_ONES = 0xffff_ffff;

type ConfigWidth = 1 | 2 | 4;

/**
 * A device elsewhere, as this host has it. An access waits for the server's answer, no longer than the device's
 * `timeout`: in this thread, unless it was prepared. What the server asks of memory meanwhile is done. When the server
 * is gone all reads are ones.
 */
export class RemoteModel implements DeviceModel {
  readonly canReset: boolean;
  readonly takesWideIo = true;
  /** The device writes to memory that it shares with this process. */
  readonly changesUnseen = true;
  readonly ownWrites: OwnWrites;
  readonly #bus: DeviceBus;
  readonly #remote: RemoteDevice;
  readonly #interrupts: RemoteInterrupts;
  protected readonly dma: RemoteDma;
  /** Where the kernel's own interrupts are set up: its copy counts. */
  readonly #kept: readonly (readonly [start: number, end: number])[];
  readonly #flags: readonly { readonly at: number; readonly bit: number; readonly index: number }[];
  #command = -1;
  /** How the access has ended that is made next. */
  #prepared: { readonly answer: Buffer | undefined } | undefined;

  constructor(bus: DeviceBus, remote: RemoteDevice) {
    this.#bus = bus;
    this.#remote = remote;
    this.#interrupts = new RemoteInterrupts(bus, remote);
    this.dma = new RemoteDma(bus, remote);
    this.ownWrites = this.dma.writes;
    this.canReset = remote.canReset;
    const { config } = remote;
    const at = (id: number) => (config.length === 0 ? undefined : findCapability(config, id));
    const [msi, msix] = [at(pci.PCI_CAP_ID_MSI), at(pci.PCI_CAP_ID_MSIX)];
    this.#kept = [
      [0, pci.PCI_STD_HEADER_SIZEOF] as const,
      ...(msi === undefined ? [] : [[msi, msi + MSI_SIZE] as const]),
      ...(msix === undefined ? [] : [[msix, msix + MSIX_SIZE] as const]),
    ];
    this.#flags = [
      ...(msi === undefined
        ? []
        : [{ at: msi + pci.PCI_MSI_FLAGS, bit: pci.PCI_MSI_FLAGS_ENABLE, index: VFIO_PCI_MSI_IRQ_INDEX }]),
      ...(msix === undefined
        ? []
        : [{ at: msix + pci.PCI_MSIX_FLAGS, bit: pci.PCI_MSIX_FLAGS_ENABLE, index: VFIO_PCI_MSIX_IRQ_INDEX }]),
    ];
    if (remote.reason !== undefined) this.#tell(remote.reason);
    else this.#begin();
  }

  /** Others have their turn while the server takes its time. */
  *prepare(region: number, offset: number, width: AccessWidth, value: bigint | undefined): Generator<void, void> {
    if (!this.#isInside(region, offset, width) || this.#windowOf(region, offset, width)) return;
    const written = value === undefined ? undefined : littleEndian(value, width);
    const asked = this.#remote.access(() => this.#remote.askAccess(region, offset, width, written));
    for (;;) {
      const looked = asked && this.#remote.access(() => ({ answer: this.#remote.look(asked, LOOK_MS) }));
      if (!looked || looked.answer) {
        this.#prepared = { answer: looked?.answer };
        return;
      }
      yield;
    }
  }

  read(region: number, offset: number, width: AccessWidth): bigint {
    const window = this.#windowOf(region, offset, width);
    const bytes = this.#isInside(region, offset, width)
      ? this.#outcome(() => (window ? window.read(offset, width) : this.#remote.read(region, offset, width)))
      : undefined;
    if (!bytes) return (1n << BigInt(8 * width)) - 1n;
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
    return value;
  }

  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    if (!this.#isInside(region, offset, width)) return;
    const bytes = littleEndian(value, width);
    const window = this.#windowOf(region, offset, width);
    this.#outcome(() => (window ? window.write(offset, bytes) : this.#remote.write(region, offset, bytes)));
  }

  readConfig(offset: number, width: ConfigWidth): number | undefined {
    if (this.#remote.reason !== undefined) return 2 ** (8 * width) - 1;
    if (this.#kept.some(([start, end]) => offset >= start && offset < end)) return undefined;
    const bytes = this.#remote.access(() => this.#remote.read(VFIO_PCI_CONFIG_REGION_INDEX, offset, width));
    return bytes ? bytes.readUIntLE(0, width) : 2 ** (8 * width) - 1;
  }

  configWritten(offset: number, width: ConfigWidth, value: number): void {
    if (offset === pci.PCI_COMMAND && width === 2) {
      this.#commandWritten(value);
      return;
    }
    this.#writeConfig(offset, width, value);
    const flags = this.#flags.find(({ at }) => offset === at && width === 2);
    if (!flags) return;
    const index = value & flags.bit ? flags.index : VFIO_PCI_INTX_IRQ_INDEX;
    this.#remote.attempt(() => this.#interrupts.use(index));
  }

  advance(): boolean {
    this.#hear();
    this.#interrupts.look();
    let hasChanged = false;
    for (const { window } of this.#remote.regions) if (window?.look()) hasChanged = true;
    return hasChanged;
  }

  isMappable(region: number): boolean {
    return this.#remote.regions[region]?.window !== undefined;
  }

  mappableAreas(region: number): readonly MappableArea[] | undefined {
    const { size = 0, window } = this.#remote.regions[region] ?? {};
    return window?.areas[0]?.size === size ? undefined : window?.areas;
  }

  showsNumber(region: number, offset: number): number {
    return this.#remote.reason === undefined ? (this.#remote.regions[region]?.window?.word(offset) ?? 0) : ALL_ONES;
  }

  /** Whoever resets puts config space back here; the server's is put back with it. */
  reset(): void {
    this.resetServer();
    this.renew();
  }

  protected resetServer(): void {
    this.#remote.access(() => this.#remote.ask(VFIO_USER_DEVICE_RESET, []));
  }

  /** The server's device is another one: it is told what its command register has. */
  protected renew(): void {
    const command = this.#command;
    if (command < 0) return;
    this.#command = -1;
    this.#commandWritten(command);
  }

  memory(): undefined {
    return undefined;
  }

  registers(region: number): readonly MappedRegister[] {
    return this.#remote.regions[region]?.window?.registers ?? [];
  }

  close(): void {
    this.#remote.close();
  }

  #begin(): void {
    const remote = this.#remote;
    const { connection } = remote;
    const stop = connection && this.#bus.clock.watchDescriptor(connection.fd, () => this.#hear());
    remote.onRefusal = (message) => this.#bus.report?.(`its server: ${message}`);
    remote.serve = (message) => this.dma.answer(message);
    remote.onEnd = (reason) => {
      stop?.();
      this.#interrupts.close();
      if (reason !== undefined) this.#tell(reason);
    };
    for (const note of remote.notes) this.#bus.report?.(note);
    remote.attempt(() => this.#interrupts.use(VFIO_PCI_INTX_IRQ_INDEX));
    this.#bus.watchMappings?.(this.dma);
  }

  #tell(reason: string): void {
    this.#bus.report?.(`the device is gone: its server at ${this.#remote.socket}: ${reason}`);
  }

  /** Does what the server asks for by itself. */
  #hear(): void {
    const { connection } = this.#remote;
    if (!connection || this.#remote.reason !== undefined) return;
    this.#remote.attempt(() => {
      connection.hear();
      for (let message = connection.next(); message; message = connection.next()) {
        this.dma.answer(message);
        connection.isAtWork();
      }
    });
  }

  /** Masking the line in the command register is done here. */
  #commandWritten(value: number): void {
    const command = value & ~pci.PCI_COMMAND_INTX_DISABLE;
    if (command !== this.#command) this.#writeConfig(pci.PCI_COMMAND, 2, command);
    this.#command = command;
    this.#remote.attempt(() => this.#interrupts.lineMasked((value & pci.PCI_COMMAND_INTX_DISABLE) !== 0));
  }

  #writeConfig(offset: number, width: ConfigWidth, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    this.#remote.access(() => this.#remote.write(VFIO_PCI_CONFIG_REGION_INDEX, offset, bytes.subarray(0, width)));
  }

  #isInside(region: number, offset: number, width: number): boolean {
    return offset + width <= (this.#remote.regions[region]?.size ?? 0);
  }

  /** Where a region's memory is shared. */
  #windowOf(region: number, offset: number, width: number): RemoteWindow | undefined {
    const window = this.#remote.reason === undefined ? this.#remote.regions[region]?.window : undefined;
    return window?.has(offset, width) ? window : undefined;
  }

  /** What an access gives that was prepared, or what it gives now. */
  #outcome<T>(action: () => T): T | Buffer | undefined {
    const prepared = this.#prepared;
    this.#prepared = undefined;
    return prepared ? prepared.answer : this.#remote.access(action);
  }
}

function littleEndian(value: bigint, width: AccessWidth): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes.subarray(0, width);
}
