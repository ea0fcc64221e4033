import type { FileTree } from "../kernel/file-tree.ts";
import type { DeviceNode } from "../kernel/host-kernel.ts";
import type { InterposerErrorCode } from "./interposer-error.ts";

/**
 * What the supervisor and the launcher say to each other over one socket. Every message is a 32-bit length and that many
 * bytes of JSON. The supervisor sends the orders; the launcher answers with the listener's number or an error; the
 * supervisor takes the listener and sends an empty go message; from then on only a failing execve() is reported, and the end of the
 * stream says that the program runs.
 */
export interface LaunchOrders {
  readonly tree: TreeMessage;
  readonly nodes: readonly DeviceNode[];
  /** Each argument, and each NAME=value, in base64: a program's bytes need not be UTF-8. */
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string | null;
  readonly trapFstat: boolean;
  /** The soft limit of open files that the program gets; null leaves it. */
  readonly openFiles: number | null;
  /** The launcher runs in a user namespace made for it. */
  readonly userNamespace: boolean;
}

/** FileTree without Maps and byte arrays. */
export interface TreeMessage {
  readonly grafts: FileTree["grafts"];
  readonly directories: readonly string[];
  readonly files: readonly { path: string; mode: number; text?: string; base64?: string }[];
  readonly links: readonly (readonly [path: string, target: string])[];
}

export type LaunchAnswer =
  | { readonly listener: number }
  | { readonly error: { readonly code: InterposerErrorCode; readonly message: string } };

export function treeMessage(tree: FileTree): TreeMessage {
  return {
    grafts: tree.grafts,
    directories: tree.directories,
    files: [...tree.files].map(([path, { content, mode }]) =>
      typeof content === "string"
        ? { path, mode, text: content }
        : { path, mode, base64: Buffer.from(content).toString("base64") },
    ),
    links: [...tree.links],
  };
}

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
