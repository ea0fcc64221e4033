/** Instruction sets of the machines that there are. */
export const ARCHES = ["x86_64", "arm64", "ppc64le", "s390x"] as const;
export type Arch = (typeof ARCHES)[number];

/** The byte order of an arch. */
export function isLittleEndian(arch: Arch): boolean {
  return arch !== "s390x";
}
