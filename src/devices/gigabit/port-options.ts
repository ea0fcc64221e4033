import type { DeviceBus } from "../device-model.ts";
import type { DeviceInstance, PciInstance, QemuDevice } from "../kind.ts";
import { type DeviceOptions, filePath, flag, lineOfText, OptionError, type OptionProblem } from "../options.ts";
import { datagramWire, LONGEST_PATH } from "../wire/datagram-socket.ts";
import { WireError } from "../wire/descriptor-wire.ts";
import { CaptureError, CaptureFile, readCapture } from "../wire/pcap.ts";
import { LONGEST_NAME, tapWire } from "../wire/tap.ts";
import { allOf, type Port, type Wire } from "../wire/wire.ts";
import type { PortFacts } from "./port.ts";

const ADDRESS = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
/** What Linux takes for an interface. */
const NAME = /^[^\s/:]+$/;
const BDF = /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;

/** What a host file may say of a port. */
export interface PortOptions extends DeviceOptions {
  readonly mac: string | undefined;
  readonly link: string | undefined;
  readonly hub: string | undefined;
  readonly loopback: boolean;
  readonly pcap: string | undefined;
  readonly receive: string | undefined;
  readonly socket: string | undefined;
  readonly peer: string | undefined;
  readonly tap: string | undefined;
}

/** Which keys those are. */
export const PORT_OPTIONS = {
  mac: lineOfText({ meaning: "Its address; one that follows from its place when left out.", default: undefined }),
  link: lineOfText({ meaning: "The port that it is wired to, another one of the host.", default: undefined }),
  hub: lineOfText({ meaning: "Ports that say the same word are on one network.", default: undefined }),
  loopback: flag({ meaning: "Whether it is wired to itself.", default: false }),
  socket: filePath({
    meaning: "A UNIX datagram socket that it listens on, one frame a datagram.",
    default: undefined,
  }),
  peer: filePath({ meaning: "The socket that it sends to, with `socket`.", default: undefined }),
  tap: lineOfText({ meaning: "A tap interface of this machine.", default: undefined }),
  pcap: filePath({ meaning: "A capture file of what it sends, beside its wire.", default: undefined }),
  receive: filePath({ meaning: "A capture file of what it receives once it can.", default: undefined }),
};

/** Has transports look at devices again. */
const NOTHING = { step: () => undefined };

/** Of a port that touches nothing of this machine. */
export const NO_FILES = { socket: undefined, peer: undefined, tap: undefined, pcap: undefined, receive: undefined };

/** Whether a port is wired to nobody, and opens nothing of this machine. */
export function touchesNobody(options: PortOptions): boolean {
  if (options.link !== undefined || options.hub !== undefined) return false;
  for (const option in NO_FILES) if (options[option as keyof typeof NO_FILES] !== undefined) return false;
  return true;
}

/** What is wrong with options that are fine one by one. */
export function checkOptions(options: PortOptions): readonly OptionProblem[] {
  const { mac, link, loopback, socket, peer, tap, hub } = options;
  if (mac !== undefined && !isUnicast(mac))
    return [{ option: "mac", message: `not the address of a port, like 02:00:00:00:00:01: "${mac}"` }];
  if (link !== undefined && !BDF.test(link))
    return [{ option: "link", message: `not a PCI address, like 0000:07:00.1: "${link}"` }];
  if ((socket === undefined) !== (peer === undefined)) {
    const option = socket === undefined ? "peer" : "socket";
    return [{ option, message: "a wire of sockets has two ends: give socket and peer" }];
  }
  for (const option of ["socket", "peer"] as const)
    if (Buffer.byteLength(options[option] ?? "") > LONGEST_PATH)
      return [{ option, message: `has more than ${LONGEST_PATH} bytes, which no UNIX socket's path has` }];
  if (tap !== undefined && (!NAME.test(tap) || tap.length > LONGEST_NAME))
    return [{ option: "tap", message: `not the name of an interface (1 to ${LONGEST_NAME} characters): "${tap}"` }];
  const wires = Object.entries({ link, hub, loopback: loopback || undefined, socket, tap });
  const [first, second] = wires.flatMap(([option, value]) => (value === undefined ? [] : option));
  return second === undefined ? [] : [{ option: second, message: `not with ${first}: a port has one wire` }];
}

function isUnicast(mac: string): boolean {
  return ADDRESS.test(mac) && (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0;
}

/** QEMU's -netdev hubport: ports of one hub are on one network. */
export function recordedOptions({ properties, netdev }: QemuDevice): Readonly<Record<string, unknown>> {
  const backend = netdev(properties.get("netdev") ?? "");
  return { mac: properties.get("mac"), hub: backend?.get("hubid") };
}

/** What is given of a port that has these options. Throws OptionError for what cannot be had of this machine. */
export function portFacts(bus: DeviceBus, instance: PciInstance<PortOptions>): PortFacts {
  const { options } = instance;
  const { link, hub, receive } = options;
  return {
    mac: addressOf(instance),
    link,
    hub,
    wire: (port) => allOf(wiresOf(bus, port, options)),
    received: receive === undefined ? [] : attempt("receive", () => readCapture(receive), `${receive}: `),
  };
}

function wiresOf(bus: DeviceBus, port: Port, { loopback, socket, peer, tap, pcap }: PortOptions): readonly Wire[] {
  const resumed = () => bus.clock.resume(NOTHING);
  const wires: Wire[] = [];
  if (loopback) wires.push({ send: (frame) => port.deliver(frame) });
  if (socket !== undefined) wires.push(attempt("socket", () => datagramWire(port, socket, peer!, resumed)));
  if (tap !== undefined) wires.push(attempt("tap", () => tapWire(port, tap, resumed)));
  if (pcap !== undefined) wires.push(attempt("pcap", () => new CaptureFile(pcap, Date.now), `${pcap}: `));
  return wires;
}

/** What cannot be had of this machine is a problem of the option that wants it. */
function attempt<T>(option: string, action: () => T, place = ""): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof CaptureError || error instanceof WireError)) throw error;
    throw new OptionError(option, `${place}${error.message}`, { cause: error });
  }
}

/** A locally administered address that no other port of the host has. */
function addressFrom(name: string): string {
  const [segment = "0", bus = "0", rest = "0"] = name.split(":");
  const [slot = "0", fn = "0"] = rest.split(".");
  const numbers = [segment, bus, slot, fn].map((text) => Number.parseInt(text, 16) || 0);
  return `02:${[numbers[0]! >> 8, ...numbers].map((value) => (value & 0xff).toString(16).padStart(2, "0")).join(":")}`;
}

/** The address of a port, six bytes. */
export function addressOf({ name, options }: DeviceInstance<PortOptions>): Uint8Array {
  const mac = options.mac ?? addressFrom(name);
  return Uint8Array.from(mac.split(":"), (digits) => Number.parseInt(digits, 16));
}
