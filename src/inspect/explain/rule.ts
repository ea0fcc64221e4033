import type { ErrnoName } from "../../uapi/errno.ts";

/** A call that logs report as failed, by what it does; calls.ts says which request each is. */
export type CallName =
  | "map"
  | "unmap"
  | "ioas-map"
  | "open-container"
  | "open-group"
  | "set-container"
  | "set-iommu"
  | "device-fd"
  | "device-info"
  | "set-irqs"
  | "reset"
  | "hot-reset"
  | "region-access"
  | "open-iommufd"
  | "open-cdev"
  | "bind-iommufd"
  | "attach-pt"
  | "alloc-hwpt"
  | "bind-driver";

/** What a line tells about itself. */
export interface LineFacts {
  /** PCI address with its domain, lower case. */
  readonly bdf?: string;
  /** IOMMU group. */
  readonly group?: number;
  readonly errno?: ErrnoName;
  /** First address and bytes of what was to be mapped, or was accessed. */
  readonly iova?: bigint;
  readonly size?: bigint;
  /** All that the pattern captured, for placeholders. */
  readonly captured: Readonly<Record<string, string>>;
}

/** One of the things that may be behind a line. */
export interface Cause {
  /** What is so on the host, a sentence without its full stop. {name} is what the pattern captured as name. */
  readonly cause: string;
  /** What to do about it. */
  readonly cure: string;
  /** How to see that it is this one. */
  readonly tell?: string;
  /** Rules whose lines in the same log make it certain. */
  readonly saidBy?: readonly string[];
  /** The host's description decides it: where the host takes what the line is about, it is not this one. */
  readonly byHost?: true;
  /** What the line's own numbers say of it: that it is so, or cannot be. Nothing: it may be. */
  readonly judge?: (facts: LineFacts) => "certain" | "first" | "impossible" | undefined;
}

/**
 * failure: something did not work; consequence: it says no more than that something else failed; harmless: it reads
 * like a failure and is none.
 */
export type LineKind = "failure" | "consequence" | "harmless";

/** A line of a log that is known. */
export interface LogRule {
  /** Unique. */
  readonly id: string;
  /**
   * Named groups are facts: bdf, group, errno (a number, a name or the words of strerror), iova, size; others are for
   * placeholders.
   */
  readonly pattern: RegExp;
  /** What the line says, in our words; placeholders as in causes. */
  readonly says: string;
  /** "failure" when left out. */
  readonly kind?: LineKind;
  /** The call that failed: its causes are those of the errno. */
  readonly call?: CallName;
  /** For a captured host: the call to try on it, where the line is about none. */
  readonly ask?: CallName;
  /** The errno, where the line does not name it but means it. */
  readonly errno?: ErrnoName;
  /** Causes of this very line, the likeliest first; in the place of the call's. */
  readonly causes?: readonly Cause[];
  /** The only cause follows from the line itself. */
  readonly certain?: true;
  /** What to look at, or to capture, when the line alone does not tell. */
  readonly capture?: string;
}

/** The lines of one program. */
export interface RuleSet {
  /** Who writes them. */
  readonly program: string;
  readonly rules: readonly LogRule[];
}
