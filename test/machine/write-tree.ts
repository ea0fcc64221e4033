import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { sysfsTree } from "../../src/machine/sysfs-tree.ts";

/** Writes a host's generated /sys below a directory, and what /proc says about its kernel: a tree that `uvfio capture --root` reads. */
export function writeTree(host: HostDescription, root: string, release = `${host.kernel}.7-test`): void {
  const { directories, files, links } = sysfsTree(host, () => []);
  for (const directory of directories) mkdirSync(join(root, directory), { recursive: true });
  for (const [path, { content }] of files) write(join(root, path), content);
  for (const [path, target] of links) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    symlinkSync(target, join(root, path));
  }
  write(join(root, "proc/sys/kernel/osrelease"), `${release}\n`);
  write(join(root, "proc/sys/kernel/arch"), `${host.arch === "arm64" ? "aarch64" : host.arch}\n`);
  write(join(root, "proc/self/smaps"), `KernelPageSize:        ${host.pageSize / 1024} kB\n`);
  const { spapr } = host.iommu;
  const power = spapr?.platform === "pseries" ? "pSeries" : "PowerNV";
  const cpu = /\d+$/.exec(spapr?.platform ?? "")?.[0] ?? "9";
  write(join(root, "proc/cpuinfo"), spapr ? `cpu\t\t: POWER${cpu} (architected)\nplatform\t: ${power}\n` : "");
}

/** Adds or replaces a file. */
export function write(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}
