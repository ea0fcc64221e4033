import type { FileDescription } from "../kernel/file-description.ts";
import type { LiveSpace, SpaceListener, SpaceMapping } from "../vfio/space-view.ts";
import { IommufdContext } from "./context.ts";
import { BoundDevice } from "./devices/bound-device.ts";
import { MediatedUser } from "./devices/mediated-user.ts";
import { Ioas } from "./ioas.ts";
import { IommufdFile } from "./iommufd-file.ts";
import { mappingOf } from "./memory/io-page-table.ts";
import type { OpenIommufd } from "./module.ts";

/** The address spaces of an iommufd, for who looks on. */
export function iommufdSpaces(context: OpenIommufd): LiveSpace[] {
  if (!(context instanceof IommufdContext)) return [];
  const objects = [...context.objects];
  const users = objects.filter((object) => object instanceof BoundDevice || object instanceof MediatedUser);
  return objects.flatMap((ioas) => {
    if (!(ioas instanceof Ioas)) return [];
    const { table } = ioas;
    const view = {
      kind: "ioas" as const,
      label: ioas.label,
      owner: context.label.replace(/^the iommufd of /, ""),
      valid: table.usableRanges(),
      taken: table.reserved.map(({ start, last, what, of }) => ({ start, last, what, of })),
      devices: users.filter(({ space }) => space === ioas).map(({ name }) => name),
      from: (address: bigint, most: number) => {
        const found: SpaceMapping[] = [];
        for (const area of table.areas.since(address)) {
          found.push(mappingOf(area));
          if (found.length === most) break;
        }
        return found;
      },
      watch: (listener: SpaceListener) => {
        table.lookers.add(listener);
        return () => table.lookers.delete(listener);
      },
      isMeant: (file: FileDescription, id: number | undefined) =>
        file instanceof IommufdFile &&
        file.context === context &&
        (id === undefined ? context.compatIoas === ioas : id === ioas.id),
    };
    return [{ of: ioas, view }];
  });
}
