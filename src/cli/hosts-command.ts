import { loadHost } from "../machine/load-host.ts";
import { readyMadeHosts } from "../machine/ready-made-hosts.ts";
import { toYaml } from "../machine/write-host.ts";
import { toJson } from "../machine/write-host-json.ts";
import { UsageError } from "./errors.ts";
import { hostTable } from "./host-table.ts";
import { print, printLine } from "./output.ts";

export interface HostsOptions {
  readonly json?: boolean;
  readonly yaml?: boolean;
}

/**
 * `uvfio hosts`: the ready-made hosts, a line each; with a name, that host's devices at a glance, or the host as a file
 * that -m takes.
 */
export async function hostsCommand(
  name: string | undefined,
  { json = false, yaml = false }: HostsOptions,
): Promise<number> {
  if (json && yaml) throw new UsageError("--json and --yaml: give one of them");
  if (yaml && name === undefined) throw new UsageError("--yaml prints one host: name it (uvfio hosts lists them)");
  if (name !== undefined) {
    const host = await loadHost(name);
    print(json ? `${toJson(host)}\n` : yaml ? toYaml(host) : hostTable(host));
    return 0;
  }
  const list = readyMadeHosts().map(({ name, description }) => ({ name, description }));
  if (json) {
    printLine(JSON.stringify(list, null, 2));
    return 0;
  }
  const width = Math.max(...list.map((host) => host.name.length));
  for (const host of list) printLine(`${host.name.padEnd(width)}  ${host.description}`);
  return 0;
}
