/** What a network device is plugged into. */
export interface Wire {
  /** Takes a frame, from its first address to the end of its data, without a checksum. It keeps the bytes. */
  send(frame: Uint8Array): void;
}

/** The other end: a network device as its wire has it. */
export interface Port {
  /** A frame has come. What the device cannot take is lost. */
  deliver(frame: Uint8Array): void;
}

/** Some wires of one port: each takes every frame. Without any, nobody is on the other side. */
export function allOf(wires: readonly Wire[]): Wire {
  if (wires.length === 1) return wires[0]!;
  return {
    send(frame) {
      for (const wire of wires) wire.send(frame);
    },
  };
}
