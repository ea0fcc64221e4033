/** The other side cannot be talked to any more: gone, silent, or not keeping to the protocol. A line that says why. */
export class PeerError extends Error {
  override readonly name: string = "PeerError";
}

/** A message that is none: its header alone is wrong. */
export class HeaderError extends PeerError {
  /** As the header says. */
  readonly id: number;
  readonly command: number;

  constructor(message: string, id: number, command: number) {
    super(message);
    this.id = id;
    this.command = command;
  }
}

/** It has not answered, or not taken what was sent, in time. */
export class PeerSilence extends PeerError {}

/** It has ended the connection, as it may. */
export class PeerGone extends PeerError {}
