import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { finished, ROOT, scratchFolder } from "../cli/uvfio.ts";
import { serverCommand } from "./device-servers.ts";
import { buildLibvfioUser, canBuildLibvfioUser } from "./libvfio-user.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const hasPytest = spawnSync("python3", ["-m", "pytest", "--version"]).status === 0;
if (!hasPytest) console.log("libvfio-user's own tests: skipped, python3 has no pytest");
const canRun = hasPytest && canBuildLibvfioUser("libvfio-user's own tests");

describe.skipIf(!canRun)("libvfio-user's own tests of the protocol against uvfio device-server", () => {
  const folder = join(scratch.path, "libvfio-user");
  beforeAll(() => buildLibvfioUser(folder), 200_000);

  const runTests = (device: object, differs: Readonly<Record<string, string>>, names: readonly string[]) => {
    const host = join(scratch.path, "protocol.yaml");
    const description = {
      name: "protocol",
      iommu: { model: "intel-vtd", address_bits: 39 },
      groups: [{ id: 1, devices: [{ bdf: "0000:01:00.0", ...device }] }],
    };
    writeFileSync(host, JSON.stringify(description));
    const command = serverCommand(host, "0000:01:00.0", "").slice(0, -2);
    const { stdout, stderr } = finished(
      "python3",
      [
        ...["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "libvfio_user_tests"],
        ...names.map((name) => `test_${name}.py`),
      ],
      {
        cwd: join(folder, "test/py"),
        timeout: 150_000,
        env: {
          ...process.env,
          PYTHONPATH: join(ROOT, "test/programs"),
          LIBVFIO_SO_DIR: join(folder, "build/lib"),
          UVFIO_SERVER_COMMAND: JSON.stringify(command),
          UVFIO_LEFT_OUT: JSON.stringify(Object.keys(differs)),
        },
      },
    );
    return stdout + stderr;
  };

  test("what a device has, its interrupts, DMA regions, VERSION and errors", { timeout: 200_000 }, () => {
    const device = { id: "4e58:0001", model: "generic", config: testedConfig(), bars: TESTED_BARS };
    expect(runTests(device, DIFFERS, OWN_TESTS)).toMatch(/^58 passed, 21 deselected/m);
  });

  test("migration, DMA logging and regions", { timeout: 200_000 }, () => {
    const edu = { id: "1234:11e8" };
    expect(runTests(edu, FEATURES_DIFFER, FEATURE_TESTS)).toMatch(/^38 passed, 26 deselected/m);
  });
});

/** Files of libvfio-user's test/py that are about messages, and not about its library. */
const OWN_TESTS = [
  "device_get_info",
  "device_get_irq_info",
  "device_set_irqs",
  "dma_map",
  "dma_unmap",
  "negotiate",
  "request_errors",
];

/** Those of them that want what only libvfio-user has, and why. */
const DIFFERS: Readonly<Record<string, string>> = {
  "test_device_get_irq_info.py::test_device_get_irq_info": "VFIO's own flags: NORESIZE for ERR and REQ",
  "test_device_set_irqs.py::test_device_set_irqs_bad_action_for_err_irq": "VFIO's own errno: ENOTTY",
  "test_device_set_irqs.py::test_device_set_irqs_bad_action_for_req_irq": "VFIO's own errno: ENOTTY",
  "test_device_set_irqs.py::test_device_set_irqs_bad_start_for_count_0": "VFIO's own errno: ENOTTY",
  "test_device_set_irqs.py::test_device_set_irqs_bad_action_for_count_0": "VFIO's own errno: ENOTTY",
  "test_device_set_irqs.py::test_irq_state": "callbacks of the library",
  "test_dma_map.py::test_dma_region_too_big": "a limit of the library",
  "test_dma_map.py::test_dma_region_too_many": "a limit of the library",
  "test_dma_map.py::test_dma_map_busy": "callbacks of the library",
  "test_dma_map.py::test_dma_map_reply_fail": "callbacks of the library",
  "test_dma_map.py::test_dma_map_busy_reply_fail": "callbacks of the library",
  "test_negotiate.py::test_long_write": "what a function of the library returns",
  "test_negotiate.py::test_invalid_json_bad_max_fds3": "a limit of the library",
  "test_negotiate.py::test_invalid_json_bad_migration_object": "a capability that the specification has not got",
  "test_negotiate.py::test_invalid_json_bad_pgsize": "a capability that the specification has not got",
  "test_negotiate.py::test_invalid_json_bad_pgsize2": "a capability that the specification has not got",
  "test_negotiate.py::test_valid_negotiate_no_json": "its own capabilities",
  "test_request_errors.py::test_unsolicited_reply": "an answer to an answer",
  "test_request_errors.py::test_disconnected_socket": "callbacks of the library",
  "test_request_errors.py::test_disconnected_socket_quiesce_busy": "callbacks of the library",
  "test_request_errors.py::test_reply_fail_quiesce_busy": "callbacks of the library",
};

/** The same that need a device with a state; what is set up in the library is edu here. */
const FEATURE_TESTS = ["migration", "dirty_pages", "device_get_region_info", "device_get_region_io_fds"];

const FEATURES_DIFFER: Readonly<Record<string, string>> = {
  "test_migration.py::test_migration_shortest_state_transition_paths": "callbacks of the library",
  "test_migration.py::test_migration_failed_callback": "callbacks of the library",
  "test_migration.py::test_handle_mig_data_read": "callbacks of the library: the data are the test's own",
  "test_migration.py::test_handle_mig_data_read_failed_callback": "callbacks of the library",
  "test_migration.py::test_handle_mig_data_write": "callbacks of the library: data that no device of uvfio gave",
  "test_migration.py::test_handle_mig_data_write_invalid_state": "its device took such data",
  "test_migration.py::test_handle_mig_data_write_too_long": "its device took such data",
  "test_migration.py::test_handle_mig_data_write_failed_callback": "callbacks of the library",
  "test_migration.py::test_device_feature_migration_get": "edu has P2P too",
  "test_dirty_pages.py::test_dirty_pages_get_modified": "functions of the library",
  "test_dirty_pages.py::test_dirty_pages_invalid_arguments": "a range that is no DMA region is none that was written",
  "test_dirty_pages.py::test_dirty_pages_uninitialised_dma": "a library without DMA",
  "test_dirty_pages.py::test_dirty_pages_ctx_no_stop": "functions of the library",
  "test_device_get_region_info.py::test_device_get_region_info_larger_argsz": "regions of the library",
  "test_device_get_region_info.py::test_device_get_region_info_small_argsz_caps": "regions of the library",
  "test_device_get_region_info.py::test_device_get_region_info_caps": "regions of the library",
  "test_device_get_region_info.py::test_device_get_pci_config_space_info_implicit_pci_init": "regions of the library",
  "test_device_get_region_info.py::test_device_get_pci_config_space_info_implicit_no_pci_init":
    "regions of the library",
  "test_device_get_region_info.py::test_device_get_region_info_32bit_bar_size_detection": "regions of the library",
  "test_device_get_region_info.py::test_64bit_bar_size_detection_protocol": "regions of the library",
  "test_device_get_region_io_fds.py::test_device_get_region_io_fds_no_regions_setup": "functions of the library",
  "test_device_get_region_io_fds.py::test_device_get_region_io_fds_fds_read_write": "ioeventfds",
  "test_device_get_region_io_fds.py::test_device_get_region_io_fds_fds_read_write_nothing": "ioeventfds",
  "test_device_get_region_io_fds.py::test_device_get_region_io_fds_fds_read_write_dupe_fd": "ioeventfds",
  "test_device_get_region_io_fds.py::test_device_get_region_io_fds_ioeventfd_invalid_size": "functions of the library",
  "test_device_get_region_io_fds.py::test_device_get_region_io_fds_invalid_fd": "ioeventfds",
};

const TESTED_BARS = [{ index: 0, size: 65536, type: "memory" }];

/** PCI Express with a function-level reset, and 2048 vectors of MSI-X in BAR 0, in hex. */
function testedConfig(): string {
  const config = Buffer.alloc(4096);
  config.writeUInt16LE(0x4e58, 0);
  config.writeUInt16LE(1, 2);
  config.writeUInt16LE(0x10, 6);
  config.writeUInt32LE(0xff000000, 8);
  config[0x34] = 0x40;
  config.writeUInt16LE(0x6010, 0x40);
  config.writeUInt16LE(2, 0x42);
  config.writeUInt32LE(0x10008000, 0x44);
  config.writeUInt16LE(0x0011, 0x60);
  config.writeUInt16LE(2047, 0x62);
  config.writeUInt32LE(0, 0x64);
  config.writeUInt32LE(0x8000, 0x68);
  return config.toString("hex");
}
