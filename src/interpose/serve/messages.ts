/**
 * What goes over the socket of `uvfio serve`: lines of JSON both ways, each an object with one of the fields below. A
 * client begins with a Request; a container runtime sends one object without a line's end, its state
 * (container-state.ts), and closes. Descriptors (SCM_RIGHTS) come with the line that is about them.
 *
 *     run --on                          serve
 *     {uvfio, do: "run", trace}    ->
 *                                  <-   {world}                    what to show the program
 *     {fuse} + descriptor          ->                              from now on served there
 *     {snapshot: true}             ->                              where there is no FUSE
 *                                  <-   {snapshot}
 *     {serve} + listener           ->
 *                                  <-   {serving: true}            the program may begin
 *                                  <-   {failed} {noticed} {said} {trace} ... {ended: true}
 *     {leave: true}                ->                              its calls need not be served any more
 */
import type { FileContent, FileTree, Graft } from "../../kernel/file-tree.ts";
import type { DeviceNode } from "../../kernel/host-kernel.ts";

/** Of what is said here. Others are refused with a line. */
export const PROTOCOL = 1;
/** Bytes of a line that a server takes of a client. */
export const REQUEST_MAX = 0x10_0000;

/** What a client begins with. */
export interface Request {
  /** PROTOCOL of the client. */
  readonly uvfio: number;
  readonly do: "run" | "stop" | "control" | "view";
  /** run: every call is to be told. */
  readonly trace?: boolean;
  /** run: what `--fault` says. */
  readonly faults?: readonly string[];
  readonly sanitize?: boolean;
  /** run: the program's command line, for its trace. */
  readonly argv?: readonly string[];
  /** control: the words of the command. */
  readonly words?: readonly string[];
}

/** The program is there: it is served as soon as the listener has come. */
export interface ServeOrder {
  /** The process that becomes the program, a child of the client. */
  readonly pid: number;
  /** Its command line, for people. */
  readonly name: string;
}

/** What a client says of a run after its Request. */
export interface FromRun {
  /** Whose the files are, in the numbers of the program. */
  readonly fuse?: { readonly uid: number; readonly gid: number };
  readonly snapshot?: boolean;
  readonly serve?: ServeOrder;
  readonly leave?: boolean;
}

/** What a program is to be shown. */
export interface WorldMessage {
  readonly nodes: readonly DeviceNode[];
  readonly grafts: readonly Graft[];
  readonly roots: readonly string[];
  readonly rest: SentTree;
  /** The host has files in /proc: opens for reading only are handed over too. */
  readonly trapReadOpens: boolean;
  /** The server's process, as it sees itself. */
  readonly pid: number;
  /** What the host is called, and the release that it behaves as. */
  readonly host: { readonly name: string; readonly kernel: string };
}

/** What a server says. */
export interface FromServer {
  readonly world?: WorldMessage;
  readonly snapshot?: SentTree;
  readonly serving?: boolean;
  /** Why what was asked is not done; the end. */
  readonly refused?: string;
  /** A call that failed: what the run's reporter takes. */
  readonly failed?: unknown;
  readonly noticed?: string;
  readonly said?: string;
  /** An operation of the trace. */
  readonly trace?: unknown;
  /** What the inspection of the run has counted. */
  readonly counters?: unknown;
  /** The last task of the program is gone. */
  readonly ended?: boolean;
  /** view: what happens on the host, for a picture; a batch, as long as the client stays. */
  readonly view?: readonly unknown[];
  /** What was asked is done; lines for the person who asked. */
  readonly done?: readonly string[];
}

/** A FileTree as JSON. */
export interface SentTree {
  readonly grafts: readonly Graft[];
  readonly directories: readonly string[];
  readonly files: readonly SentFile[];
  readonly links: readonly (readonly [path: string, target: string])[];
}

interface SentFile {
  readonly path: string;
  readonly mode: number;
  readonly size?: number;
  readonly text?: string;
  /** base64 */
  readonly bytes?: string;
}

export function sentTree({ grafts, directories, files, links }: FileTree): SentTree {
  return {
    grafts,
    directories,
    files: [...files].map(([path, file]) => sentFile(path, file)),
    links: [...links],
  };
}

function sentFile(path: string, file: FileContent): SentFile {
  const { mode, size } = file;
  const head = { path, mode, ...(size !== undefined && { size }) };
  let content: string | Uint8Array = "";
  try {
    content = file.content;
  } catch {
    // what cannot be read now is empty where it is written down
  }
  return typeof content === "string"
    ? { ...head, text: content }
    : { ...head, bytes: Buffer.from(content).toString("base64") };
}

export function receivedTree({ grafts, directories, files, links }: SentTree): FileTree {
  const contents = files.map(({ path, mode, size, text, bytes }): [string, FileContent] => [
    path,
    { mode, content: text ?? Buffer.from(bytes ?? "", "base64"), ...(size !== undefined && { size }) },
  ]);
  return { grafts, directories, files: new Map(contents), links: new Map(links) };
}
