import { FAULT_ATTRIBUTES, FAULT_FILES } from "../../kernel/fault-points.ts";
import type { HostDescription } from "../host-description.ts";
import { isForSelftests } from "../selftest-host.ts";
import type { SysfsState } from "./sysfs-state.ts";
import { OWNER_ONLY, type TreeBuilder } from "./tree-builder.ts";

/**
 * debugfs of a kernel that was built for its own tests: the faults that can be injected. Nothing else of debugfs is
 * there.
 */
export function addFaultInjection(tree: TreeBuilder, host: HostDescription, { actions }: SysfsState): void {
  if (!isForSelftests(host)) return;
  for (const attribute of FAULT_ATTRIBUTES) {
    for (const [file, value] of Object.entries(FAULT_FILES[attribute])) {
      const at = `/sys/kernel/debug/${attribute}/${file}`;
      const full = `${attribute}/${file}`;
      if (actions?.parameters.has(full)) {
        tree.live(
          at,
          OWNER_ONLY,
          () => actions.parameters.text(full),
          (text) => actions.parameters.write(full, text),
        );
      } else {
        tree.line(at, typeof value === "boolean" ? (value ? "Y" : "N") : `${value}`, OWNER_ONLY);
      }
    }
  }
}
