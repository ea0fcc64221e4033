/** Messages in a byte stream: each is a 32-bit length and that many bytes of JSON. */
export function encodeMessage(message: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(message), "utf8");
  const head = Buffer.alloc(4);
  head.writeUInt32LE(body.length);
  return Buffer.concat([head, body]);
}

/** Takes the first whole message off `bytes`; undefined when there is none yet. */
export function decodeMessage(bytes: Buffer): { message: unknown; rest: Buffer } | undefined {
  if (bytes.length < 4) return undefined;
  const end = 4 + bytes.readUInt32LE(0);
  if (bytes.length < end) return undefined;
  return { message: JSON.parse(bytes.toString("utf8", 4, end)), rest: bytes.subarray(end) };
}
