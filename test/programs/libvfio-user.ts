import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { finished } from "../cli/uvfio.ts";

/** libvfio-user's source (github.com/nutanix/libvfio-user); it is built with meson, libjson-c-dev and libcmocka-dev. */
const SOURCE = process.env.UVFIO_LIBVFIO_USER ?? "";

/** Whether it can be built here; where not, a line says so. */
export function canBuildLibvfioUser(what: string): boolean {
  const can = SOURCE !== "" && spawnSync("meson", ["--version"]).status === 0;
  if (!can) console.log(`${what}: skipped (UVFIO_LIBVFIO_USER names its source; meson, libjson-c-dev, libcmocka-dev)`);
  return can;
}

/** Builds it in a folder of the test's. */
export function buildLibvfioUser(folder: string): void {
  cpSync(SOURCE, folder, { recursive: true, filter: (path) => !path.endsWith("/build") });
  // since BARs must be powers of two the sample does not start: its own BAR is none (efd091b); and no I/O port is mapped
  const server = join(folder, "samples/server.c");
  const source = readFileSync(server, "utf8")
    .replace("bar1_size = 0x3000", "bar1_size = 0x4000")
    .replace("VFU_REGION_FLAG_RW, bar1_mmap_areas", "VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM, bar1_mmap_areas");
  writeFileSync(server, source);
  for (const args of [
    ["setup", "build"],
    ["compile", "-C", "build"],
  ]) {
    const built = finished("meson", args, { cwd: folder, timeout: 120_000 });
    if (built.status !== 0) throw new Error(built.stdout + built.stderr);
  }
}
