import { fail } from "../../kernel/errors.ts";

/**
 * The secret that ties the user of a physical function and those of its virtual ones together, when both have vfio-pci:
 * whoever has the physical function can see and change what the virtual ones do (vfio_pci_core.c:struct
 * vfio_pci_vf_token).
 */
export const TOKEN_BYTES = 16;
const TEXT = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/i;
const TEXT_LENGTH = 36;
const OPTION = "vf_token=";

/** One physical function's token. Nobody knows it until somebody sets it (uuid_gen). */
export class VfToken {
  #uuid: Uint8Array = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES));
  /** Virtual functions of it that are open. */
  users = 0;

  set(uuid: Uint8Array): void {
    this.#uuid = uuid.slice(0, TOKEN_BYTES);
  }

  equals(uuid: Uint8Array): boolean {
    return this.#uuid.every((byte, i) => byte === uuid[i]);
  }
}

/** Whose token counts for a device. */
export interface TokenHolder {
  /** "0000:01:10.0" */
  readonly name: string;
  /** A physical function's own. */
  readonly own: VfToken | undefined;
  /** Whether it is a virtual function. */
  readonly isVirtual: boolean;
  /** A virtual function's physical one's, when that has vfio-pci. */
  readonly physical: VfToken | undefined;
}

/**
 * Whether a device may be opened with this token, or with none (vfio_pci_core.c:vfio_pci_validate_vf_token). A physical
 * function none of whose virtual ones is open takes a new one. EACCES, EINVAL.
 */
export function checkToken({ name, own, isVirtual, physical }: TokenHolder, uuid: Uint8Array | undefined): void {
  if (isVirtual) {
    if (!physical) {
      if (uuid) fail("EINVAL", `the physical function of ${name} has no vfio-pci: ${name} takes no vf_token`);
    } else if (!uuid) {
      fail(
        "EACCES",
        `${name} is a virtual function whose physical one has vfio-pci: it wants the token that was set there (vf_token=UUID behind its name; QEMU: vf-token=)`,
      );
    } else if (!physical.equals(uuid)) {
      fail("EACCES", `the vf_token for ${name} is not the one that was set on its physical function`);
    }
    return;
  }
  if (!own) {
    if (uuid) fail("EINVAL", `${name} is no virtual function and has none: it takes no vf_token`);
    return;
  }
  if (own.users === 0) {
    if (uuid) own.set(uuid);
    return;
  }
  if (!uuid) fail("EACCES", `virtual functions of ${name} are open: it wants their vf_token`);
  if (!own.equals(uuid)) fail("EACCES", `virtual functions of ${name} are open with another vf_token`);
}

/**
 * Whether what a caller names is this device: its name, and behind it options, of which there is one
 * (vfio_pci_core.c:vfio_pci_core_match).
 * @param taken before 5.7 a name is the name and nothing else
 * @returns undefined when it is not, else the token that was given
 */
export function matchPciName(name: string, wanted: string, taken: boolean): { readonly uuid?: Uint8Array } | undefined {
  if (wanted === name) return {};
  if (!taken || !wanted.startsWith(`${name} `)) return undefined;
  let uuid: Uint8Array | undefined;
  for (let at = name.length; at < wanted.length; ) {
    if (wanted[at] === " ") {
      at++;
      continue;
    }
    if (uuid || !wanted.startsWith(OPTION, at))
      fail(
        "EINVAL",
        `unknown option, or one twice, behind the device name ${name}: "${wanted.slice(at)}" (there is vf_token=UUID)`,
      );
    at += OPTION.length;
    const text = wanted.slice(at);
    if (!TEXT.test(text)) fail("EINVAL", `not a UUID behind vf_token=: "${text}"`);
    uuid = bytesOfUuid(text.slice(0, TEXT_LENGTH));
    at += TEXT_LENGTH;
  }
  return uuid ? { uuid } : {};
}

function bytesOfUuid(text: string): Uint8Array {
  return Uint8Array.from(text.replaceAll("-", "").match(/../g)!, (digits) => Number.parseInt(digits, 16));
}
