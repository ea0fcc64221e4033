/** Why the kernel's selftests cannot be built or run: one line, or what the compiler said. */
export class SelftestsError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "SelftestsError";
  }
}
