/** What was asked about is not there. The message is one line and says what would be. */
export class ExplainInputError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ExplainInputError";
  }
}
