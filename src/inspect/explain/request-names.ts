import { nearest } from "../../kernel/nearest.ts";
import { decodeIo } from "../../uapi/ioctl.ts";
import { REQUEST_NAMES, requestNamed } from "../../uapi/requests/dialects.ts";
import { KNOWN_ERRORS } from "./error-table.ts";

/** What the table of errors has beside requests: open, mmap, read, pread, ... */
const OTHERS: readonly string[] = [...new Set(KNOWN_ERRORS.map(({ request }) => request))].filter(
  (name) => requestNamed(name) === undefined,
);

/** Everything that can be asked about. */
export const EXPLAINED_NAMES: readonly string[] = [...REQUEST_NAMES, ...OTHERS];

const PREFIXES = ["", "VFIO_", "IOMMU_", "VFIO_IOMMU_", "VFIO_DEVICE_", "VFIO_GROUP_", "VFIO_IOMMU_SPAPR_"];
const plain = (text: string) => text.toUpperCase().replace(/[\s-]+/g, "_");
const BY_PLAIN: ReadonlyMap<string, string> = new Map(EXPLAINED_NAMES.map((name) => [plain(name), name]));

/**
 * The requests that a text names: by name, in any case, with or without the prefixes that they share (MAP_DMA), or by
 * number (0x3b71, 15217), which may be several. Empty when it names none.
 */
export function requestsNamed(text: string): readonly string[] {
  const word = text.trim();
  if (/^(?:0x[0-9a-f]+|\d+)$/i.test(word)) return byNumber(Number(word));
  const wanted = plain(word).replace(/\W+$/, "");
  for (const prefix of PREFIXES) {
    const found = BY_PLAIN.get(`${prefix}${wanted}`);
    if (found !== undefined) return [found];
  }
  return OTHERS.filter((name) => plain(name).split(/,_| _/).includes(wanted));
}

function byNumber(number: number): string[] {
  const request = decodeIo(number);
  if (request === undefined) return [];
  const wanted = request.type * 0x100 + request.nr;
  return REQUEST_NAMES.filter((name) => {
    const row = requestNamed(name)!;
    return row.number === wanted && row.proposal === undefined;
  });
}

/** The request that a log's word names exactly. */
export function dialectRequest(word: string): string | undefined {
  return requestsNamed(word)[0];
}

/** The name that a misspelt word most likely meant. */
export function nearestRequest(text: string): string | undefined {
  const wanted = plain(text);
  const short = EXPLAINED_NAMES.map((name) => name.replace(/^(?:VFIO|IOMMU)_(?:IOMMU_|DEVICE_|GROUP_)?/, ""));
  const found = nearest(wanted, EXPLAINED_NAMES);
  if (found !== undefined) return found;
  const guess = nearest(wanted, short);
  return guess === undefined ? undefined : EXPLAINED_NAMES[short.indexOf(guess)];
}
