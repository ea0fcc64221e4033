import { printable } from "../kernel/printable.ts";
import { DEFAULT_TRANSFER, VersionBody } from "./layouts.ts";
import { PeerError } from "./peer-error.ts";
import { MOST_DESCRIPTORS } from "./sockets.ts";

/** The protocol that is spoken here. A client of minor 0 leaves a server that answers with another one. */
export const MAJOR = 0;
export const MINOR = 0;

/** What a side can take, as it says in VERSION. */
export interface Abilities {
  /** Descriptors that it takes with one message. */
  readonly maxMessageFds: number;
  /** Bytes of data that it takes in one message. */
  readonly maxTransfer: number;
  /** DMA regions that it keeps (a server). */
  readonly maxDmaMaps: number;
  /** REGION_WRITE_MULTI. */
  readonly writeMultiple: boolean;
  /** Its device can be migrated (a server). The specification has no word for it; this is libvfio-user's. */
  readonly migration: boolean;
}

export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly abilities: Abilities;
}

/** What is meant where a peer says nothing (vfio-user.rst, "Version"). */
const UNSAID: Abilities = {
  maxMessageFds: 1,
  maxTransfer: DEFAULT_TRANSFER,
  maxDmaMaps: 65535,
  writeMultiple: false,
  migration: false,
};

/** The body of VERSION. */
export function encodeVersion(abilities: Abilities): Uint8Array {
  const text = JSON.stringify({
    capabilities: {
      max_msg_fds: abilities.maxMessageFds,
      max_data_xfer_size: abilities.maxTransfer,
      max_dma_maps: abilities.maxDmaMaps,
      pgsizes: 4096,
      write_multiple: abilities.writeMultiple,
      ...(abilities.migration && { migration: { pgsize: 4096 } }),
    },
  });
  const json = Buffer.from(`${text}\0`);
  const body = VersionBody.encode({ major: MAJOR, minor: MINOR }, json.length);
  body.set(json, VersionBody.size);
  return body;
}

/** @throws PeerError for what is no such body */
export function decodeVersion(body: Uint8Array): Version {
  if (body.length < VersionBody.size)
    throw new PeerError(`its VERSION has ${body.length} bytes, at least 4 are needed`);
  const { major, minor } = VersionBody.decode(body);
  const json = body.subarray(VersionBody.size);
  if (json.length === 0) return { major, minor, abilities: UNSAID };
  if (json[json.length - 1] !== 0) throw new PeerError("the text of its VERSION does not end with a NUL");
  return { major, minor, abilities: abilitiesOf(parsed(Buffer.from(json.subarray(0, -1)).toString())) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new PeerError(`the text of its VERSION is no JSON: ${printable(text, 80)}`);
  }
}

function abilitiesOf(json: unknown): Abilities {
  const capabilities = object(json, "its VERSION").capabilities;
  if (capabilities === undefined) return UNSAID;
  const said = object(capabilities, "capabilities in its VERSION");
  const number = (key: string, unsaid: number, least: number, most: number): number => {
    const value = said[key];
    if (value === undefined) return unsaid;
    if (typeof value !== "number" || !Number.isInteger(value) || value < least)
      throw new PeerError(`${key} in its VERSION is ${printable(JSON.stringify(value), 40)}`);
    return Math.min(value, most);
  };
  return {
    maxMessageFds: number("max_msg_fds", UNSAID.maxMessageFds, 0, MOST_DESCRIPTORS),
    maxTransfer: number("max_data_xfer_size", UNSAID.maxTransfer, 1, DEFAULT_TRANSFER),
    maxDmaMaps: number("max_dma_maps", UNSAID.maxDmaMaps, 0, 2 ** 32),
    writeMultiple: said.write_multiple === true,
    migration: said.migration !== undefined,
  };
}

function object(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new PeerError(`${what} is no JSON object`);
  return value as Readonly<Record<string, unknown>>;
}
