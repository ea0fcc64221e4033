/** The other side cannot be talked to any more: gone, silent, or not keeping to the protocol. A line that says why. */
export class PeerError extends Error {
  override readonly name: string = "PeerError";
}

/** It has not answered, or not taken what was sent, in time. */
export class PeerSilence extends PeerError {}

/** It has ended the connection, as it may. */
export class PeerGone extends PeerError {}
