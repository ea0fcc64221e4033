/** A host description that cannot be used. The message is one line and says what is wrong and where: file, line, field. */
export class HostDescriptionError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "HostDescriptionError";
  }
}
