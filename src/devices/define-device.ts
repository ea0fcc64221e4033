import type { PciBar } from "./description.ts";
import type { BarDefinition, DeviceDefinition, MsixDefinition } from "./device-definition.ts";
import type { PciDeviceKind } from "./kind.ts";
import type { DeviceOptions } from "./options.ts";
import { ADVANCED_ERRORS, ADVANCED_FEATURES, msi, msix, pciExpress } from "./pci/capability-kit.ts";
import { RegisterDevice } from "./register-device.ts";

/** MSI-X: a table entry, and how many vectors there can be. */
const ENTRY = 16;
const MOST_VECTORS = 2048;
const PAGE = 4096;

/** A kind of device, for `model` of a host file and `models` of the library. docs/device.md has an example. */
export function defineDevice<State = undefined, Values extends DeviceOptions = DeviceOptions>(
  definition: DeviceDefinition<State, Values>,
): PciDeviceKind<Values> & { readonly model: string } {
  const { title = "a device of one's own", id, options } = definition;
  const ids = /^([0-9a-f]{4}):([0-9a-f]{4})$/i.exec(id);
  if (!ids) throw new RangeError(`id: not vendor and device: ${JSON.stringify(id)} (write it like "1234:0c0d")`);
  for (const [number, bar] of Object.entries(definition.bars)) checkBar(Number(number), bar, definition);
  const table = definition.msix === undefined ? undefined : placeTable(definition, definition.msix);
  const bars = Object.entries(definition.bars).map(
    ([number, { size, type = "memory" }]): PciBar => ({ index: Number(number), size, type }),
  );
  if (table?.size !== undefined) bars.push({ index: table.bar, size: table.size, type: "memory" });
  return {
    bus: "pci",
    model: title,
    title,
    devices: [
      {
        vendor: Number.parseInt(ids[1]!, 16),
        device: Number.parseInt(ids[2]!, 16),
        class: definition.class ?? 0xff0000,
        subsystemVendor: 0,
        subsystemDevice: 0,
        bars: bars.sort((a, b) => a.index - b.index),
      },
    ],
    mmap: Object.values(definition.bars).some(({ mmap }) => mmap),
    translates: false,
    ...(options && { options }),
    ...(definition.checkOptions && { checkOptions: (values: Values) => definition.checkOptions!(values) }),
    config: () => configOf(definition, table),
    create: (bus, instance) => RegisterDevice.create(definition, bus, instance.options),
  };
}

/** Where a table lies. */
interface TablePlace extends Required<MsixDefinition> {
  /** Bytes of the BAR that is made for it. */
  readonly size?: number;
}

function configOf<State, Values extends DeviceOptions>(
  { vectors, express }: DeviceDefinition<State, Values>,
  table: TablePlace | undefined,
) {
  const messages = vectors ?? (table ? 0 : 1);
  const pending = table && { bar: table.bar, offset: table.offset + ENTRY * table.vectors };
  return {
    interruptPin: true,
    capabilities: [
      ...(messages > 0 ? [msi({ vectors: messages })] : []),
      ...(table && pending ? [msix({ vectors: table.vectors, table, pending })] : []),
      express ? pciExpress({ port: "endpoint", functionLevelReset: true }) : ADVANCED_FEATURES,
    ],
    ...(express && { extended: [ADVANCED_ERRORS] }),
  };
}

/** A table that is not placed gets a BAR of its own, the last that is free. */
function placeTable<State, Values extends DeviceOptions>(
  { bars }: DeviceDefinition<State, Values>,
  given: number | MsixDefinition,
): TablePlace {
  const { vectors, bar, offset = 0 } = typeof given === "number" ? { vectors: given } : given;
  const wrong = (what: string) => new RangeError(`msix: ${what}`);
  if (!Number.isInteger(vectors) || vectors < 1 || vectors > MOST_VECTORS)
    throw wrong(`${vectors} vectors: there are 1 to ${MOST_VECTORS}`);
  const size = ENTRY * vectors + 8 * Math.ceil(vectors / 64);
  if (bar === undefined) {
    const isTaken = (index: number) => index in bars || bars[index - 1]?.type === "memory64";
    const free = [5, 4, 3, 2, 1, 0].find((index) => !isTaken(index));
    if (free === undefined) throw wrong("no BAR is free for its table: say bar and offset");
    return { vectors, bar: free, offset: 0, size: Math.max(PAGE, 2 ** Math.ceil(Math.log2(size))) };
  }
  const own = bars[bar];
  if (!own?.registers) throw wrong(`BAR ${bar} has no registers: its table lies among such`);
  if (offset % 8 !== 0 || offset < 0 || offset + size > own.size)
    throw wrong(`0x${offset.toString(16)} of BAR ${bar} is no place for ${size} bytes`);
  const other = partsOf(own).find((part) => offset < part.end && part.at < offset + size);
  if (other) throw wrong(`its table lies on ${other.name}`);
  return { vectors, bar, offset };
}

/** What lies in a BAR. */
function partsOf<State, Values extends DeviceOptions>({ registers = {}, memory = [] }: BarDefinition<State, Values>) {
  return [
    ...Object.entries(registers).map(([name, { at, width = 4 }]) => ({ name, at, end: at + width })),
    ...memory.map(({ at, size }) => ({ name: `memory at 0x${at.toString(16)}`, at, end: at + size })),
  ];
}

function checkBar<State, Values extends DeviceOptions>(
  number: number,
  bar: BarDefinition<State, Values>,
  { bars }: DeviceDefinition<State, Values>,
): void {
  const { size, registers, memory = [], type, mmap } = bar;
  const wrong = (what: string) => new RangeError(`bars.${number}: ${what}`);
  if (!Number.isInteger(number) || number < 0 || number > 5) throw wrong("BARs have the numbers 0 to 5");
  if (!Number.isInteger(Math.log2(size)) || size < 16) throw wrong(`size ${size} is no power of two from 16 on`);
  if (type === "memory64" && (number === 5 || number + 1 in bars))
    throw wrong(`a BAR of 64 bits takes number ${number + 1} too, which is not free`);
  if (memory.length > 0 && !registers)
    throw wrong("memory is said where there are registers; without it is all memory");
  if (mmap && memory.length > 0) throw wrong("registers and memory in one BAR cannot be mapped");
  if (mmap && type === "io") throw wrong("ports cannot be mapped");
  for (const [name, { at, width = 4 }] of Object.entries(registers ?? {})) {
    if (![1, 2, 4, 8].includes(width)) throw wrong(`${name}: a register has 1, 2, 4 or 8 bytes, not ${width}`);
    if (at % width !== 0 || at < 0 || at + width > size)
      throw wrong(`${name}: 0x${at.toString(16)} is no place for ${width} bytes`);
  }
  for (const part of memory) {
    if (!(part.at >= 0 && part.size > 0 && part.at % 8 === 0 && part.size % 8 === 0 && part.at + part.size <= size))
      throw wrong(`memory at 0x${part.at.toString(16)} with ${part.size} bytes does not fit (multiples of 8)`);
  }
  const taken: ReturnType<typeof partsOf> = [];
  for (const part of partsOf(bar)) {
    const other = taken.find((each) => part.at < each.end && each.at < part.end);
    if (other) throw wrong(`${part.name} lies on ${other.name}`);
    taken.push(part);
  }
}
