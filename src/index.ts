/**
 * The library: boot a host in this process and use it through raw bytes or the typed client; use a real kernel's VFIO
 * through the same client; or do what the command does: run programs, look at traces, ask whether a guest fits, capture
 * a host. docs/library.md has examples.
 */
export * from "./client/client.ts";
export type { NewDeviceKind } from "./devices/kind.ts";
export type { HostOptions } from "./host/host.ts";
export { Host } from "./host/host.ts";
export { HostControl } from "./host/host-control.ts";
export { LiveFiles } from "./host/sysfs/live-files.ts";
export type { ExplainedReason, RequestExplanation } from "./inspect/explain/explain-request.ts";
export type { Explanation, LogExplanation, ToldCause } from "./inspect/explain/explanation.ts";
export { ExplainInputError } from "./inspect/explain/input-error.ts";
export type { FitResult } from "./inspect/fit/fit.ts";
export type { FitRequest } from "./inspect/fit/judge.ts";
export type { Operation } from "./inspect/replay/operation.ts";
export { RecordingError } from "./inspect/replay/recording-error.ts";
export type { SummaryRow } from "./inspect/trace/summary.ts";
export { InterposerError } from "./interpose/interposer-error.ts";
export type { SharedFile } from "./kernel/address-space.ts";
export { KernelError } from "./kernel/errors.ts";
export { FileDescription } from "./kernel/file-description.ts";
export { PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE } from "./kernel/model-areas.ts";
export { ModelMemory } from "./kernel/model-memory.ts";
export { ModelTask, type ModelTaskOptions } from "./kernel/model-task.ts";
export type { Word } from "./kernel/word.ts";
export { type CaptureOptions, capture } from "./library/capture.ts";
export { type DeviceServerOptions, type ServedDevice, serveDevice } from "./library/device-server.ts";
export { type ExplainOptions, explainFile, explainRequest } from "./library/explain.ts";
export { FitAnswer, type ReportStyle } from "./library/fit/answer.ts";
export type { GuestOptions, Size } from "./library/fit/answer-fit.ts";
export { type FitOptions, fit } from "./library/fit.ts";
export { READY_MADE_HOSTS } from "./library/ready-made.ts";
export type { CallFailure } from "./library/run/call-failure.ts";
export { FAILURES_MAX, type RunOptions, type RunResult, run } from "./library/run.ts";
export type { Trace, TracedCall, TraceOptions } from "./library/trace/read-trace.ts";
export { trace } from "./library/trace.ts";
export { UsageError } from "./library/usage-error.ts";
export type { Captured } from "./machine/capture/capture.ts";
export { CaptureError } from "./machine/capture/capture-error.ts";
export { type DefineOptions, defineHost } from "./machine/define-host.ts";
export type {
  BarDefinition,
  DeviceDefinition,
  GroupDefinition,
  GroupIommuDefinition,
  HostDefinition,
  IommuDefinition,
  IommufdModuleDefinition,
  IommuModel,
  MdevDeviceDefinition,
  ModulesDefinition,
  NumberInCode,
  PciDeviceDefinition,
  ReservedRegionDefinition,
  Type1ModuleDefinition,
  VfioModuleDefinition,
  VfioPciModuleDefinition,
  WholeGroupDefinition,
} from "./machine/host-definition.ts";
export type { HostDescription } from "./machine/host-description.ts";
export { HostDescriptionError } from "./machine/host-description-error.ts";
export { type HostOverrides, type HostSource, type LoadOptions, loadHost } from "./machine/load-host.ts";
export { toYaml } from "./machine/write-host.ts";
