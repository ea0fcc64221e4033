/**
 * What a kind of device is made of, for kinds of one's own (the package has it as `uvfio/device`): give it to `new
 * Host(description, { models })` and to `loadHost(file, { models })`. docs/library.md has an example.
 */

export { defineDevice } from "./define-device.ts";
export type { PciBar, PciIdentity, TranslationAbilities } from "./description.ts";
export type { DeviceJob, DeviceTime } from "./device-clock.ts";
export type {
  BarDefinition,
  DefinedDevice,
  DeviceDefinition,
  MemoryPart,
  MsixDefinition,
  RegisterDefinition,
} from "./device-definition.ts";
export type {
  AccessWidth,
  DeviceBus,
  DeviceModel,
  MappedRegister,
  NumberWidth,
  OtherFunctions,
  RegionMemory,
  RegionPart,
} from "./device-model.ts";
export { Interrupts } from "./interrupts.ts";
export type {
  DeviceInstance,
  DeviceKind,
  KnownDevice,
  MediatedKind,
  PciDeviceKind,
  PciInstance,
  ShownFunction,
  VirtualPlace,
} from "./kind.ts";
export { MEDIATED_CONFIG } from "./mediated/mediated-config.ts";
export type { MediatedModel, MediatedSurroundings } from "./mediated/mediated-model.ts";
export { MemoryRegion } from "./memory-region.ts";
export {
  bits64,
  byteCount,
  type DeviceOption,
  type DeviceOptions,
  flag,
  lineOfText,
  type OptionProblem,
  type OptionSchema,
  oneOfWords,
  wholeNumber,
} from "./options.ts";
export * from "./pci/capability-kit.ts";
export { type ConfigLayout, PLAIN_CONFIG } from "./pci/compose-config.ts";
export { type SavableModel, type SavedMemory, type SavedState, SavedStateError } from "./saved-state.ts";
export { type BenchState, type TestBench, testBench } from "./test-bench.ts";
