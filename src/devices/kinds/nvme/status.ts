/**
 * Status codes of completions: the status code type in bits 10:8, the code in bits 7:0 (NVM Express Base Specification
 * 2.0, 4.2.3).
 */
export const SUCCESS = 0x000;
export const INVALID_OPCODE = 0x001;
export const INVALID_FIELD = 0x002;
export const DATA_TRANSFER_ERROR = 0x004;
export const ABORT_REQUESTED = 0x007;
export const SQ_DELETED = 0x008;
export const INVALID_NAMESPACE = 0x00b;
export const SEQUENCE_ERROR = 0x00c;
export const INVALID_SGL_SEGMENT = 0x00d;
export const INVALID_SGL_COUNT = 0x00e;
export const SGL_LENGTH_INVALID = 0x00f;
export const METADATA_SGL_LENGTH_INVALID = 0x010;
export const SGL_TYPE_INVALID = 0x011;
export const PRP_OFFSET_INVALID = 0x013;
export const WRITE_PROTECTED = 0x020;
export const PLACEMENT_DISABLED = 0x029;
export const LBA_OUT_OF_RANGE = 0x080;
export const FORMAT_IN_PROGRESS = 0x084;

export const CQ_INVALID = 0x100;
export const QUEUE_ID_INVALID = 0x101;
export const QUEUE_SIZE_INVALID = 0x102;
export const EVENT_LIMIT_EXCEEDED = 0x105;
export const VECTOR_INVALID = 0x108;
export const INVALID_FORMAT = 0x10a;
export const QUEUE_IN_USE = 0x10c;
export const NOT_SAVEABLE = 0x10d;
export const NOT_CHANGEABLE = 0x10e;
export const NOT_OF_NAMESPACE = 0x10f;
export const ALREADY_ATTACHED = 0x118;
export const NOT_ATTACHED = 0x11a;
export const CONTROLLER_LIST_INVALID = 0x11c;
export const COMMAND_SET_COMBINATION = 0x12b;
export const PROTECTION_INVALID = 0x181;
export const SIZE_LIMIT = 0x183;
export const FORMATS_DIFFER = 0x185;
export const RANGES_OVERLAP = 0x187;

export const WRITE_FAULT = 0x280;
export const UNRECOVERED_READ = 0x281;
export const GUARD_CHECK = 0x282;
export const COMPARE_FAILURE = 0x285;
export const DEALLOCATED = 0x287;

/** Do not retry: the same command would fail again. */
export const DNR = 0x4000;
