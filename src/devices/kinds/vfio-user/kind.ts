import { PeerError } from "../../../vfio-user/peer-error.ts";
import type { PciBar } from "../../description.ts";
import type { DeviceInstance, DiscoveredDevice, PciDeviceKind } from "../../kind.ts";
import { type DeviceOptions, filePath, listOfWords, type OptionProblem, wholeNumber } from "../../options.ts";
import { PLAIN_CONFIG } from "../../pci/compose-config.ts";
import { connectDevice } from "./connect-device.ts";
import { identityOf, type RemoteDevice } from "./remote-device.ts";
import { migrationOf, RemoteMigration } from "./remote-migration.ts";
import { RemoteModel } from "./remote-model.ts";
import { SavableRemoteModel } from "./savable-remote-model.ts";

interface RemoteOptions extends DeviceOptions {
  readonly socket: string | undefined;
  readonly command: readonly string[] | undefined;
  readonly timeout: number;
  readonly start: number;
}

/** Devices that have shown themselves, until they are made right after it: by name and socket. */
const shown = new Map<string, RemoteDevice>();

function keyOf({ name, options }: DeviceInstance<RemoteOptions>): string {
  return `${name} ${options.socket}`;
}

/** A device that another process serves over a socket. */
export const vfioUser: PciDeviceKind<RemoteOptions> = {
  bus: "pci",
  model: "vfio-user",
  title: "a device that another program serves (vfio-user)",
  devices: [],
  mmap: true,
  translates: false,
  options: {
    socket: filePath({ meaning: "The Unix socket of the server; needed.", default: undefined }),
    command: listOfWords({ meaning: "Starts the server first; it ends with the run.", default: undefined }),
    timeout: wholeNumber({
      meaning: "How long an answer of the server is waited for, in milliseconds.",
      default: 1000,
      least: 1,
      most: 60_000,
    }),
    start: wholeNumber({
      meaning: "How long its socket is waited for at the start, in milliseconds.",
      default: 2000,
      least: 0,
      most: 60_000,
    }),
  },
  checkOptions: ({ socket }): readonly OptionProblem[] =>
    socket === undefined ? [{ message: "the model vfio-user needs a socket (options: { socket: PATH })" }] : [],
  // calls are made again that were made once: nobody is asked
  withoutFiles: (options) => ({ ...options, socket: "", command: undefined }),
  discover(device, { vendor, device: deviceId }): DiscoveredDevice | undefined {
    const remote = connectDevice(device.options);
    shown.set(keyOf(device), remote);
    return remote.attempt(() => {
      remote.open();
      remote.migration = migrationOf(remote);
      const found = identityOf(remote.config);
      if (found.vendor !== vendor || found.device !== deviceId)
        throw new PeerError(
          `it serves ${hex4(found.vendor)}:${hex4(found.device)}, and the host says ${hex4(vendor)}:${hex4(deviceId)}`,
        );
      const bars: readonly PciBar[] = remote.bars();
      return { ...found, config: remote.config, bars };
    });
  },
  config: () => PLAIN_CONFIG,
  create(bus, device) {
    const key = keyOf(device);
    const remote = shown.get(key) ?? connectDevice({ ...device.options, socket: "" });
    shown.delete(key);
    return RemoteMigration.isEnough(remote.migration)
      ? new SavableRemoteModel(bus, remote)
      : new RemoteModel(bus, remote);
  },
};

function hex4(value: number): string {
  return value.toString(16).padStart(4, "0");
}
