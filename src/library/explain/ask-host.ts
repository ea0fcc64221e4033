import { Container } from "../../client/container.ts";
import { Group } from "../../client/group.ts";
import { ModelTransport } from "../../client/model-transport.ts";
import { SystemCallError } from "../../client/transport.ts";
import { Host } from "../../host/host.ts";
import type { NamedRange } from "../../inspect/explain/findings.ts";
import type { HostAnswer, HostOracle } from "../../inspect/explain/host-view.ts";
import type { CallName } from "../../inspect/explain/rule.ts";
import { deviceName, type FoundDevice } from "../../machine/find-device.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { VFIO_TYPE1v2_IOMMU } from "../../uapi/vfio.ts";
import { givenAway } from "../fit/fit-host.ts";

/** Calls on the way to a device and its mappings, in the order in which programs make them. */
const STEPS = ["open-group", "set-container", "set-iommu", "device-fd", "map"] as const;
type Step = (typeof STEPS)[number];

/** What a call of iommufd comes to when it is made through a container: the same rules of the same IOMMU. */
const SAME_STEP: Readonly<Partial<Record<CallName, Step>>> = {
  "ioas-map": "map",
  "attach-pt": "set-iommu",
  "bind-iommufd": "set-container",
};

/** Nothing is mapped there in the model: a mapping that nothing else is against fails for that. */
const NO_MEMORY = 0x10000n;

/** Asks the model of a captured host, booted anew for each question. */
export function hostOracle(description: HostDescription): HostOracle {
  return {
    description,
    ask(call, devices, range) {
      const last = STEPS.find((step) => step === (SAME_STEP[call] ?? call));
      if (last === undefined || description.vfioContainer === "spapr") return undefined;
      return take(description, devices, last, range);
    },
  };
}

function take(
  description: HostDescription,
  devices: readonly FoundDevice[],
  last: Step,
  range: NamedRange | undefined,
): HostAnswer | undefined {
  // who has its mappings refused has the device: whatever the capture found it bound to
  const transport = new ModelTransport(new Host(last === "map" ? givenAway(description, devices) : description));
  let at: Step = "open-group";
  const isBefore = (step: Step) => STEPS.indexOf(step) <= STEPS.indexOf(last);
  try {
    const container = Container.open(transport);
    for (const [index, id] of [...new Set(devices.map(({ group }) => group.id))].entries()) {
      at = "open-group";
      const group = Group.open(transport, id);
      if (isBefore("set-container")) {
        at = "set-container";
        group.setContainer(container);
      }
      if (index === 0 && isBefore("set-iommu")) {
        at = "set-iommu";
        container.setIommu(VFIO_TYPE1v2_IOMMU);
      }
      if (last !== "device-fd") continue;
      at = "device-fd";
      for (const { device } of devices.filter((found) => found.group.id === id)) group.getDevice(deviceName(device));
    }
    if (last !== "map") return { kind: "succeeds" };
    at = "map";
    const page = 1n << 12n;
    container.map({ iova: range!.iova, size: range!.size ?? page, vaddr: NO_MEMORY });
    return { kind: "succeeds" };
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    if (at === "map" && error.code === "EFAULT") return { kind: "succeeds" };
    return { kind: "fails", errno: error.code, reason: error.reason ?? error.message, at: error.call };
  } finally {
    transport.exit();
  }
}
