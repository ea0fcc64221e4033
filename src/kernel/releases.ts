import { FEATURES, type Feature } from "./release-features.ts";

export type FeatureName = keyof typeof FEATURES;

/** The releases in which something changed, the oldest first: those that are worth a try. */
export function changingReleases(): readonly string[] {
  const names = Object.values<Feature>(FEATURES).flatMap(({ since, until }) => [since, until]);
  const known = [...new Set(names)].filter((name): name is string => name !== undefined);
  return known.sort((a, b) => releaseNumber(a)! - releaseNumber(b)!);
}

/** A kernel release, `major.minor`. */
export class Release {
  readonly name: string;
  readonly #number: number;
  /** What was asked for so far. */
  readonly #has = new Map<FeatureName, boolean>();

  constructor(name: string) {
    const number = releaseNumber(name);
    if (number === undefined) throw new RangeError(`not a kernel release: "${name}" (write it like 6.12)`);
    this.name = name;
    this.#number = number;
  }

  has(feature: FeatureName): boolean {
    let known = this.#has.get(feature);
    if (known === undefined) {
      const { since, until }: Feature = FEATURES[feature];
      known = (!since || this.#number >= releaseNumber(since)!) && (!until || this.#number < releaseNumber(until)!);
      this.#has.set(feature, known);
    }
    return known;
  }
}

/** The first release with a feature, for messages. */
export function firstWith(feature: FeatureName): string {
  const { since }: Feature = FEATURES[feature];
  return since ?? OLDEST_RELEASE;
}

/** The first release that has VFIO, and the newest that this table was checked against. */
export const OLDEST_RELEASE = "3.6";
export const NEWEST_RELEASE = "7.2";

/**
 * The release that a person means: `6.12`, `5.4.0`, or what `uname -r` prints (`6.12.107+deb13-amd64`). Undefined when
 * the text names none.
 * @returns `major.minor`
 */
export function releaseFrom(text: string): string | undefined {
  const match = /^(\d{1,3})\.(\d{1,4})(?:[.+~_-][\w.+~-]{0,100})?$/.exec(text);
  return match ? `${Number(match[1])}.${Number(match[2])}` : undefined;
}

/** Why a release cannot be asked for; undefined when it can. */
export function refuseRelease(text: string): string | undefined {
  const name = releaseFrom(text);
  if (name === undefined) return "not a kernel release (write it like 6.12, or as uname -r prints it)";
  if (releaseNumber(name)! < releaseNumber(OLDEST_RELEASE)!)
    return `older than VFIO, which came with ${OLDEST_RELEASE}`;
  return undefined;
}

/** What to say of a release that is newer than all that is known of them: it answers as the newest that is. */
export function releaseWarning(name: string): string | undefined {
  if (releaseNumber(name)! <= releaseNumber(NEWEST_RELEASE)!) return undefined;
  return `kernel ${name} is newer than ${NEWEST_RELEASE}, the newest that uvfio knows: it answers as ${NEWEST_RELEASE} does`;
}

/** A release as one comparable number; undefined for another text. */
export function releaseNumber(name: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,4})$/.exec(name);
  return match ? Number(match[1]) * 10000 + Number(match[2]) : undefined;
}
