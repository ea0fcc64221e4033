import { IommufdNodes } from "../iommufd/nodes.ts";
import { ContainerNode } from "../vfio/container-node.ts";
import { GroupNodes } from "../vfio/group-nodes.ts";
import type { HostGround, HostPart } from "../vfio/host-part.ts";

/** What a host consists of, in the order in which it is asked for a node. A new part is a file and a line here. */
const PARTS: readonly (new (ground: HostGround) => HostPart)[] = [ContainerNode, GroupNodes, IommufdNodes];

export function hostParts(ground: HostGround): readonly HostPart[] {
  return PARTS.map((Part) => new Part(ground));
}
