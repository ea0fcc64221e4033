import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder, UVFIO, uvfio } from "../cli/uvfio.ts";
import { mountsOfRuns } from "../mounts.ts";
import { hasFuse } from "./fuse.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const host = join(scratch.path, "host.yaml");
writeFileSync(
  host,
  `
name: served
iommu: { model: intel-vtd, address_bits: 48 }
groups:
  - { id: 6, devices: [ { bdf: 0000:01:00.0, id: "8086:10c9", class: 0x020000, driver: igb, sriov_totalvfs: 4 } ] }
  - { id: 7, devices: [ { bdf: 0000:02:00.0, id: "1234:11e8" } ] }
`,
);
const EDU = "0000:02:00.0";
const shell = (script: string) => uvfio("run", "-m", host, "--", "bash", "-c", script);
const has = (command: string) => spawnSync("which", [command]).status === 0;

describe.skipIf(!hasFuse)("a program's shell", () => {
  test("hears the errno of a write that is refused, and uvfio says why", () => {
    const limit = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";
    const { stdout, stderr } = shell(
      `P=${limit}; echo 123 > $P; printf 5 | dd of=$P conv=notrunc status=none; cat $P; echo abc > $P; echo $?; cat $P`,
    );
    expect(stdout).toBe("5\n1\n5\n");
    expect(stderr).toContain("write error: Invalid argument");
    expect(stderr).toContain(`write ${limit} = EINVAL: "abc" is not a number`);
  });

  test("moves a device from driver to driver, with the node of its group", () => {
    const { stdout, stderr } = shell(`
      cd /sys/bus/pci/devices/${EDU}; ls /dev/vfio
      echo ${EDU} > driver/unbind; ls -d driver; ls /dev/vfio
      echo pci-stub > driver_override; echo ${EDU} > /sys/bus/pci/drivers_probe; basename $(readlink driver)
      echo ${EDU} > driver/unbind; echo > driver_override; cat driver_override
      echo 1234 11e8 > /sys/bus/pci/drivers/vfio-pci/new_id; basename $(readlink driver); ls /dev/vfio; : 3<> /dev/vfio/7 && echo open`);
    expect(stdout).toBe("7\nvfio\nvfio\npci-stub\n(null)\nvfio-pci\n7\nvfio\nopen\n");
    expect(stderr).toBe("ls: cannot access 'driver': No such file or directory\n");
  });

  test("sees all of many root buses", () => {
    const many = join(scratch.path, "many.yaml");
    const buses = Array.from(
      { length: 200 },
      (_, n) => `${n > 99 ? "0001" : "0000"}:${(n % 100).toString(16).padStart(2, "0")}`,
    );
    const groups = buses.map((bus, n) => `  - { id: ${n}, devices: [ { bdf: "${bus}:00.0", id: "1234:11e8" } ] }`);
    writeFileSync(many, `name: many\niommu: { model: intel-vtd }\ngroups:\n${groups.join("\n")}\n`);
    const script = `cd /sys/devices; ls | grep ^pci; for bus in pci*; do echo $bus/*:00.0; cat $bus/*:00.0/vendor; done
      ls /sys/bus/pci/devices; ls /sys/kernel/iommu_groups | wc -l; cd /sys/bus/pci/devices; cat */device | uniq -c`;
    const { stdout } = uvfio("run", "-m", many, "--", "bash", "-c", script);
    const listed = [
      ...buses.map((bus) => `pci${bus}`),
      ...buses.flatMap((bus) => [`pci${bus}/${bus}:00.0`, "0x1234"]),
      ...buses.map((bus) => `${bus}:00.0`),
    ];
    expect(stdout).toBe(`${listed.join("\n")}\n200\n    200 0x11e8\n`);
  });

  test("makes virtual functions, which lspci and find see, and takes them back", () => {
    const { stdout } = shell(`
      P=/sys/bus/pci/devices/0000:01:00.0; echo 2 > $P/sriov_numvfs
      lspci -D 2> /dev/null | wc -l; find $P/ -name 'virtfn*' | sort | xargs readlink; ls /sys/kernel/iommu_groups | tr '\\n' ' '
      echo 0 > $P/sriov_numvfs; ls /sys/bus/pci/devices | wc -l`);
    expect(stdout).toBe("4\n../0000:01:00.1\n../0000:01:00.2\n6 7 8 9 2\n");
  });

  test("can make, remove and change nothing else", () => {
    const { stdout } = shell(`exec 2>&1; cd /sys/bus/pci
      mkdir a; rm drivers_probe; ln -s a b; mv drivers c; : > d; chmod 777 rescan; mkdir /sys/class/e; echo 1 > devices/${EDU}/vendor
      echo 1 > devices/${EDU}/numa_node; cat drivers_probe; stat -c %a devices/${EDU}/vendor; echo 5 > devices/${EDU}/remove; ls devices`);
    const lines = stdout.trimEnd().split("\n");
    const why = lines.filter((line) => !line.startsWith("uvfio:")).map((line) => line.replace(/^.*: /, ""));
    const [denied, refused] = ["Permission denied", "Operation not permitted"];
    expect(why).toEqual([
      ...[refused, refused, refused, refused, denied, refused, "Read-only file system", denied, denied, denied],
      ...["444", "0000:01:00.0"],
    ]);
  });

  test.skipIf(!has("dpdk-devbind.py"))("runs dpdk-devbind.py (needs dpdk)", () => {
    const { stdout } =
      shell(`exec 2> /dev/null; B=0000:01:00.0; link() { basename $(readlink /sys/bus/pci/devices/$B/driver); }
      dpdk-devbind.py -b vfio-pci $B && link; dpdk-devbind.py --status-dev net | grep -o 'drv=[a-z-]*'
      dpdk-devbind.py -u $B; link; dpdk-devbind.py -b igb $B && link; dpdk-devbind.py -b vfio-pci $B && link; ls /dev/vfio`);
    expect(stdout).toBe("vfio-pci\ndrv=vfio-pci\nigb\nvfio-pci\n6\n7\nvfio\n");
  });

  test("leaves no mount behind, also when uvfio is killed under it", async () => {
    const before = mountsOfRuns(scratch.path);
    const mark = join(scratch.path, "seen");
    const script = `echo $$ > ${mark}; trap '' TERM; while { : < /sys/bus/pci/drivers_autoprobe; } 2>> ${mark}; do sleep 0.1; done`;
    const child = spawn(process.execPath, [UVFIO, "run", "-m", host, "--", "bash", "-c", script], { stdio: "ignore" });
    const seen = () => (existsSync(mark) ? readFileSync(mark, "utf8") : "");
    await expect.poll(seen, { timeout: 30_000 }).not.toBe("");
    child.kill("SIGKILL");
    // the first when nobody was asking just then (fs/fuse/dev.c:fuse_abort_conn)
    const refused = /Transport endpoint is not connected|Software caused connection abort/;
    await expect.poll(seen, { timeout: 30_000 }).toMatch(refused);
    const pid = seen().split("\n", 1)[0]!;
    await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 30_000 }).toBe(false);
    expect(mountsOfRuns(scratch.path)).toEqual(before);
  });
});

describe.skipIf(!hasFuse || !hasCompiler)("a program with an open device (needs gcc)", () => {
  const program = hasCompiler ? compile("sysfs-files", scratch.path) : "";
  const run = (command: string) => uvfio("run", "-m", host, "--", program, command, EDU);

  test("is asked for it by who unbinds it, and the write ends when it lets go", () => {
    const { stdout, stderr } = run("unbind");
    expect(stdout).toBe("asked=1\nfinished=0\nwrite=0\ndriver=0\n");
    expect(stderr).toBe(`uvfio: ${EDU}: Relaying device request to user (REQ interrupt): it is to close the device\n`);
  });

  test("keeps it when the writer is interrupted", () => {
    expect(run("interrupt").stdout).toBe("asked=1\nfinished=0\nwrite=EINTR\ndriver=1\n");
  });

  test("may have files of /sys in its memory, and be in their directories: uvfio does not wait for itself", () => {
    expect(run("memory").stdout).toBe("shared=19\nstatus=0\nmap=0\ninfo=0\n");
    expect(run("inside").stdout).toBe("config=1\nvendor=13\nnode=1\nlink=1\n");
  });
});

test.skipIf(process.getuid?.() !== 0)(
  "where /dev/fuse cannot be had, the files are there and cannot be written",
  () => {
    const hide = `mount --bind /dev/null /dev/fuse; exec "$@"`;
    const script = `cat /sys/bus/pci/devices/${EDU}/vendor; echo 1 > /sys/bus/pci/rescan; echo $?; ls /dev/vfio`;
    const command = [process.execPath, UVFIO, "run", "-m", host, "--", "bash", "-c", script];
    const { stdout, stderr } = spawnSync("unshare", ["-m", "bash", "-c", hide, "bash", ...command], {
      encoding: "utf8",
    });
    expect(stdout).toBe("0x1234\n1\n7\nvfio\n");
    expect(stderr).toContain("Read-only file system");
    expect(stderr).toContain("/sys/bus/pci/rescan = EROFS: the host's /sys is not served here");
  },
);
