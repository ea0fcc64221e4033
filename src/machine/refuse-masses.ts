import { HostDescriptionError } from "./host-description-error.ts";

/** Lines, or parts of lists: a host of ten thousand devices has fewer. */
const VALUES_MAX = 400_000;
const NEWLINE = 10;
const COMMA = 44;

/**
 * Throws HostDescriptionError for what would take the reader minutes and gigabytes: nobody describes a host like that.
 */
export function refuseMasses(text: string, file: string): void {
  // each takes a character
  if (text.length <= VALUES_MAX) return;
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === NEWLINE || code === COMMA) count++;
  }
  if (count > VALUES_MAX)
    throw new HostDescriptionError(`${file}: more than ${VALUES_MAX} values: this is no description of a host`);
}
