/** What was asked makes no sense, whatever the host. The message is one line and says what would be right. */
export class FitInputError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "FitInputError";
  }
}
