import { DeviceServer, ServerError } from "../device-server/device-server.ts";
import { Host } from "../host/host.ts";
import { deviceName, findDevice } from "../machine/find-device.ts";
import { loadHost } from "../machine/load-host.ts";
import { UsageError } from "./usage-error.ts";

/** What serveDevice() serves, and who hears of it. */
export interface DeviceServerOptions {
  /** A ready-made host or a host file; "intel" when left out. */
  readonly host?: string | undefined;
  /** Behave as this kernel release. */
  readonly kernel?: string | undefined;
  /** Of the host: "0000:00:04.0". */
  readonly device: string;
  /** Path of the Unix socket, which is made. */
  readonly socket: string;
  /** Hears when a client can come: what is served, in words. */
  readonly ready?: (what: string) => void;
  /** Hears of a client's request that failed: "SET_IRQS", "EINVAL", why. */
  readonly failed?: (command: string, errno: string, reason: string) => void;
  /** Hears what a person should know, a line each. */
  readonly said?: (line: string) => void;
}

/** A device that is served. */
export interface ServedDevice {
  /** Ends it: the client is left, the socket is gone. */
  stop(): void;
  /** When it has ended. */
  readonly ended: Promise<void>;
}

/**
 * Serves a device of a host to vfio-user clients, one after the other, as `uvfio device-server` does (docs/vfio-
 * user.md).
 * @throws HostDescriptionError, UsageError for what is asked
 */
export async function serveDevice(options: DeviceServerOptions): Promise<ServedDevice> {
  const { socket, kernel, said = () => {}, failed = () => {} } = options;
  const description = await loadHost(options.host, { ...(kernel !== undefined && { kernel }) });
  const { device } = findDevice(description, options.device);
  const name = deviceName(device);
  if (device.bus !== "pci") throw new UsageError(`${name} is a mediated device; a device server has a PCI device`);
  const host = new Host(description, { onWarning: said });
  const lent = host.lend(name);
  if (!lent)
    throw new UsageError(`${name} belongs to ${device.driver ?? "no driver"}; a device server has one of vfio-pci's`);
  try {
    const server = new DeviceServer(host, lent, socket, {
      failed,
      noticed: said,
      ended: said,
      broken: (message) => said(message),
    });
    options.ready?.(`${name} (${device.name || device.model})`);
    return { stop: () => server.stop(), ended: server.serve() };
  } catch (error) {
    throw error instanceof ServerError ? new UsageError(error.message) : error;
  }
}
