/**
 * The figures that a reader of docs/performance.md sees first: what was measured, and against what, in a line.
 * `figure` is a workload's name; `says` stands in the table.
 */
export const SHORT_LIST = [
  {
    title: "A call of a program, in time against the best supervisor that we can write in C",
    rows: [
      { figure: "VFIO_GET_API_VERSION", says: "VFIO_GET_API_VERSION, the least of calls" },
      { figure: "VFIO_IOMMU_GET_INFO", says: "VFIO_IOMMU_GET_INFO, a structure in and out" },
      { figure: "VFIO_IOMMU_MAP_DMA and UNMAP_DMA of 4 KiB", says: "MAP_DMA and UNMAP_DMA of a page" },
      { figure: "a register by pread", says: "a register of a device by pread" },
      { figure: "an interrupt by an eventfd", says: "an interrupt that is raised, and its eventfd read" },
      { figure: "8 processes at once, VFIO_IOMMU_GET_INFO", says: "GET_INFO of 8 processes at once" },
      { figure: "65,535 MAP_DMA against C", says: "65,535 MAP_DMA, a container full" },
    ],
  },
  {
    title: "A call that is not for uvfio, in time against the same program under the best filter in C",
    rows: [
      { figure: "getppid", says: "getppid" },
      { figure: "read of one byte", says: "read of a byte" },
      { figure: "open for reading and close", says: "open and close" },
      {
        figure: "pread of 8 bytes of a file",
        says: "pread of at most 8 bytes, which may be a register: it is asked about, in C too",
      },
    ],
  },
  {
    title: "Many mappings",
    rows: [
      {
        figure: "pairs among 1,000,000 runs",
        says: "a mapping in and one out among 1,000,000: how many times as fast as a red-black tree in C",
      },
      { figure: "pairs among 1,000 runs", says: "the same among 1,000" },
      {
        figure: "nested walks of 1,000,000 pages",
        says: "a device's access through a guest's page table of four levels, in time against a walk in C",
      },
      { figure: "memory of a type1 mapping", says: "memory of a mapping, against 128 bytes" },
      {
        figure: "UNMAP_DMA of a million mappings",
        says: "all of a million unmapped at once, in time against making them",
      },
    ],
  },
  {
    title: "Data and devices",
    rows: [
      { figure: "DMA of 64 KiB in this process, pages", says: "DMA of 64 KiB in bytes a second, against memcpy()" },
      {
        figure: "copies by the ioat DMA engine",
        says: "a DMA engine, in bytes a second, against copies between processes",
      },
      {
        figure: "doorbell to completion of a small copy",
        says: "a doorbell that is written, until the copy of 64 bytes that it starts is seen to have ended, in time against a device in C",
      },
      {
        figure: "nvme, 4 KiB reads at depth 32",
        says: "NVMe by qemu-img, 4 KiB reads at depth 32, in time against the raw file",
      },
      { figure: "nvme, 4 KiB reads at depth 1", says: "the same one after the other" },
      { figure: "igb, frames of 1024 bytes", says: "a frame through two 82576, in time against a socket pair" },
      { figure: "vfio-user, a register read", says: "a register of a vfio-user server, in time against a client in C" },
    ],
  },
  {
    title: "Start, traces",
    rows: [
      { figure: "uvfio run -- true", says: "`uvfio run -- true`, in processor time against `node -e 0`" },
      {
        figure: "VFIO_IOMMU_MAP_DMA and UNMAP_DMA of 4 KiB, traced",
        says: "a call that is traced, in time against one that is not",
      },
      { figure: "memory for a trace by its size", says: "memory for a trace of 100 MiB against one of 10 MiB" },
    ],
  },
];
