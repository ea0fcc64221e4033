import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT } from "./clean-copy.ts";
import { type ContainerOptions, Containers, canRunContainers } from "./container.ts";

const DOCKER = "docker run --cap-add SYS_ADMIN --cap-add SYS_PTRACE --security-opt apparmor=unconfined";
const BOTH = ["SYS_ADMIN", "SYS_PTRACE"];
const USER = 1000;

describe.skipIf(!canRunContainers || process.arch !== "x64")(
  "in a container (needs root, runc and podman's seccomp profile)",
  () => {
    let containers: Containers;
    beforeAll(() => {
      containers = new Containers();
    });
    afterAll(() => containers.remove());

    const run = (options: ContainerOptions, ...program: string[]) =>
      containers.run(options, process.execPath, join(ROOT, "dist/command/main.js"), "run", "--", ...program);
    const readsVendor = (options: ContainerOptions) => run(options, "cat", "/sys/bus/pci/devices/0000:00:1b.0/vendor");

    test.each<[string, ContainerOptions]>([
      ["of podman, with its defaults, as root", { filter: "podman" }],
      ["of podman, with its defaults, as an ordinary user", { filter: "podman", user: USER }],
      ["of docker, with the flags that uvfio names, as root", { filter: "docker", add: BOTH }],
      ["of docker, with the flags that uvfio names, as an ordinary user", { filter: "docker", add: BOTH, user: USER }],
      ["without filter, as root without CAP_SYS_ADMIN", {}],
      ["without filter, as an ordinary user", { user: USER }],
      ["as docs/ci/kubernetes.yml has it", { user: USER, dropAll: true, noNewPrivileges: true }],
      ["whose root cannot be written", { filter: "podman", user: USER, readOnly: true }],
    ])("%s: runs programs", (_, options) => {
      expect(readsVendor(options)).toEqual({ status: 0, stdout: "0x8086\n", stderr: "" });
    });

    test("the page of recipes names the same flags", () => {
      expect(readFileSync(join(ROOT, "docs/ci.md"), "utf8")).toContain(DOCKER);
    });
  },
);
