import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { scratchFolder, uvfio } from "../cli/uvfio.ts";

const DEVICE = "0000:02:00.0";
const NODE = "pci_0000_02_00_0";
const isRoot = process.getuid?.() === 0;
const has = (tool: string) => spawnSync("sh", ["-c", `command -v ${tool}`]).status === 0;
const DRIVER = `basename $(readlink /sys/bus/pci/devices/${DEVICE}/driver)`;
/** libvirt's driver for QEMU, without which it detaches nothing. */
const hasLibvirt =
  has("virsh") &&
  has("libvirtd") &&
  existsSync("/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so");

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const bash = (script: string) => uvfio("run", "-m", "lab", "--", "bash", "-c", script);

describe.skipIf(!existsSync("/dev/fuse"))("tools that look for devices in /sys and bind their drivers", () => {
  test.skipIf(!has("udevadm"))("udevadm (needs udev)", () => {
    const { stdout } = bash(`udevadm info /sys/bus/pci/devices/${DEVICE}`);
    expect(stdout).toContain("E: DRIVER=vfio-pci\n");
    expect(stdout).toContain(`E: PCI_SLOT_NAME=${DEVICE}\n`);
  });

  test.skipIf(!has("driverctl") || !isRoot)("driverctl (needs root and driverctl)", () => {
    const { stdout } = bash(`driverctl -v list-devices
      driverctl --nosave set-override ${DEVICE} uio_pci_generic && ${DRIVER}
      driverctl list-overrides | grep uio
      driverctl --nosave --noprobe unset-override ${DEVICE} && driverctl list-devices | grep none`);
    expect(stdout).toContain(`${DEVICE} vfio-pci [*]`);
    expect(stdout).toContain(`uio_pci_generic\n${DEVICE} uio_pci_generic\n${DEVICE} (none)\n`);
  });

  test.skipIf(!hasLibvirt || !isRoot)("virsh (needs root, libvirt-clients, libvirt-daemon-driver-qemu)", () => {
    const config = join(scratch.path, "libvirtd.conf");
    writeFileSync(config, `unix_sock_dir = "${scratch.path}"\nlog_outputs = "4:file:${scratch.path}/log"\n`);
    // the user that it runs guests as, and its group, may not be there
    for (const [name, line] of [
      ["passwd", "libvirt-qemu:x:64055:64055::/:/bin/false\n"],
      ["group", "libvirt-qemu:x:64055:\nkvm:x:64054:\n"],
    ] as const)
      writeFileSync(join(scratch.path, name), readFileSync(`/etc/${name}`, "utf8") + line);
    const run = bash(`cd ${scratch.path}
      mount --bind passwd /etc/passwd; mount --bind group /etc/group; mkdir -p var etc run
      for d in var/lib/libvirt var/cache/libvirt var/log/libvirt etc/libvirt; do
        mkdir -p $d /$d && mount --bind $d /$d
      done
      libvirtd -f libvirtd.conf -p pid > out 2>&1 & daemon=$!
      for n in $(seq 100); do [ -S libvirt-sock ] && break; sleep 0.2; done
      v() { virsh -c "qemu+unix:///system?socket=${scratch.path}/libvirt-sock" "$@"; }
      v nodedev-list --cap pci; v nodedev-dumpxml ${NODE} | grep -o "iommuGroup number='2'"
      echo > /sys/bus/pci/devices/${DEVICE}/driver_override
      echo ${DEVICE} > /sys/bus/pci/devices/${DEVICE}/driver/unbind
      v nodedev-detach ${NODE}; ${DRIVER}; v nodedev-reset ${NODE}; v nodedev-reattach ${NODE}
      readlink /sys/bus/pci/devices/${DEVICE}/driver || echo none
      kill $daemon; wait $daemon`);
    const stdout = run.stdout.replaceAll("\n\n", "\n");
    expect(stdout).toContain(`${NODE}\n`);
    expect(stdout).toContain(
      `iommuGroup number='2'\nDevice ${NODE} detached\nvfio-pci\nDevice ${NODE} reset\nDevice ${NODE} re-attached\nnone\n`,
    );
  });
});
