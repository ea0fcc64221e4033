import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import type { MediatedKind, PciDeviceKind } from "../../src/devices/kind.ts";
import { GenericDevice } from "../../src/devices/kinds/generic.ts";
import { DEVICE_KINDS, DeviceKinds } from "../../src/devices/kinds.ts";
import { MEDIATED_CONFIG } from "../../src/devices/mediated/mediated-config.ts";
import {
  bits64,
  byteCount,
  flag,
  lineOfText,
  oneOfWords,
  readOptions,
  wholeNumber,
} from "../../src/devices/options.ts";
import { PLAIN_CONFIG } from "../../src/devices/pci/compose-config.ts";
import { Host } from "../../src/host/host.ts";
import type { DeviceDescription, HostDescription } from "../../src/machine/host-description.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { toYaml } from "../../src/machine/write-host.ts";
import { toJson } from "../../src/machine/write-host-json.ts";

/** What the last device of the kind below was made with. */
let made: { readonly name: string; readonly options: object } | undefined;

interface DiskOptions extends Record<string, boolean | number | bigint | string | undefined> {
  readonly size: number | undefined;
  readonly image: string | undefined;
  readonly lba: "512" | "4096";
  readonly read_only: boolean;
  readonly queues: number;
  readonly serial: bigint;
}

const disk: PciDeviceKind<DiskOptions> = {
  bus: "pci",
  model: "disk",
  title: "a disk",
  devices: [
    {
      vendor: 0x1234,
      device: 0x00d1,
      class: 0x010802,
      subsystemVendor: 7,
      subsystemDevice: 8,
      bars: [{ index: 0, size: 0x1000, type: "memory" }],
    },
  ],
  mmap: false,
  translates: false,
  options: {
    size: byteCount({ meaning: "Bytes of memory.", default: undefined }),
    image: lineOfText({ meaning: "A file.", default: undefined }),
    lba: oneOfWords({ meaning: "Bytes of a block.", default: "512", words: ["512", "4096"] }),
    read_only: flag({ meaning: "Whether it refuses writes.", default: false }),
    queues: wholeNumber({ meaning: "Pairs of queues.", default: 4, least: 1, most: 64 }),
    serial: bits64({ meaning: "Its number.", default: 1n }),
  },
  checkOptions: ({ size, image }) =>
    (size === undefined) === (image === undefined) ? [{ message: "it needs one of image and size" }] : [],
  config: () => PLAIN_CONFIG,
  create: (_bus, device) => {
    made = device;
    return new GenericDevice();
  },
};

const models = { disk };

function file(device: string): string {
  return `name: h\niommu: { model: intel-vtd }\ngroups:\n- id: 1\n  devices:\n  - { bdf: 0000:01:00.0, ${device} }\n`;
}

function parse(device: string): HostDescription {
  return parseHost(file(device), "h.yaml", new DeviceKinds(models));
}

/** A ready-made host with its first device of some bus changed, as a program makes a description. */
function changed(bus: DeviceDescription["bus"], change: object): HostDescription {
  const lab = readyMadeHost("lab")!;
  const group = lab.groups.findIndex(({ devices }) => devices[0]!.bus === bus);
  const groups = lab.groups.map((each, index) =>
    index === group ? { ...each, devices: [{ ...each.devices[0]!, ...change } as DeviceDescription] } : each,
  );
  return { ...lab, groups };
}

test("every file and folder of kinds is listed", () => {
  const names = (folder: string) =>
    readdirSync(fileURLToPath(new URL(`../../src/devices/${folder}`, import.meta.url))).map((name) =>
      name.replace(/\.ts$/, ""),
    );
  const helpers = ["undriven", "mediated-config", "mediated-model"];
  const found = (folder: string) => names(folder).filter((name) => !helpers.includes(name));
  expect(found("kinds").sort()).toEqual([...DEVICE_KINDS.pciModels].sort());
  expect(found("mediated").sort()).toEqual([...DEVICE_KINDS.mediatedModels].sort());
});

describe("`model: generic` is generic", () => {
  const model = (device: string) => parse(device).groups[0]!.devices[0]!;

  test("whatever the ids, which still tell how it shows itself", () => {
    expect(model('id: "8086:10d3"')).toMatchObject({ model: "e1000e", class: 0x020000 });
    expect(model('id: "8086:10d3", model: generic')).toMatchObject({ model: "generic", class: 0x020000 });
    expect(model('id: "8086:10d3", model: generic').bus).toBe("pci");
  });

  test("and a model that is named has its own BARs under any ids", () => {
    expect(model('id: "dead:beef", model: edu')).toMatchObject({
      bars: [{ index: 0, size: 0x10_0000 }],
      class: 0xff00,
    });
    expect(model('id: "dead:beef"')).toMatchObject({ model: "generic", bars: [], class: 0xff0000 });
  });
});

describe("options", () => {
  test("are read, completed and written back", () => {
    const host = parse('id: "1234:d1", options: { size: 64M, lba: "4096", queues: 0x10 }');
    const options = { size: 64 * 2 ** 20, lba: "4096", read_only: false, queues: 16, serial: 1n };
    expect(host.groups[0]!.devices[0]).toMatchObject({ model: "disk", mmap: false, options });
    const kinds = new DeviceKinds(models);
    expect(parseHost(toYaml(host, kinds), "again.yaml", kinds)).toEqual(host);
    new Host(host, { models });
    expect(made).toMatchObject({ name: "0000:01:00.0", options });
  });

  test("of a kind that is ready are in `uvfio hosts NAME`, also as JSON", () => {
    const host = parseHost(file('id: "1234:11e8", options: { dma_mask: 0xfffffff }'), "h");
    expect(host.groups[0]!.devices[0]).toMatchObject({ options: { dma_mask: 0xfff_ffffn } });
    expect(toYaml(host)).toContain("# Address bits that its DMA engine drives.\n          dma_mask: 0xfffffff\n");
    expect(parseHost(toYaml(host), "again")).toEqual(host);
    expect(JSON.parse(toJson(host)).groups[0].devices[0].options).toEqual({ dma_mask: 0xfff_ffff });
    expect(parseHost(toJson(readyMadeHost("lab")!), "again")).toEqual(readyMadeHost("lab"));
  });

  test.each([
    ["{ size: 1, image: a }", "options: it needs one of image and size"],
    ["{}", "options: it needs one of image and size"],
    ["{ size: 1.5M }", 'options.size: not a size in bytes: "1.5M" (write it like 0x100000 or 64M)'],
    ["{ size: -1 }", "options.size: not a size in bytes: -1 (write it like 0x100000 or 64M)"],
    ["{ size: 1, queues: 65 }", "options.queues: 65 is not from 1 to 64"],
    ["{ size: 1, lba: '1024' }", 'options.lba: "1024" is not one of 512, 4096'],
    ["{ size: 1, read_only: 1 }", "options.read_only: not true or false: 1"],
    ["{ size: 1, image: [a] }", "options.image: not text: a list"],
    ["{ size: 1, imag: a }", "options.imag: no option of the model disk (did you mean image?)"],
    [
      "{ size: 1, x: 1 }",
      "options.x: no option of the model disk (there are: size, image, lba, read_only, queues, serial)",
    ],
  ])("%s: %s", (options, message) => {
    expect(() => parse(`id: "1234:d1", options: ${options}`)).toThrow(`h.yaml:6: groups[0].devices[0].${message}`);
  });

  test("that are left out have to be enough too", () => {
    expect(() => parse('id: "1234:d1"')).toThrow(
      "h.yaml:6: groups[0].devices[0].options: it needs one of image and size",
    );
  });

  test("that are read again are the same", () => {
    const { values } = readOptions(disk, { size: "2G", serial: "0x10" });
    expect(values).toEqual({ size: 2 ** 31, lba: "512", read_only: false, queues: 4, serial: 16n });
    expect(readOptions(disk, values)).toEqual({ values, problems: [] });
  });
});

describe("a description that a program makes", () => {
  test.each([
    [
      "pci",
      { model: "edo" },
      'groups[0].devices[0].model: "edo" is not one of generic, edu, ioat, pci-testdev, e1000e, igb, igbvf, nvme, vfio-user, zpci',
    ],
    ["mdev", { model: "edu" }, 'groups[4].devices[0].model: "edu" is not one of sample, generic'],
    ["pci", { options: { size: 1 } }, "groups[0].devices[0].options.size: the model generic has no options"],
    ["pci", { model: "edu", options: { dma_mask: "all" } }, "groups[0].devices[0].options.dma_mask: not a number"],
  ] as const)("names kinds and options that there are: %s %j", (bus, change, message) => {
    expect(() => new Host(changed(bus, change))).toThrow(message);
  });

  test("is told of all that is wrong", () => {
    const host = changed("pci", { options: { a: 1, b: 2 } });
    expect(() => new Host(host)).toThrow(
      /\.a: the model generic has no options\n.*\.b: the model generic has no options$/,
    );
  });

  test("may name kinds that it gives", () => {
    expect(() => new Host(changed("pci", { model: "disk" }))).toThrow('"disk" is not one of');
    new Host(changed("pci", { model: "disk", options: { image: "a.raw" } }), { models });
    expect(made).toMatchObject({ name: "0000:00:02.0", options: { image: "a.raw", queues: 4 } });
  });

  test("and mediated ones", () => {
    const seen: string[] = [];
    const share: MediatedKind = {
      bus: "mdev",
      model: "share",
      title: "a share",
      identity: (parent) => ({ ...parent, bars: [] }),
      config: MEDIATED_CONFIG,
      create: (_around, { name }) => {
        seen.push(name);
        return new GenericDevice();
      },
    };
    new Host(changed("mdev", { model: "mine" }), { models: { mine: share } });
    expect(seen).toEqual(["83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"]);
  });

  test("a name can be taken only once", () => {
    expect(() => new DeviceKinds({ edu: disk })).toThrow("models.edu: there is a kind of device of that name already");
  });
});
