/** A recording that cannot be used: one line with file, line and what to do. */
export class RecordingError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "RecordingError";
  }
}
