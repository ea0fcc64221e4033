/** A PCI address with its domain, as the fact `bdf`. */
export const BDF = "(?<bdf>[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7])";

/**
 * A pattern whose alternatives may capture the same fact. A name stands once in a regular expression: the second and
 * later ones get a number, which the reader of facts takes away.
 */
export function re(source: string, flags = "i"): RegExp {
  const seen = new Map<string, number>();
  const unique = source.replace(/\(\?<([a-z]+)>/gi, (_, name: string) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return `(?<${name}${count === 1 ? "" : count}>`;
  });
  return new RegExp(unique, flags);
}
