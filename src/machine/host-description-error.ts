/**
 * A host description that cannot be used. Each problem is one line and says what is wrong and where: file, line, field.
 */
export class HostDescriptionError extends Error {
  /** Never empty; `message` is these, a line each. */
  readonly problems: readonly string[];

  constructor(problems: string | readonly string[], options?: ErrorOptions) {
    const lines = typeof problems === "string" ? [problems] : problems;
    super(lines.join("\n"), options);
    this.name = "HostDescriptionError";
    this.problems = lines;
  }
}
