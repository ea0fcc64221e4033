import * as feature from "../vfio-feature.ts";
import * as migration from "../vfio-migration.ts";
import { type FieldNames, flags, ofStruct, pick, type StructRow, values } from "./request-row.ts";

const FLAGS: FieldNames = {
  kind: "flags",
  names: new Map([
    [feature.VFIO_DEVICE_FEATURE_GET, "GET"],
    [feature.VFIO_DEVICE_FEATURE_SET, "SET"],
    [feature.VFIO_DEVICE_FEATURE_PROBE, "PROBE"],
  ]),
  low: {
    mask: feature.VFIO_DEVICE_FEATURE_MASK,
    names: pick(feature, "VFIO_DEVICE_FEATURE_", /_(MASK|GET|SET|PROBE|CLEAR_MASTER|SET_MASTER)$/),
    otherwise: "feature",
  },
};

/** The data of features, by their number. */
const DATA: ReadonlyMap<number, StructRow> = new Map<number, StructRow>([
  [
    feature.VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
    { layout: feature.VfioDeviceLowPowerEntryWithWakeup, fds: ["wakeup_eventfd"] },
  ],
  [feature.VFIO_DEVICE_FEATURE_BUS_MASTER, { layout: feature.VfioDeviceFeatureBusMaster }],
  [feature.VFIO_DEVICE_FEATURE_DMA_BUF, { layout: feature.VfioDeviceFeatureDmaBuf }],
  [
    feature.VFIO_DEVICE_FEATURE_MIGRATION,
    { layout: migration.VfioDeviceFeatureMigration, names: { flags: flags(migration, "VFIO_MIGRATION_") } },
  ],
  [
    feature.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
    {
      layout: migration.VfioDeviceFeatureMigState,
      names: { device_state: values(migration, "VFIO_DEVICE_STATE_", /_V1_|_MASK/) },
    },
  ],
  [
    feature.VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
    { layout: migration.VfioDeviceFeatureDmaLoggingControl, pointers: ["ranges"] },
  ],
  [
    feature.VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
    { layout: migration.VfioDeviceFeatureDmaLoggingReport, pointers: ["bitmap"] },
  ],
  [feature.VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, { layout: migration.VfioDeviceFeatureMigDataSize }],
]);

/** VFIO_DEVICE_FEATURE: its data are the feature's. */
export const FEATURE_ROW = ofStruct({ VFIO_DEVICE_FEATURE: feature.VFIO_DEVICE_FEATURE }, feature.VfioDeviceFeature, {
  names: { flags: FLAGS },
  behind: (value) => {
    const struct = DATA.get(value.flags & feature.VFIO_DEVICE_FEATURE_MASK);
    return struct && !(value.flags & feature.VFIO_DEVICE_FEATURE_PROBE)
      ? { field: "data", kind: "struct", struct }
      : undefined;
  },
});
