import { fail } from "../../kernel/errors.ts";

/** The highest error function that firmware knows (asm/eeh.h: EEH_ERR_FUNC_MAX). */
const ERROR_FUNCTION_MAX = 19;
/** 32-bit and 64-bit errors (powernv/eeh-powernv.c: pnv_eeh_err_inject). */
const ERROR_TYPE_MAX = 1;

const EEH_STATE_NORMAL = 0;

/**
 * Enhanced error handling of one endpoint on bare metal, as the recorded machines have it: the emulated PHB never
 * freezes, takes hot resets, and refuses fundamental ones and injected errors.
 */
export class Eeh {
  /** Switching off, switching on, unfreezing and configuring succeed and change nothing while nothing is frozen. */
  accept(): number {
    return 0;
  }

  /** eeh_pe_get_state() */
  state(): number {
    return EEH_STATE_NORMAL;
  }

  /** A fundamental reset. Recorded in x_i03 behind a hot one. */
  fundamentalReset(): never {
    fail("EIO", "the host bridge does no fundamental reset; a hot reset (VFIO_EEH_PE_RESET_HOT) works");
  }

  /** eeh_pe_inject_err() */
  inject(type: number, errorFunction: number): never {
    if (errorFunction > ERROR_FUNCTION_MAX) {
      fail("EINVAL", `error function ${errorFunction} is unknown (there are 0..${ERROR_FUNCTION_MAX})`);
    }
    if (type > ERROR_TYPE_MAX) fail("ERANGE", `error type ${type} is neither 0 (32-bit) nor 1 (64-bit)`);
    fail("EIO", "the host bridge's firmware injects no errors");
  }
}
