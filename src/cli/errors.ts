export { UsageError } from "../library/usage-error.ts";

/** Usage or bad input: one line has said what and where. */
export const EXIT_USAGE = 2;
/** Nobody reads the output any more: what a shell says of a program that SIGPIPE ended. */
export const EXIT_CLOSED_PIPE = 141;

/** Errors that are the user's to mend, by class name: their modules need not be loaded to recognise them. */
const EXPECTED = new Set([
  "HostDescriptionError",
  "RecordingError",
  "InterposerError",
  "NativeModuleError",
  "SystemCallError",
  "UsageError",
  "FitInputError",
  "ExplainInputError",
  "FaultSpecError",
  "CaptureError",
  "SelftestsError",
  "InputFileError",
  "OutputError",
]);

/** commander's own errors. Its module need not be loaded to recognise one. */
export function isCommandLineError(error: unknown): error is Error & { readonly exitCode: number } {
  return error instanceof Error && "code" in error && String(error.code).startsWith("commander.");
}

/** Whether an error only says that nobody reads the output any more. */
export function isClosedPipe(error: unknown): boolean {
  return error instanceof Error && "isClosedPipe" in error && error.isClosedPipe === true;
}

/** What to tell of an error, a message each: mostly one, several for a file with several faults in it. */
export function describeError(error: unknown): readonly string[] {
  if (!(error instanceof Error)) return [defect(String(error), "")];
  if (EXPECTED.has(error.name)) return "problems" in error ? (error.problems as readonly string[]) : [error.message];
  const { code, syscall, path } = error as NodeJS.ErrnoException;
  if (syscall !== undefined && code !== undefined) return [systemError(syscall, code, path)];
  return [defect(`${error.name}: ${error.message}`, error.stack ?? "")];
}

/** A system call that failed where nobody expected it: the machine is not as it should be. */
function systemError(syscall: string, code: string, path: string | undefined): string {
  if (syscall === "uv_cwd")
    return "the working directory is gone (somebody deleted it); change to one that is there, or name all by full paths";
  if (path?.startsWith("/proc/") && code === "ENOENT")
    return `${path} is not there: a program can only be run where /proc is (mount -t proc proc /proc)`;
  if (code === "EMFILE") return "too many open files: the limit (ulimit -n) is too low for uvfio; 64 are enough";
  return `${path === undefined ? "" : `${path}: `}${syscall} failed (${code})`;
}

/** Where it happened helps whoever mends it; all of the stack is for UVFIO_DEBUG. */
function defect(what: string, stack: string): string {
  const place = /^ {4}at (.*)$/m.exec(stack)?.[1];
  return `a defect of uvfio itself, please report it: ${what}${place ? ` (in ${place})` : ""}; UVFIO_DEBUG=1 shows more`;
}
