import { loadHost } from "../machine/load-host.ts";
import { READY_MADE_HOSTS } from "../machine/ready-made-hosts.ts";
import { toYaml } from "../machine/write-host.ts";
import { toJson } from "../machine/write-host-json.ts";
import { print, printLine } from "./output.ts";

/** `uvfio hosts`: the ready-made hosts, a line each; with a name, that host as a file that -m takes. */
export async function hostsCommand(name: string | undefined, { json = false }: { json?: boolean }): Promise<number> {
  if (name !== undefined) {
    const host = await loadHost(name);
    print(json ? `${toJson(host)}\n` : toYaml(host));
    return 0;
  }
  const list = READY_MADE_HOSTS.map(({ name, description }) => ({ name, description }));
  if (json) {
    printLine(JSON.stringify(list, null, 2));
    return 0;
  }
  const width = Math.max(...list.map((host) => host.name.length));
  for (const host of list) printLine(`${host.name.padEnd(width)}  ${host.description}`);
  return 0;
}
