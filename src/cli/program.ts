import { readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { DEFAULT_HOST } from "../machine/ready-made-hosts.ts";
import { carried } from "../native/carried.ts";
import type { CaptureOptions } from "./capture-command.ts";
import type { CdiOptions } from "./cdi-command.ts";
import type { CtlOptions } from "./ctl-command.ts";
import type { DeviceServerCommandOptions } from "./device-server-command.ts";
import type { ExplainCommandOptions } from "./explain-command.ts";
import type { FitOptions } from "./fit-command.ts";
import type { HostsOptions } from "./hosts-command.ts";
import type { IovaListOptions } from "./iova-list-command.ts";
import type { OciProfileOptions } from "./oci-profile-command.ts";
import { complain, complainRaw, print } from "./output.ts";
import type { RunOptions } from "./run-command.ts";
import type { SelftestsOptions } from "./selftests-command.ts";
import type { ServeOptions } from "./serve-command.ts";
import type { StopOptions } from "./stop-command.ts";
import type { TraceOptions } from "./trace-command.ts";
import type { ViewOptions } from "./view-command.ts";

/** Options that choose the host; every command that has a host takes them. */
interface HostOptions {
  readonly machine?: string;
  readonly kernel?: string;
  readonly api?: string;
}

/**
 * Parses the command line and runs the command; returns the exit status. Each command's module is loaded when it is
 * used, so that `uvfio run` starts a program without waiting for the others.
 */
export async function buildProgram(args: readonly string[]): Promise<number> {
  let status = 0;
  const finish = async (result: Promise<number>) => {
    status = await result;
  };
  const program = new Command("uvfio")
    .description(
      "A VFIO host in user space: runs unmodified VFIO programs with no IOMMU, no device, no kernel module and no root.",
    )
    .version(version(), "-V, --version")
    .enablePositionalOptions()
    .exitOverride()
    .showSuggestionAfterError()
    .configureHelp({ sortSubcommands: false })
    .configureOutput({ writeOut: print, writeErr: complainRaw, outputError: (text) => complain(oneLine(text)) })
    .addHelpText("after", PROGRAM_HELP);

  withHost(program.command("run"))
    .description("run a program against a VFIO host; its exit status is the program's")
    .argument("<program>", "the program, as a path or found along PATH")
    .argument("[args...]", "its arguments")
    .passThroughOptions()
    .option("--on <socket>", "on the host that uvfio serve keeps there, instead of one of its own")
    .option("-q, --quiet", "say nothing of failed calls")
    .option("--json", "failed calls and messages as lines of JSON on stderr; --json=FILE writes them there")
    .addOption(new Option("--json-file <file>").hideHelp())
    .option("--json-fd <n>", "the same to this open descriptor, which the program does not get")
    .option("--strace", "print each call as it is made, decoded, with the reason when it fails")
    .option("-t, --timestamps", "with --strace: when each was over")
    .option("-o, --output <file>", "with --strace: print there (default: stderr)")
    .option("--trace <file>", "record every call there, for uvfio trace and uvfio replay; - is stdout")
    .option("--fault <spec>", "have calls or DMA fail, e.g. VFIO_IOMMU_MAP_DMA#3=ENOMEM; may be repeated", collect)
    .option("--fault-each <request>", "run again and again, failing the 1st, 2nd, 3rd... such call, and report")
    .option("--fault-timeout <seconds>", "with --fault-each: end a run that takes longer; 0 for never (default: 60)")
    .option("--stat-nodes", "nodes in /dev show VFIO's numbers to stat too, for who copies them; each stat is slower")
    .option("--no-mounts", "lead the program's calls to the host's files, as where mounts are refused; see docs/ci.md")
    .option("--sanitize", "report misuse of DMA mappings; with --sanitize=error it makes the exit status 1")
    .addOption(new Option("--sanitize-error").hideHelp())
    .option("--view", "show the host as it lives on a page of this machine; --view=PORT says where")
    .addOption(new Option("--view-port <port>").hideHelp())
    .addHelpText("after", RUN_HELP)
    .action((name: string, rest: string[], options: RunOptions) =>
      finish(import("./run-command.ts").then((module) => module.runCommand([name, ...rest], options))),
    );

  withHost(program.command("serve"))
    .description("boot a host and keep it, for programs of uvfio run --on and for containers, until it is ended")
    .option("--socket <path>", "where they connect (default: /run/uvfio.sock, or in $XDG_RUNTIME_DIR)")
    .option("--socket-mode <mode>", "who may connect: permissions of the socket (default: 0600, its user alone)")
    .option("--sysfs <dir>", "mount the host's /sys on DIR/sys, for containers (root only)")
    .addHelpText("after", SERVE_HELP)
    .action((options: ServeOptions) =>
      finish(import("./serve-command.ts").then((module) => module.serveCommand(options))),
    );

  program
    .command("stop")
    .description("end a uvfio serve, and say who is on its host still")
    .option("--socket <path>", "its socket (default: /run/uvfio.sock, or in $XDG_RUNTIME_DIR)")
    .option("--on <path>", "the same")
    .action((options: StopOptions) =>
      finish(import("./stop-command.ts").then((module) => module.stopCommand(options))),
    );

  program
    .command("ctl")
    .description("have things happen to a served host while programs run: devices come and go, errors, faults")
    .argument("[command...]", "add, remove, pull, link, aer, fail or after, and what they take")
    .option("--on <socket>", "of uvfio serve (default: /run/uvfio.sock, or in $XDG_RUNTIME_DIR)")
    .option("--script <file>", "commands, one a line; - is stdin")
    .addHelpText("after", CTL_HELP)
    .action((words: string[], options: CtlOptions) =>
      finish(import("./ctl-command.ts").then((module) => module.ctlCommand(words, options))),
    );

  program
    .command("oci-profile")
    .description("print a seccomp profile by which a container runtime hands containers over to uvfio serve")
    .argument("[base]", "a profile that it is merged into, such as docker's or podman's (default: one that allows all)")
    .option("--socket <path>", "where uvfio serve listens (default: /run/uvfio.sock, or in $XDG_RUNTIME_DIR)")
    .option("--wait-killable", "keep signals out of calls that are handled: for crun, and runc from 1.2 on")
    .action((base: string | undefined, options: OciProfileOptions) =>
      finish(import("./oci-profile-command.ts").then((module) => module.ociProfileCommand(base, options))),
    );

  program
    .command("cdi")
    .description("print a CDI specification of a served host, for --device uvfio.local/vfio=GROUP of container engines")
    .option("--on <socket>", "of uvfio serve (default: /run/uvfio.sock, or in $XDG_RUNTIME_DIR)")
    .action((options: CdiOptions) => finish(import("./cdi-command.ts").then((module) => module.cdiCommand(options))));

  withHost(program.command("iova-list"))
    .description("add devices to one container one by one and print the valid IOVA ranges after each")
    .argument("<device...>", "PCI address, UUID of a mediated device, or its path in /sys")
    .option("--json", "page sizes, ranges and available mappings as JSON")
    .option("--map", "draw the address space after the last device, in 80 columns")
    .option("--svg <file>", "draw it there; - is stdout")
    .addHelpText(
      "after",
      "\nExample:\n  uvfio iova-list --kernel 5.4 c08db5ed-05d3-4b39-b150-438a18bc698f 0000:00:1b.0",
    )
    .action((devices: string[], options: HostOptions & IovaListOptions) =>
      finish(import("./iova-list-command.ts").then((module) => module.iovaListCommand(devices, options))),
    );

  withHosts(program.command("fit"))
    .description("say whether a guest's memory fits a host's valid IOVA ranges and limits; exit status 1 when not")
    .option("--max", "instead of --memory: look for the most that fits")
    .option("--memory <size>", "memory of the guest: 64G, 1010G, 1T, 0x..., or bytes")
    .option("--max-memory <size>", "memory up to which it can be plugged (QEMU's maxmem)")
    .option("--slots <n>", "memory slots (QEMU's slots; default: 1 with --max-memory)")
    .option(
      "--vmm <name>",
      "q35, i440fx, virt, pseries, cloud-hypervisor, crosvm, or pc-q35-7.0 (default: by the host)",
    )
    .option("--vmm-version <X.Y>", "version of QEMU's machine type (default: the newest rules)")
    .option("--ranges <file>", "the layout instead: a range a line, or what QEMU prints for info mtree -f; - is stdin")
    .option("--device <device...>", "devices that the guest gets, by address or ids (default: all bound to vfio-pci)")
    .option("--cpu-vendor <name>", "of the guest's CPU, amd or intel (default: as the host's IOMMU)")
    .option("--phys-bits <n>", "address bits of the guest's CPU (default: as many as it takes)")
    .option("--firmware <name>", "who places BARs: seabios, ovmf, or direct for none (default: each is looked at)")
    .option("--viommu", "devices are behind a vIOMMU: each group maps all of the memory in its own container")
    .option("--chunk <size>", "largest piece that one mapping covers (default: a whole range)")
    .option("--memlock <size>", "RLIMIT_MEMLOCK of the VMM (default: not checked)")
    .option("--explain", "also the sources of the layout's rules")
    .option("--map", "also draw the address space, in 80 columns")
    .option("--svg <file>", "draw it there; - is stdout")
    .option("--json", "the answer as JSON")
    .addHelpText("before", `${FIT_EXAMPLES}\n`)
    .action((options: FitOptions) => finish(import("./fit-command.ts").then((module) => module.fitCommand(options))));

  withRelease(program.command("explain"))
    .description("say why a request fails with an errno, or what a log (QEMU, libvirt, DPDK, dmesg, ...) says of VFIO")
    .argument("<what>", "a request (VFIO_IOMMU_MAP_DMA, MAP_DMA, 0x3b71) or a log; - is stdin")
    .argument("[errno]", "of a request: EINVAL, 22 or -22 (default: all that it can fail with)")
    .option("-m, --machine <host>", "in this host's terms: a ready-made host or a captured one (default: any host's)")
    .option("--json", "the explanation as JSON")
    .addHelpText("after", EXPLAIN_HELP)
    .action((what: string, errno: string | undefined, options: ExplainCommandOptions) =>
      finish(import("./explain-command.ts").then((module) => module.explainCommand(what, errno, options))),
    );

  withHost(program.command("replay"), "the host that the trace or recording was made on")
    .description("repeat recorded calls against the model and compare every answer")
    .argument("<recording...>", "recordings or traces (.jsonl), or folders of them; - is stdin")
    .option("--json", "the report as JSON")
    .addHelpText(
      "after",
      "\nWithout -m the host is the one that a trace names in its first line, or the host.json beside a recording. Exit status 1\nwhen answers differ.",
    )
    .action((paths: string[], options: HostOptions & { json?: boolean }) =>
      finish(import("./replay-command.ts").then((module) => module.replayCommand(paths, options))),
    );

  withHost(program.command("device-server"))
    .description("serve a device of a host to vfio-user clients, such as QEMU's vfio-user-pci, until a signal comes")
    .argument("<device>", "PCI address")
    .requiredOption("--socket <file>", "the Unix socket, which is made")
    .option("-q, --quiet", "say nothing of failed requests")
    .addHelpText("after", DEVICE_SERVER_HELP)
    .action((device: string, options: DeviceServerCommandOptions) =>
      finish(import("./device-server-command.ts").then((module) => module.deviceServerCommand(device, options))),
    );

  withHost(program.command("trace"), "the one that the trace was made on; with --perfetto", "the trace's")
    .description("print a trace that uvfio run --trace made, or a recording, the way strace does")
    .argument("<file>", "the trace (JSON lines); - is stdin")
    .option("--fd <fd>", "only calls on this descriptor, by number or name (container1); may be repeated", collect)
    .option(
      "--request <name>",
      "only these requests or calls, by name or a part of it (MAP_DMA, pread); may be repeated",
      collect,
    )
    .option("--failed", "only calls that failed")
    .option("--memory", "also what the trace says of memory, for the sake of a replay")
    .option("--summary", "a table instead: calls, errors and time by request")
    .option("--json", "lines of JSON, or the table as JSON")
    .option("--perfetto <file>", "write all of it for ui.perfetto.dev and chrome://tracing, with DMA and interrupts")
    .addHelpText("after", TRACE_HELP)
    .action((file: string, options: TraceOptions) =>
      finish(import("./trace-command.ts").then((module) => module.traceCommand(file, options))),
    );

  withHost(program.command("view"), "the host that the trace was made on", "the trace's")
    .description("show a trace, or a host that uvfio serve keeps, as a page on this machine, until Ctrl-C")
    .argument("[trace]", "a trace that uvfio run --trace made, or a recording; - is stdin")
    .option("--on <socket>", "the host that uvfio serve keeps there, as it lives")
    .option("--port <port>", "of 127.0.0.1 (default: any that is free)")
    .addHelpText("after", VIEW_HELP)
    .action((file: string | undefined, options: ViewOptions) =>
      finish(import("./view-command.ts").then((module) => module.viewCommand(file, options))),
    );

  program
    .command("hosts")
    .description("list the ready-made hosts, or the devices of one; with --yaml print it as a host file")
    .argument("[name]", "a ready-made host, or a host file to check; - is stdin")
    .option("--yaml", "the host as a complete host file")
    .option("--json", "the list, or the host, as JSON")
    .action((name: string | undefined, options: HostsOptions) =>
      finish(import("./hosts-command.ts").then((module) => module.hostsCommand(name, options))),
    );

  withHost(program.command("selftests"), "lab", "the tree's")
    .description(
      "build a kernel tree's selftests of VFIO and iommufd and run them, VFIO's in all their IOMMU modes; exit status 1 when one fails",
    )
    .argument("<tree>", "a kernel's source, 6.18 or newer")
    .option("--device <bdf>", "the device that they use (default: 0000:01:00.0)")
    .option("--only <test>", "only this test program; may be repeated", collect)
    .option("--build <dir>", "build there and keep it (default: a temporary folder)")
    .option("--json", "every test's result as JSON")
    .addHelpText("after", SELFTESTS_HELP)
    .action((tree: string, options: SelftestsOptions) =>
      finish(import("./selftests-command.ts").then((module) => module.selftestsCommand(tree, options))),
    );

  program
    .command("capture")
    .description("describe this machine as a host file, which -m of the other commands takes")
    .option("-o, --output <file>", "write there (default: -, which is stdout)")
    .option("--root <dir>", "read DIR/sys, DIR/proc and DIR/dev of another tree (default: /)")
    .option("--from <path>", "a copy of another host's files: a folder with its sys and proc, or a tar archive of it")
    .option("--name <name>", "the host's name in the file (default: captured)")
    .option("--config-space", "also the devices' config space, where it can be read as a whole (root)")
    .option("--json", "as JSON, which is a host file too")
    .option("--format <name>", "yaml, json, dra (a Kubernetes ResourceSlice) or nfd (node-feature-discovery's labels)")
    .addHelpText("before", `${CAPTURE_EXAMPLES}\n`)
    .action((options: CaptureOptions) =>
      finish(import("./capture-command.ts").then((module) => module.captureCommand(options))),
    );

  program
    .command("man")
    .description("print the manual page: uvfio man | man -l -")
    .action(() =>
      finish(
        import("./man-page.ts").then(({ manPage }) => {
          print(manPage(program));
          return 0;
        }),
      ),
    );

  program
    .command("completion")
    .description("print a completion script for bash, zsh or fish: source <(uvfio completion bash)")
    .argument("<shell>", "bash, zsh or fish")
    .action((shell: string) =>
      finish(import("./completion/scripts.ts").then((module) => module.completionCommand(shell))),
    );

  program
    .command("complete", { hidden: true })
    .description("what a completion script asks at every TAB")
    .argument("[words...]", "the command line so far, without the command's own name; the last word is completed")
    .action((words: string[]) =>
      finish(import("./completion/complete.ts").then((module) => module.completeCommand(program, words))),
    );

  for (const command of program.commands) sayWhereHelpIs(command);
  const named = args[0] === "help" ? args[1] : undefined;
  // commander would show the help of all
  if (named !== undefined && !program.commands.some((command) => command.name() === named))
    program.error(`unknown command '${named}'; uvfio --help lists them`);
  await program.parseAsync(spellOut(args), { from: "user" });
  return status;
}

const SPELT_OUT = [
  /^--(?:(sanitize)=(error)$|(view|json)=(.*)$)/s,
  (_: string, sanitize?: string, error?: string, name?: string, value?: string) =>
    sanitize === undefined ? `--${name}-${name === "view" ? "port" : "file"}=${value}` : `--${sanitize}-${error}`,
] as const;

/**
 * An option whose value is optional would take the program's name for it: --sanitize=error, --view=PORT and
 * --json=FILE are options of their own inside. An errno may have its sign: `uvfio explain MAP_DMA -22` has no option
 * -2.
 */
function spellOut(args: readonly string[]): string[] {
  const end = args.indexOf("--");
  const isOurs = (at: number) => args[0] === "run" && (end < 0 || at < end);
  if (args[0] === "explain") return args.map((arg) => (/^-\d{1,4}$/.test(arg) ? arg.slice(1) : arg));
  return args.map((arg, at) => (isOurs(at) ? arg.replace(...SPELT_OUT) : arg));
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** commander's text of an error as one line without its own prefix. */
function oneLine(text: string): string {
  return text
    .trim()
    .replace(/^error: /, "")
    .replace(/\s*\n\s*/g, " ");
}

/** What is missing on a command line is found in its help: errors of that kind name it. */
function sayWhereHelpIs(command: Command): void {
  const isMissing = /^missing required argument|argument missing$|^too many arguments/;
  command.configureOutput({
    outputError: (text) => {
      const line = oneLine(text);
      complain(isMissing.test(line) ? `${line}; uvfio ${command.name()} --help shows how to write it` : line);
    },
  });
}

const PROGRAM_HELP = `
Examples:
  uvfio run -- ./my-vfio-program 0000:00:1b.0          run it on the default host; stderr says why calls fail
  uvfio run -m amd -- ./my-vfio-program 0000:01:00.0   on an AMD host
  uvfio hosts lab                                      a host whose devices work, and their addresses
  uvfio fit -m amd --memory 1011G                      does a guest fit this host?
  uvfio explain qemu.log                               what a log says of VFIO, and what to do
  uvfio run --help                                     all that run can do, with examples
Pages by task: docs/index.md in the package.`;

const RUN_HELP = `
Reasons for failed calls go to stderr. Examples:
  uvfio run -m amd -- ./my-vfio-program 0000:01:00.0
  uvfio run --strace -t -o calls.txt -- ./my-vfio-program
  uvfio run --trace t.jsonl -- ./my-vfio-program && uvfio trace --failed t.jsonl
  uvfio run --fault VFIO_IOMMU_MAP_DMA#3=ENOMEM -- ./my-vfio-program        the third one fails
  uvfio run --fault 'VFIO_IOMMU_MAP_DMA#10%:42@0x1000+1048576=ENOMEM' -- ... a tenth of them there, by seed 42
  uvfio run --fault dma:0000:00:1b.0=fault -- ./my-vfio-program             no DMA of the device arrives
  uvfio run --fault-each VFIO_IOMMU_MAP_DMA=ENOMEM -- ./my-vfio-program
  uvfio run --sanitize=error -- ./my-vfio-program
  uvfio run --view -- ./my-vfio-program                                     a page shows it, and why calls fail`;

const SERVE_HELP = `
Examples:
  uvfio serve -m lab --socket /tmp/lab.sock &
  uvfio run --on /tmp/lab.sock -- ./my-vfio-program 0000:01:00.0
  uvfio stop --socket /tmp/lab.sock
SIGTERM and SIGINT end it too. docs/serve.md has more.`;

const CTL_HELP = `
Commands:
  remove DEVICE             take it away; waits until programs have closed it, which are asked (REQ interrupt)
  pull DEVICE               the same, but it is gone at once: it reads as all ones
  add DEVICE [DRIVER]       plug it in again, for that driver: vfio-pci
  link DEVICE down|up       nobody answers meanwhile
  aer DEVICE                an uncorrectable error: the ERR interrupt
  fail SPEC                 from now on, for all programs, as --fault of run: VFIO_IOMMU_MAP_DMA=ENOMEM; "none" ends it
  after REQUEST#N COMMAND   when programs have made so many more of that request
Example: uvfio ctl --on /tmp/lab.sock after VFIO_IOMMU_MAP_DMA#3 pull 0000:01:00.0`;

const DEVICE_SERVER_HELP = `
Example:
  uvfio device-server -m lab 0000:05:00.0 --socket /tmp/nvme.sock &
  qemu-system-x86_64 -M q35 -m 1G -object memory-backend-memfd,id=m,size=1G,share=on -machine memory-backend=m \\
    -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/nvme.sock"}}' ...`;

const TRACE_HELP = `
Examples:
  uvfio trace --failed t.jsonl
  uvfio trace --request MAP_DMA --fd 3 t.jsonl
  uvfio trace --summary t.jsonl
  uvfio trace --perfetto t.json t.jsonl                 open t.json in ui.perfetto.dev
Exit status 2 when the file is no trace or its end is missing.`;

const VIEW_HELP = `
Examples:
  uvfio run --trace t.jsonl -- ./my-vfio-program; uvfio view t.jsonl
  uvfio serve -m lab --socket /tmp/lab.sock & uvfio view --on /tmp/lab.sock
  uvfio run --view -- ./my-vfio-program                 the same while a program runs`;

const SELFTESTS_HELP = `
VFIO's run on the host lab, iommufd's (of Linux 7.2 and newer) on the host mock. gcc, make, uuid-dev and libcap-dev are
needed. Example:
  apt-get install linux-source && tar -xf /usr/src/linux-source-*.tar.xz && uvfio selftests linux-source-*`;

const EXPLAIN_HELP = `
Examples:
  uvfio explain VFIO_IOMMU_MAP_DMA EINVAL             every cause, how to tell them apart, the cure
  uvfio explain map_dma -22 -m host.yaml              beside the ranges and limits of a captured host
  uvfio explain /var/log/libvirt/qemu/guest.log       what the log says of VFIO
  dmesg | uvfio explain - -m host.yaml                the kernel's, in the host's terms
Exit status 0 when something was explained, 1 when no line is known.`;

const FIT_EXAMPLES = `Examples:
  uvfio fit -m amd --memory 1010G                     today's QEMU moves this guest above 1 TiB, clear of HyperTransport
  uvfio fit -m amd --memory 1011G --vmm pc-q35-7.0    QEMU 7.0 did not: it does not fit, and why
  uvfio fit -m amd --max --vmm pc-q35-7.0             the largest guest that does
  uvfio fit -m intel -m amd --memory 64G              both hosts, as a table
  uvfio fit -m 'hosts/*.yaml' --memory 1.5T --device 10de:2331 --json    many, a line of JSON each
  uvfio fit -m host.yaml --memory 1T --device 0000:01:00.0 --viommu --memlock 2T
  uvfio fit -m amd --ranges layout.txt                ranges a VMM of your own uses`;

const CAPTURE_EXAMPLES = `Examples:
  uvfio capture -o host.yaml && uvfio fit -m host.yaml --memory 1T
  sudo uvfio capture > host.yaml                      root can read the ACPI tables as well
  uvfio capture --from rack7.tgz --name rack7 -o hosts/rack7.yaml`;

/**
 * @param host what is taken without -m
 * @param kernel the release without --kernel
 */
function withHost(command: Command, host = DEFAULT_HOST, kernel?: string): Command {
  return withRelease(command.option("-m, --machine <host>", hostHelp(host)), kernel);
}

function withHosts(command: Command): Command {
  return withRelease(
    command.option(
      "-m, --machine <host>",
      `${hostHelp(DEFAULT_HOST)}; a folder or a quoted pattern of host files; may be repeated`,
      collect,
    ),
  );
}

function hostHelp(host: string): string {
  return `a ready-made host, a host file (YAML) or a recording's host.json; - is stdin (default: ${host})`;
}

function withRelease(command: Command, kernel = "the host's"): Command {
  return command
    .option("--kernel <X.Y>", `behave as this kernel release (default: ${kernel})`)
    .option("--api <name>", "meaning of request numbers: mainline, vsva-v1, vsva-v7 or rfc-2017 (default: the host's)");
}

function version(): string {
  if (carried !== undefined) return carried.version;
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
