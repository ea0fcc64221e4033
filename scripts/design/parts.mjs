/**
 * The parts of src/, from the lowest to the highest: what lives there, and which others they import. test/architecture.test.ts holds the sources to
 * it, and docs/design.md shows it (npm run docs:design).
 */
export const PARTS = [
  {
    name: "uapi",
    holds:
      "what crosses the system-call boundary: request numbers, layouts (one small layout language), capability chains, errno; `requests/`: the rows of all requests",
    imports: [],
  },
  {
    name: "address",
    holds: "page numbers, the interval map, lists of IOVA ranges: the data structures on the hot path",
    imports: [],
  },
  {
    name: "kernel",
    holds:
      "the types of the outer seams (file description, task, address space), errors with reasons, the table of releases, module parameters; a process in the model: memory, files, rights",
    imports: ["uapi"],
  },
  {
    name: "iommu",
    holds:
      "kinds of IOMMU, a folder each, listed in `kinds.ts`; groups and who owns their DMA; requesters, domains, the PASIDs of a host",
    imports: ["uapi", "address", "kernel"],
  },
  {
    name: "native",
    holds: "the machine code that calls C functions (koffi), from its package or from the single executable",
    imports: [],
  },
  {
    name: "vfio-user",
    holds: "the protocol vfio-user, for both sides: messages, what is agreed on at the beginning, sockets",
    imports: ["uapi", "kernel", "native"],
  },
  {
    name: "devices",
    holds:
      "kinds of devices under `kinds/` and `mediated/`, listed in `kinds.ts`; PCI functions (`pci/`); what a kind is made of (`kit.ts`, public as `uvfio/device`); disks of devices (`disk/`), what network devices are wired to (`wire/`), what Intel's gigabit network cards have in common (`gigabit/`)",
    imports: ["uapi", "kernel", "iommu", "native", "vfio-user"],
  },
  {
    name: "machine",
    holds:
      "the description of a host: its types, host files, ready-made hosts (`hosts/`), capture of a real host, /sys and /dev as they follow from it",
    imports: ["uapi", "kernel", "iommu", "devices"],
    packages: ["yaml"],
  },
  {
    name: "vfio",
    holds:
      "VFIO: container, group, device files; `type1/`, `spapr/` and no-IOMMU mode behind one interface; `nesting/`, the vSVA proposals; `migration/`, states and data files of devices that are migrated",
    imports: ["uapi", "address", "kernel", "iommu", "devices", "machine"],
  },
  {
    name: "iommufd",
    holds: "/dev/iommu, the devices' own nodes, and iommufd in the place of VFIO's container",
    imports: ["uapi", "address", "kernel", "iommu", "devices", "vfio"],
  },
  {
    name: "host",
    holds: "`Host`, the booted whole: devices and drivers, the parts that serve nodes (`parts.ts`), files that change",
    imports: ["uapi", "kernel", "iommu", "devices", "machine", "vfio", "iommufd"],
  },
  {
    name: "device-server",
    holds: "serves a device of a `Host` to vfio-user clients: the client's memory in the place of an IOMMU's mappings",
    imports: ["uapi", "kernel", "iommu", "vfio-user", "devices", "host"],
  },
  {
    name: "interpose",
    holds: "serves a `HostKernel` to unmodified programs (seccomp user notification)",
    imports: ["uapi", "kernel", "native"],
  },
  {
    name: "client",
    holds: "the typed client over two transports: the model in this process, and real system calls",
    imports: ["uapi", "kernel", "native"],
  },
  {
    name: "inspect",
    holds:
      "replay of recorded calls, traces, fault injection, the sanitizer, whether a guest fits; what failures and logs mean (`explain/`); what happens on a host as events, and address spaces as text and SVG (`picture/`)",
    imports: ["uapi", "address", "kernel", "iommu", "devices", "machine", "vfio", "iommufd", "host"],
  },
  {
    name: "library",
    holds: "what the command does, as functions: run, fit, capture, trace, explain; what pages are told (`view/`)",
    imports: [
      ...["uapi", "address", "kernel", "iommu", "native", "devices", "machine", "host", "device-server"],
      ...["interpose", "client", "inspect"],
    ],
  },
  {
    name: "cli",
    holds: "the command",
    imports: ["uapi", "kernel", "devices", "machine", "host", "native", "interpose", "client", "inspect", "library"],
    packages: ["commander"],
  },
];

const BEGIN = "<!-- parts: npm run docs:design writes this table from scripts/design/parts.mjs -->";
const END = "<!-- end of parts -->";

/** The page with its table as it should be. Throws when the page has no place for it. */
export function withTable(page) {
  const [start, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`docs/design.md has no place for the table: ${BEGIN} ... ${END}`);
  return `${page.slice(0, start)}${BEGIN}\n\n${table()}\n\n${page.slice(end)}`;
}

function table() {
  const rows = PARTS.map(({ name, holds, imports }) => [`\`${name}/\``, holds, imports.join(", ") || "nothing"]);
  const lines = [["folder under src/", "what lives there", "imports"], ["---", "---", "---"], ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
