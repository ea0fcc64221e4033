import { fail } from "../../kernel/errors.ts";
import {
  VFIO_DEVICE_STATE_ERROR as ERROR,
  VFIO_DEVICE_STATE_PRE_COPY as PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P as PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_RUNNING as RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P as RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP as STOP,
  VFIO_DEVICE_STATE_STOP_COPY as STOP_COPY,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
} from "../../uapi/vfio-migration.ts";

const NAMES: ReadonlyMap<number, string> = new Map([
  [ERROR, "ERROR"],
  [STOP, "STOP"],
  [RUNNING, "RUNNING"],
  [STOP_COPY, "STOP_COPY"],
  [RESUMING, "RESUMING"],
  [RUNNING_P2P, "RUNNING_P2P"],
  [PRE_COPY, "PRE_COPY"],
  [PRE_COPY_P2P, "PRE_COPY_P2P"],
]);

/** For messages. */
export function stateName(state: number): string {
  return NAMES.get(state) ?? `${state}`;
}

/** What a device must be able to do to be in a state (state_flags_table). */
const NEEDS: ReadonlyMap<number, number> = new Map([
  [STOP, VFIO_MIGRATION_STOP_COPY],
  [RUNNING, VFIO_MIGRATION_STOP_COPY],
  [PRE_COPY, VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_PRE_COPY],
  [PRE_COPY_P2P, VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY],
  [STOP_COPY, VFIO_MIGRATION_STOP_COPY],
  [RESUMING, VFIO_MIGRATION_STOP_COPY],
  [RUNNING_P2P, VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P],
]);

/**
 * The next state on the way from one to another (vfio_from_fsm_table): by the state that it is in, lists of those that
 * are meant. What is not listed leads nowhere.
 */
const WAYS: ReadonlyMap<number, readonly (readonly [next: number, wanted: readonly number[]])[]> = new Map([
  [
    STOP,
    [
      [STOP, [STOP]],
      [RUNNING_P2P, [RUNNING, PRE_COPY, PRE_COPY_P2P, RUNNING_P2P]],
      [STOP_COPY, [STOP_COPY]],
      [RESUMING, [RESUMING]],
    ],
  ],
  [
    RUNNING,
    [
      [RUNNING_P2P, [STOP, PRE_COPY_P2P, STOP_COPY, RESUMING, RUNNING_P2P]],
      [RUNNING, [RUNNING]],
      [PRE_COPY, [PRE_COPY]],
    ],
  ],
  [
    PRE_COPY,
    [
      [RUNNING, [STOP, RUNNING, RESUMING, RUNNING_P2P]],
      [PRE_COPY, [PRE_COPY]],
      [PRE_COPY_P2P, [PRE_COPY_P2P, STOP_COPY]],
    ],
  ],
  [
    PRE_COPY_P2P,
    [
      [RUNNING_P2P, [STOP, RUNNING, RESUMING, RUNNING_P2P]],
      [PRE_COPY, [PRE_COPY]],
      [PRE_COPY_P2P, [PRE_COPY_P2P]],
      [STOP_COPY, [STOP_COPY]],
    ],
  ],
  [
    STOP_COPY,
    [
      [STOP, [STOP, RUNNING, RESUMING, RUNNING_P2P]],
      [STOP_COPY, [STOP_COPY]],
    ],
  ],
  [
    RESUMING,
    [
      [STOP, [STOP, RUNNING, PRE_COPY, PRE_COPY_P2P, STOP_COPY, RUNNING_P2P]],
      [RESUMING, [RESUMING]],
    ],
  ],
  [
    RUNNING_P2P,
    [
      [STOP, [STOP, STOP_COPY, RESUMING]],
      [RUNNING, [RUNNING, PRE_COPY]],
      [PRE_COPY_P2P, [PRE_COPY_P2P]],
      [RUNNING_P2P, [RUNNING_P2P]],
    ],
  ],
]);

/**
 * The state that a device goes to next on its way to another one; states that it does not have are passed over
 * (vfio_main.c:vfio_mig_get_next_state). EINVAL where there is no way.
 * @param flags VFIO_MIGRATION_*, what the device can do
 */
export function nextState(name: string, flags: number, current: number, wanted: number): number {
  const has = (state: number) => {
    const needs = NEEDS.get(state);
    return needs !== undefined && (needs & flags) === needs;
  };
  if (current === ERROR) fail("EINVAL", `${name} is in the state ERROR, which only a reset ends (VFIO_DEVICE_RESET)`);
  if (!has(wanted)) fail("EINVAL", `${name} has no state ${stateName(wanted)} that it could go to`);
  let next = step(current, wanted);
  while (next !== undefined && !has(next)) next = step(next, wanted);
  return next ?? fail("EINVAL", `no way leads from ${stateName(current)} to ${stateName(wanted)}`);
}

function step(current: number, wanted: number): number | undefined {
  return WAYS.get(current)?.find(([, states]) => states.includes(wanted))?.[0];
}
