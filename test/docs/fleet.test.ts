import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadHost } from "../../src/machine/load-host.ts";
import { toYaml } from "../../src/machine/write-host.ts";
import { ROOT, scratchFolder, uvfio } from "../cli/uvfio.ts";

/** The queries of the page, in its order. */
const QUERIES = [...readFileSync(join(ROOT, "docs/fleet.md"), "utf8").matchAll(/```sql\n([\s\S]*?)```/g)].map(
  ([, sql]) => sql!,
);

/** Its binary is a package of its own, which not every machine has. */
const duckdb = await import("@duckdb/node-api").catch(() => undefined);
if (!duckdb) console.error("@duckdb/node-api cannot be loaded: the queries of docs/fleet.md are not run");

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const GPU = "10de:2331";

describe.skipIf(!duckdb)("the queries of docs/fleet.md", () => {
  beforeAll(async () => {
    const amd = toYaml(await loadHost("amd")).replace('id: "8086:10d3"', `id: "${GPU}"`);
    const hosts: Record<string, string> = {
      rack01: amd,
      rack02: amd.replace(/interrupt_remapping: true/, "interrupt_remapping: false"),
      rack03: toYaml(await loadHost("intel")),
      rack04: amd.replace(/aperture_end: \S+/, "aperture_end: 0x7fffffffff").replace(/ +- \{ start: 0xfd.*\n/, ""),
      rack05: amd.replace(/interrupt_remapping: true/, "interrupt_remapping: false"),
    };
    expect(hosts.rack02).not.toBe(amd);
    for (const [name, text] of Object.entries(hosts))
      writeFileSync(join(scratch.path, `${name}.yaml`), text.replace(/^name: .*$/m, `name: ${name}`));
    const judged = uvfio("fit", "-m", scratch.path, "--memory", "1.5T", "--device", GPU, "--json");
    expect([judged.status, judged.stderr]).toEqual([1, ""]);
    writeFileSync(join(scratch.path, "fleet.ndjson"), judged.stdout);
    const most = uvfio("fit", "-m", join(scratch.path, "*.yaml"), "--max", "--device", GPU, "--json");
    expect(most.stderr).toBe("");
    writeFileSync(join(scratch.path, "most.ndjson"), most.stdout);
  });

  async function ask(sql: string): Promise<readonly unknown[]> {
    const instance = await duckdb!.DuckDBInstance.create(":memory:");
    const connection = await instance.connect();
    try {
      const inFolder = sql.replace(/read_json\('/g, `read_json('${scratch.path}/`);
      return (await connection.runAndReadAll(inFolder)).getRowsJson();
    } finally {
      connection.closeSync();
      instance.closeSync();
    }
  }

  test("are five", () => expect(QUERIES).toHaveLength(5));

  test("which hosts take the guest", async () => {
    expect(await ask(QUERIES[0]!)).toEqual([
      ["rack01", "fits"],
      ["rack02", "fits-if"],
      ["rack05", "fits-if"],
    ]);
  });

  test("what one setting would gain", async () => {
    const found = await ask(QUERIES[1]!);
    expect(found).toEqual([[expect.stringContaining("allow_unsafe_interrupts"), "2"]]);
  });

  test("why the others do not fit", async () => {
    const found = (await ask(QUERIES[2]!)) as [string, string][];
    expect(found.map(([, count]) => count)).toEqual(["1", "1"]);
    expect(found.map(([why]) => why).join("\n")).toMatch(/it has no device/);
  });

  test("where the largest guest has room", async () => {
    const found = (await ask(QUERIES[3]!)) as [string, number][];
    expect(found.map(([host]) => host)).toEqual(expect.arrayContaining(["rack01", "rack04"]));
    expect(found.at(-1)![0]).toBe("rack04");
    expect(Number(found.at(-1)![1])).toBeLessThan(512);
  });

  test("how many of a device there are", async () => {
    const found = (await ask(QUERIES[4]!)) as unknown[][];
    expect(found.map((row) => row.map(String))).toEqual(
      expect.arrayContaining([
        ["amd-vi", "64", "3", "3"],
        ["amd-vi", "39", "1", "1"],
      ]),
    );
  });
});
