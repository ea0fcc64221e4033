/** Usage or bad input: one line has said what and where. */
export const EXIT_USAGE = 2;

/** Errors that are the user's to mend, by class name: their modules need not be loaded to recognise them. */
const EXPECTED = new Set([
  "HostDescriptionError",
  "RecordingError",
  "InterposerError",
  "SystemCallError",
  "UsageError",
  "FitInputError",
  "FaultSpecError",
  "CaptureError",
  "SelftestsError",
]);

/** commander's own errors. Its module need not be loaded to recognise one. */
export function isCommandLineError(error: unknown): error is Error & { readonly exitCode: number } {
  return error instanceof Error && "code" in error && String(error.code).startsWith("commander.");
}

/** A command line that makes no sense, found after it was parsed. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

/** The one line for an error that a user can do something about; undefined for a defect of uvfio. */
export function describeError(error: unknown): string | undefined {
  return error instanceof Error && EXPECTED.has(error.name) ? error.message : undefined;
}
