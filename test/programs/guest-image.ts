import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";

/** A Linux guest made of Debian's packages, unpacked into a folder by scripts/debian-package.sh. */
export interface GuestImage {
  readonly kernel: string;
  readonly initrd: string;
}

/**
 * A kernel, and an initramfs of busybox, modules and a script that runs as the first process.
 * @param folder has a Debian kernel and busybox-static in it
 * @param modules by name, in the order in which the script wants to load them
 * @param script of busybox's shell, after /proc, /sys and /dev are mounted; the guest powers off behind it
 * @param into where the initramfs is written
 */
export function guestImage(folder: string, modules: readonly string[], script: string, into: string): GuestImage {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const find = (wanted: RegExp) => {
    const found = files.find((file) => wanted.test(file));
    if (found === undefined) throw new Error(`${folder} has no file like ${wanted}`);
    return join(folder, found);
  };
  const init = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
${script}
poweroff -f
`;
  const archive = new Archive();
  for (const directory of ["bin", "dev", "proc", "sys"]) archive.add(directory, 0o040755);
  archive.add("init", 0o100755, Buffer.from(init));
  archive.add("bin/busybox", 0o100755, readFileSync(find(/bin\/busybox$/)));
  for (const name of modules) {
    const path = find(new RegExp(`/${name}\\.ko\\.xz$`));
    archive.add(basename(path, ".xz"), 0o100644, execFileSync("xz", ["-dc", path], { maxBuffer: 2 ** 26 }));
  }
  const initrd = join(into, "initrd.gz");
  writeFileSync(initrd, gzipSync(archive.bytes(), { level: 1 }));
  return { kernel: find(/(?:boot\/vmlinu[xz][^/]*|modules\/[^/]+\/vmlinuz)$/), initrd };
}

/** A cpio archive in the format that Linux unpacks ("newc", Documentation/driver-api/early-userspace/buffer-format.rst). */
class Archive {
  readonly #parts: Buffer[] = [];

  add(name: string, mode: number, data: Buffer = Buffer.alloc(0)): void {
    const inode = this.#parts.length + 1;
    const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
    const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
    this.#parts.push(padded(Buffer.from(head)), padded(data));
  }

  bytes(): Buffer {
    this.add("TRAILER!!!", 0);
    return Buffer.concat(this.#parts);
  }
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
