// Compiled code of several groups of modules (scripts/joined/join.mjs) in one file: the code of each, then as JSON where each is, then how long
// that is.

/** V8 copies code that is not aligned to this. */
const ALIGNMENT = 8;
const LENGTH_SIZE = 4;

/**
 * @param bytes a file as `updated` gives it; undefined where there is none
 * @returns `code`, the code of a group as V8 takes it, undefined for none; `updated`, a file that has the code of `scripts` as well, undefined
 * when nothing would be new in it
 */
export function compiledGroups(bytes) {
  const known = bytes ? parts(bytes) : new Map();
  return {
    code: (group) => known.get(group),
    updated(scripts) {
      const isRefused = [...scripts.values()].some((script) => script.cachedDataRejected);
      const isNew = [...scripts.keys()].some((group) => !known.has(group));
      if (!isRefused && !isNew) return undefined;
      const all = new Map(isRefused ? [] : known);
      for (const [group, script] of scripts) if (!all.has(group)) all.set(group, script.createCachedData());
      return file(all);
    },
  };
}

/** None of a damaged file. */
function parts(bytes) {
  try {
    const end = bytes.length - LENGTH_SIZE;
    const places = JSON.parse(bytes.toString("latin1", end - bytes.readUInt32LE(end), end));
    return new Map(places.map(([group, begin, length]) => [group, bytes.subarray(begin, begin + length)]));
  } catch {
    return new Map();
  }
}

function file(all) {
  let at = 0;
  const bytes = [];
  const places = [];
  for (const [group, code] of all) {
    const padding = Buffer.alloc(-code.length & (ALIGNMENT - 1));
    bytes.push(code, padding);
    places.push([group, at, code.length]);
    at += code.length + padding.length;
  }
  const index = Buffer.from(JSON.stringify(places), "latin1");
  const length = Buffer.alloc(LENGTH_SIZE);
  length.writeUInt32LE(index.length);
  return Buffer.concat([...bytes, index, length]);
}
