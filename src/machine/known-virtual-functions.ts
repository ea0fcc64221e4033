/**
 * Physical functions and the virtual ones that they make, by "vendor:device", where the two have ids of their own. For
 * hosts whose description names both and says no more. Sources: the device tables of the drivers (igb, igbvf, ixgbe,
 * ixgbevf, i40e, ice, iavf, mlx4, mlx5, bnxt, qat, nvme, fm10k) and DPDK's (baseband/acc, fpga_5gnr_fec).
 */
const VIRTUAL_FUNCTION_OF: Readonly<Record<string, readonly string[]>> = {
  // Intel 82576, I350
  "8086:10ca": ["8086:10c9", "8086:10e6", "8086:10e7", "8086:10e8", "8086:150a", "8086:150d", "8086:1518", "8086:1526"],
  "8086:1520": ["8086:1521", "8086:1522", "8086:1523", "8086:1524"],
  // 82599, X540, X550
  "8086:10ed": [
    "8086:10f7",
    "8086:10f8",
    "8086:10f9",
    "8086:10fb",
    "8086:10fc",
    "8086:1514",
    "8086:154d",
    "8086:1557",
    "8086:1558",
  ],
  "8086:1515": ["8086:1528", "8086:1560"],
  "8086:1565": ["8086:1563", "8086:15d1"],
  "8086:15a8": ["8086:15aa", "8086:15ab", "8086:15ac", "8086:15ad"],
  // X710, XL710, XXV710; X722; E810
  "8086:154c": [
    "8086:1572",
    "8086:1580",
    "8086:1581",
    "8086:1583",
    "8086:1584",
    "8086:1585",
    "8086:1586",
    "8086:1589",
    "8086:158a",
    "8086:158b",
  ],
  "8086:37cd": ["8086:37ce", "8086:37cf", "8086:37d0", "8086:37d1", "8086:37d2", "8086:37d3"],
  "8086:1889": [
    "8086:1591",
    "8086:1592",
    "8086:1593",
    "8086:159b",
    "8086:159a",
    "8086:1599",
    "8086:188a",
    "8086:124c",
    "8086:12d2",
  ],
  // forward error correction: FPGA of 5G and LTE, ACC100, ACC101, VRB1, VRB2
  "8086:0d90": ["8086:0d8f"],
  "1172:5050": ["1172:5052"],
  "8086:0d5d": ["8086:0d5c"],
  "8086:57c5": ["8086:57c4"],
  "8086:57c1": ["8086:57c0"],
  "8086:57c3": ["8086:57c2"],
  // QuickAssist
  "8086:0443": ["8086:0435"],
  "8086:19e3": ["8086:19e2"],
  "8086:37c9": ["8086:37c8"],
  "8086:4941": ["8086:4940"],
  "8086:4943": ["8086:4942"],
  "8086:4945": ["8086:4944"],
  // Mellanox ConnectX-3 to -7
  "15b3:1004": ["15b3:1003", "15b3:1007"],
  "15b3:1012": ["15b3:1011"],
  "15b3:1014": ["15b3:1013"],
  "15b3:1016": ["15b3:1015"],
  "15b3:1018": ["15b3:1017"],
  "15b3:101a": ["15b3:1019"],
  "15b3:101c": ["15b3:101b"],
  "15b3:101e": ["15b3:101d", "15b3:101f", "15b3:1021", "15b3:1023"],
  // Broadcom
  "14e4:16dc": ["14e4:16d7", "14e4:16d8", "14e4:16d6", "14e4:16c9"],
  "14e4:1806": ["14e4:1750", "14e4:1751", "14e4:1752"],
  // Huawei, Cavium
  "19e5:375e": ["19e5:0200", "19e5:1822"],
  "177d:a034": ["177d:a01e"],
};

/** Whether devices of these ids are virtual functions, when something on the host can have made them. */
export function isVirtualFunctionId(ids: string): boolean {
  return ids in VIRTUAL_FUNCTION_OF;
}

/** Device id of the virtual functions that a device of these ids makes, where that is known. */
export function virtualFunctionOf(physical: string): number | undefined {
  const found = Object.entries(VIRTUAL_FUNCTION_OF).find(([, makers]) => makers.includes(physical))?.[0];
  return found === undefined ? undefined : Number.parseInt(found.slice(found.indexOf(":") + 1), 16);
}

/** Whether devices of these ids can be a physical function and one of its virtual ones. */
export function canBeVirtualFunctionOf(virtual: string, physical: string): boolean {
  return VIRTUAL_FUNCTION_OF[virtual]?.includes(physical) ?? false;
}
