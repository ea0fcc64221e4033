import type { Arch } from "../../../kernel/arch.ts";
import { didYouMean } from "../../../kernel/nearest.ts";
import { FitInputError } from "../input-error.ts";
import { hasSince, parseVersion, type Version, type Vmm, versionText } from "../layout.ts";
import { cloudHypervisor } from "./cloud-hypervisor.ts";
import { crosvm } from "./crosvm.ts";
import { i440fx } from "./i440fx.ts";
import { pseries } from "./pseries.ts";
import { q35 } from "./q35.ts";
import { virt } from "./virt.ts";

export const VMMS: readonly Vmm[] = [q35, i440fx, virt, pseries, cloudHypervisor, crosvm];

/** What people also call them. */
const ALIASES: Readonly<Record<string, Vmm>> = { pc: i440fx, ch: cloudHypervisor, "pc-q35": q35, "pc-i440fx": i440fx };

/** As `--vmm` takes them. */
export const VMM_NAMES: readonly string[] = VMMS.map(({ name }) => name);

export interface ChosenVmm {
  readonly vmm: Vmm;
  readonly version?: Version;
}

/**
 * The VMM that is meant: a name, or a QEMU machine type with its version (pc-q35-7.0, virt-8.2).
 * @throws FitInputError
 */
export function chooseVmm(name: string, versionOption: string | undefined): ChosenVmm {
  const [, base, inName] = /^(.*?)(?:-(\d+\.\d+(?:\.\d+)?))?$/.exec(name.toLowerCase())!;
  const vmm = VMMS.find((candidate) => candidate.name === base) ?? ALIASES[base!];
  if (!vmm)
    throw new FitInputError(
      `--vmm: unknown VMM "${name}"${didYouMean(base!, [...VMM_NAMES, ...Object.keys(ALIASES)])} (there are: ${VMM_NAMES.join(", ")}; or give --ranges FILE)`,
    );
  if (inName !== undefined && versionOption !== undefined && inName !== versionOption)
    throw new FitInputError(`--vmm-version ${versionOption} contradicts --vmm ${name}`);
  const text = versionOption ?? inName;
  if (text === undefined) return { vmm };
  if (!vmm.oldest) throw new FitInputError(`--vmm-version: only QEMU's layouts depend on a version, not ${vmm.name}'s`);
  const version = parseVersion(text);
  if (!version) throw new FitInputError(`--vmm-version: not a QEMU version: "${text}" (write it like 7.1)`);
  if (!hasSince(version, versionText(vmm.oldest)))
    throw new FitInputError(
      `--vmm-version: ${vmm.name} is known from version ${versionText(vmm.oldest)} on, not ${text}`,
    );
  return { vmm, version };
}

/** What most people run on such a machine. */
export function defaultVmm(arch: Arch): Vmm | undefined {
  if (arch === "x86_64") return q35;
  if (arch === "arm64") return virt;
  return arch === "ppc64le" ? pseries : undefined;
}
