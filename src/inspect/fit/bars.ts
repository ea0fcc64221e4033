import type { Collision } from "./collide.ts";
import type { GuestLayout } from "./layout.ts";
import { withBits } from "./limits.ts";
import { bitsFor, hex } from "./sizes.ts";

/** BARs that cannot be mapped, for a VMM that goes on. */
export function barsWarning(name: string, collisions: readonly Collision[], { vmm }: GuestLayout): string {
  const who = vmm.startsWith("QEMU") ? "QEMU warns and goes on" : "the guest may run without";
  return `${name}: a BAR at ${placeText(collisions)} cannot be mapped (MAP_DMA = EINVAL), so other devices cannot reach it (peer-to-peer); ${who}`;
}

/** BARs that cannot be mapped, for a VMM that ends then. */
export function barsReason(name: string, collisions: readonly Collision[], { vmm }: GuestLayout): string {
  return `${name}: a BAR at ${placeText(collisions)} cannot be mapped (MAP_DMA = EINVAL), and ${vmm} ends with that`;
}

/** What must hold so that BARs can be mapped, when nobody has said how many address bits the guest's CPU has. */
export function barsConditions(collisions: readonly Collision[], layout: GuestLayout): readonly string[] {
  const bits = bitsThatFit(collisions);
  if (bits === undefined) return [`its BARs stay clear of ${placeText(collisions)}`];
  return [`the guest's CPU has at most ${bits} address bits${byOption(layout, bits)}`];
}

/** How to place BARs where they can be mapped; undefined where address bits do not decide it, or memory needs more. */
export function barsCure(collisions: readonly Collision[], layout: GuestLayout): string | undefined {
  const bits = bitsThatFit(collisions);
  if (bits === undefined || layout.barsCure === undefined || bitsFor(layout.highest) > bits) return undefined;
  return `let the guest's CPU have ${bits} address bits, so that its firmware places BARs where the IOMMU translates: ${withBits(layout.barsCure, bits)}`;
}

/** Address bits with which nothing lies beyond the IOMMU's aperture; undefined when something else is in the way. */
function bitsThatFit(collisions: readonly Collision[]): number | undefined {
  let bits: number | undefined;
  for (const { cause } of collisions) {
    if (cause.kind !== "aperture") return undefined;
    bits = Math.min(bits ?? 64, bitsFor(cause.aperture.last));
  }
  return bits;
}

function byOption({ barsCure: option }: GuestLayout, bits: number): string {
  return option === undefined ? "" : ` (${withBits(option, bits)})`;
}

function placeText(collisions: readonly Collision[]): string {
  const [{ start, last }] = collisions as [Collision];
  return `${hex(start)}-${hex(last)}`;
}
