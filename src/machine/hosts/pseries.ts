import { endpoint, powerHost, with4kPages } from "./power.ts";

/**
 * A logical partition as the recorded machine pseries-6.12-64k is: firmware gives each host bridge a window of 1 GiB
 * and, on request, one more at 2^59.
 */
export const pseries = powerHost("pseries", {
  name: "pseries",
  description: "POWER9 logical partition, sPAPR TCE, windows by firmware calls, 64K page kernel",
  groups: [
    endpoint(0, "domain0-pe0", { bdf: "0000:00:03.0", name: "edu", vendor: 0x1234, device: 0x11e8 }),
    endpoint(1, "domain1-pe0", { bdf: "0001:00:01.0", name: "82574L Gigabit", vendor: 0x8086, device: 0x10d3 }),
    endpoint(2, "domain2-pe0", { bdf: "0002:00:01.0", name: "82574L Gigabit", vendor: 0x8086, device: 0x10d3 }),
  ],
});

export const pseriesWith4k = with4kPages(pseries);
