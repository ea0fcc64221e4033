import type { AccessWidth, DeviceModel, MappedRegister } from "../device-model.ts";
import type { PciDeviceKind } from "../kind.ts";

/** BAR 0 is memory, BAR 1 is I/O ports. */
const MEMORY = 0;
const PORTS = 1;
/** Where the places that tests write to begin in each BAR; test n of the device has the n-th. */
const PLACES = [0x800, 0x80] as const;

const TEST = 0x00;
const WIDTH = 0x01;
const OFFSET = 0x04;
const DATA = 0x08;
const COUNT = 0x0c;
const NAME = 0x10;

/** What tests write. */
const MATCHING = 0xfa;
const ANY = 0xce;

/** The tests of each BAR, in order. */
const KINDS = [
  { name: "no-eventfd", data: MATCHING, event: false, wildcard: false },
  { name: "wildcard-eventfd", data: ANY, event: true, wildcard: true },
  { name: "datamatch-eventfd", data: MATCHING, event: true, wildcard: false },
] as const;

/** Bytes of the header that any test has, rounded up to whole words of 4: what a mapping shows. */
const LONGEST_HEADER = 0x28;

/** One of the device's tests: which writes it is about. */
interface Test {
  readonly region: number;
  /** Offset of the byte to write. */
  readonly place: number;
  readonly data: number;
  /** Writes of one byte are taken by a notifier that stands at the place, and do not reach the device. */
  readonly event: boolean;
  /** Any value will do. */
  readonly wildcard: boolean;
  readonly header: DataView;
}

const TESTS: readonly Test[] = [MEMORY, PORTS].flatMap((region) =>
  KINDS.map((kind, i) => makeTest(region, region * KINDS.length + i, kind)),
);

function makeTest(region: number, number: number, { name, data, event, wildcard }: (typeof KINDS)[number]): Test {
  const text = `${region === MEMORY ? "mmio" : "portio"}-${name}`;
  const place = PLACES[region]! + number;
  const header = new DataView(new ArrayBuffer(NAME + text.length + 1));
  header.setUint8(TEST, number);
  header.setUint8(WIDTH, 1);
  header.setUint32(OFFSET, place, true);
  header.setUint32(DATA, data, true);
  for (let i = 0; i < text.length; i++) header.setUint8(NAME + i, text.charCodeAt(i));
  return { region, place, data, event, wildcard, header };
}

/**
 * QEMU's PCI test device (docs/specs/pci-testdev.rst; what that leaves open is as QEMU 7.2's device answers). Each BAR
 * begins with a header: writing its first byte starts one of the BAR's three tests, or none, and the header then
 * describes it in both BARs: where to write which byte, and how many such writes were counted. A test with an eventfd
 * has its writes of one byte taken by that and counts none of them.
 */
export class PciTestDevice implements DeviceModel {
  #test: Test | undefined;
  #count = 0;

  read(_region: number, offset: number, width: AccessWidth): bigint {
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#byte(offset + i));
    return value;
  }

  /** Wider accesses are as many of one byte, lowest address first, but only a single byte rings a notifier. */
  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    const first = Number(value & 0xffn);
    if (width === 1 && this.#test?.event && this.#test.region === region && isAbout(this.#test, offset, first)) return;
    for (let i = 0; i < width; i++) this.#writeByte(region, offset + i, Number((value >> BigInt(8 * i)) & 0xffn));
  }

  reset(): void {
    this.#test = undefined;
    this.#count = 0;
  }

  memory(): undefined {
    return undefined;
  }

  registers(region: number): readonly MappedRegister[] {
    if (region !== MEMORY) return [];
    const header = Array.from({ length: LONGEST_HEADER / 4 - 1 }, (_, i) => ({ offset: 4 + 4 * i, width: 4 as const }));
    const places = KINDS.map((_, i) => ({ offset: PLACES[MEMORY] + i, width: 1 as const }));
    return [{ offset: TEST, width: 1 }, { offset: WIDTH, width: 1 }, ...header, ...places];
  }

  #byte(offset: number): number {
    if (this.#test === undefined || offset >= this.#test.header.byteLength) return 0;
    if (offset >= COUNT && offset < NAME) return (this.#count >>> (8 * (offset - COUNT))) & 0xff;
    return this.#test.header.getUint8(offset);
  }

  #writeByte(region: number, offset: number, value: number): void {
    if (offset === TEST) {
      this.#test = value < KINDS.length ? TESTS[region * KINDS.length + value] : undefined;
      this.#count = 0;
    } else if (this.#test && isAbout(this.#test, offset, value)) {
      this.#count = (this.#count + 1) >>> 0;
    }
  }
}

/** Whether a byte that is written in either BAR is what the test asks for. */
function isAbout({ place, data, wildcard }: Test, offset: number, value: number): boolean {
  return offset === place && (wildcard || value === data);
}

export const pciTestdev: PciDeviceKind = {
  bus: "pci",
  model: "pci-testdev",
  title: "QEMU's pci-testdev",
  devices: [
    {
      vendor: 0x1b36,
      device: 0x0005,
      class: 0x00ff00,
      subsystemVendor: 0x1af4,
      subsystemDevice: 0x1100,
      bars: [
        { index: MEMORY, size: 0x1000, type: "memory" },
        { index: PORTS, size: 0x100, type: "io" },
      ],
    },
  ],
  mmap: false,
  translates: false,
  // as recorded (d_config_F)
  config: () => ({ interruptPin: false, capabilities: [] }),
  canWait: () => true,
  create: () => new PciTestDevice(),
};
