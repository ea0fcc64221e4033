import { DEVICE_ROWS, MIGRATION_ROWS } from "./device-rows.ts";
import { RequestDialect } from "./dialect.ts";
import { GROUP_ROWS } from "./group-rows.ts";
import { IOMMU_DATA_V59, IOMMU_DATA_V510, type IommuDataRows } from "./iommu-data.ts";
import { IOMMUFD_ROWS } from "./iommufd-rows.ts";
import type { RequestRow } from "./request-row.ts";
import { RFC_2017_ROWS } from "./rfc-2017-rows.ts";
import { SPAPR_ROWS } from "./spapr-rows.ts";
import { CONTAINER_ROWS, TYPE1_ROWS } from "./type1-rows.ts";
import { vsvaV1Rows, vsvaV7Rows } from "./vsva-rows.ts";

const TYPE1_CONTAINER = [...CONTAINER_ROWS, ...TYPE1_ROWS];

/** A container of type1, or without an IOMMU, and what a proposal adds. sPAPR's requests keep their names there. */
function type1Dialect(name: string, proposed: readonly RequestRow[] = []): RequestDialect {
  return new RequestDialect(name, [...TYPE1_CONTAINER, ...proposed], SPAPR_ROWS);
}

export const TYPE1_DIALECT = type1Dialect("type1");
export const SPAPR_DIALECT = new RequestDialect("spapr", [...CONTAINER_ROWS, ...SPAPR_ROWS]);
export const GROUP_DIALECT = new RequestDialect("group", GROUP_ROWS);
export const DEVICE_DIALECT = new RequestDialect("device", DEVICE_ROWS);
/** Of the data file of a device's migration. */
export const MIGRATION_DIALECT = new RequestDialect("migration", MIGRATION_ROWS);
/** An iommufd answers the requests of a type1 container too (drivers/iommu/iommufd/vfio_compat.c). */
export const IOMMUFD_DIALECT = new RequestDialect("iommufd", [...TYPE1_CONTAINER, ...IOMMUFD_ROWS]);

const RFC_2017_DIALECT = type1Dialect("rfc-2017", RFC_2017_ROWS);

/**
 * What the containers of a host speak that speaks a version of vSVA: those of type 6, and the others, where its
 * requests are but names.
 */
function vsvaDialects(proposal: "vsva-v1" | "vsva-v7", { suffix }: IommuDataRows, proposed: readonly RequestRow[]) {
  return {
    nesting: type1Dialect(`${proposal}${suffix}`, proposed),
    plain: new RequestDialect(`${proposal}-plain${suffix}`, TYPE1_CONTAINER, [...SPAPR_ROWS, ...proposed]),
  };
}

const IOMMU_DATA = [IOMMU_DATA_V510, IOMMU_DATA_V59];
const VSVA_V1 = IOMMU_DATA.map((data) => vsvaDialects("vsva-v1", data, vsvaV1Rows(data)));
const VSVA_V7 = IOMMU_DATA.map((data) => vsvaDialects("vsva-v7", data, vsvaV7Rows(data)));

/** Mainline's before the proposals', so that a name alone means mainline's request where there is one. */
const DIALECTS: readonly RequestDialect[] = [
  TYPE1_DIALECT,
  SPAPR_DIALECT,
  GROUP_DIALECT,
  DEVICE_DIALECT,
  IOMMUFD_DIALECT,
  MIGRATION_DIALECT,
  ...[...VSVA_V1, ...VSVA_V7].flatMap(({ nesting, plain }) => [nesting, plain]),
  RFC_2017_DIALECT,
];

/**
 * What a container speaks whose host speaks a proposal.
 * @param isNesting whether its type is VFIO_TYPE1_NESTING_IOMMU
 * @param withArgsz whether the structures of <linux/iommu.h> are those of 5.10 and later
 */
export function proposedDialect(
  proposal: "vsva-v1" | "vsva-v7" | "rfc-2017",
  isNesting: boolean,
  withArgsz: boolean,
): RequestDialect {
  if (proposal === "rfc-2017") return RFC_2017_DIALECT;
  const { nesting, plain } = (proposal === "vsva-v1" ? VSVA_V1 : VSVA_V7)[withArgsz ? 0 : 1]!;
  return isNesting ? nesting : plain;
}

/** A dialect by its name; undefined for none. */
export function dialectNamed(name: string): RequestDialect | undefined {
  return DIALECTS.find((dialect) => dialect.name === name);
}

const BY_NAME: ReadonlyMap<string, RequestRow> = new Map(
  DIALECTS.flatMap(({ rows }) => rows)
    .reverse()
    .map((row) => [row.name, row]),
);

/** The names of all requests, of mainline and of the proposals. */
export const REQUEST_NAMES: readonly string[] = [...BY_NAME.keys()].reverse();

/** A request by its name alone, for recordings that do not say what it was made on. */
export function requestNamed(name: string): RequestRow | undefined {
  return BY_NAME.get(name);
}
