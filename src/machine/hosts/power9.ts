import { endpoint, powerHost, with4kPages } from "./power.ts";

/**
 * A POWER9 on bare metal as the recorded machine powernv9-6.12-64k is: one device behind each PHB4, a 2 GiB window of
 * 4K pages and a second window from 2^59 on, with tables of several levels.
 */
export const power9 = powerHost("powernv9", {
  name: "power9",
  description: "POWER9 bare metal (PHB4), sPAPR TCE, 64K page kernel",
  groups: [
    endpoint(0, "domain0-pe1fd", { bdf: "0000:01:00.0", name: "edu", vendor: 0x1234, device: 0x11e8 }),
    endpoint(1, "domain1-pefd", { bdf: "0001:01:00.0", name: "NVMe", vendor: 0x1b36, device: 0x0010 }),
    endpoint(2, "domain2-pefd", { bdf: "0002:01:00.0", name: "82574L Gigabit", vendor: 0x8086, device: 0x10d3 }),
  ],
});

export const power9With4k = with4kPages(power9);
