/** Why the kernel's selftests cannot be built or run, in one line. */
export class SelftestsError extends Error {
  /** What the compiler said, where that is the reason. */
  readonly output: string | undefined;

  constructor(message: string, output?: string) {
    super(message);
    this.name = "SelftestsError";
    this.output = output;
  }
}
