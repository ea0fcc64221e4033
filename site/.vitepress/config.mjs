import { readdirSync, readFileSync } from "node:fs";
import { defineConfig } from "vitepress";

const folder = new URL("../.pages/errors/", import.meta.url);
const errors = readdirSync(folder)
  .filter((name) => name !== "index.md" && !name.startsWith("also-"))
  .sort()
  .map((name) => ({ text: headingOf(name), link: `/errors/${name.replace(/md$/, "html")}` }));

function headingOf(name) {
  return /^# (.*)/.exec(readFileSync(new URL(name, folder), "utf8"))[1].replaceAll("`", "");
}

const page = (text, name) => ({ text, link: `/${name}.html` });

export default defineConfig({
  title: "uvfio",
  description: "A VFIO host in user space",
  srcDir: ".pages",
  outDir: "dist",
  cacheDir: ".cache",
  // where the site is served: a path that begins and ends with /
  base: process.env.UVFIO_SITE_BASE ?? "/",
  ignoreDeadLinks: false,
  // braces at the end of a line are part of a reason
  markdown: { attrs: { disable: true } },
  themeConfig: {
    search: { provider: "local" },
    outline: "deep",
    nav: [
      page("By task", "index"),
      page("First test", "first-test"),
      page("Library", "library"),
      { text: "API", link: "/api/" },
      { text: "Errors", link: "/errors/" },
    ],
    sidebar: {
      "/errors/": [{ text: "Errors by request", link: "/errors/", items: errors }],
      "/": [
        {
          text: "Start",
          items: [
            page("By task", "index"),
            page("README", "readme"),
            page("Your first test", "first-test"),
            page("The command", "command"),
            page("In CI and containers", "ci"),
          ],
        },
        {
          text: "Test a program",
          items: [
            page("Traces", "trace"),
            page("Fault injection", "fault-injection"),
            page("Sanitizer", "sanitizer"),
            page("Host files", "host-file"),
            page("Capture a host", "capture"),
            page("Does a guest fit?", "fit"),
            { text: "Errors by request", link: "/errors/" },
          ],
        },
        {
          text: "Write code",
          items: [
            page("The library", "library"),
            { text: "API reference", link: "/api/" },
            page("iommufd", "iommufd"),
            page("Nested translation", "iommufd-nesting"),
            page("A device of your own", "device"),
            page("The NVMe disk", "nvme"),
            page("Migration", "migration"),
            page("The 82576 network card", "igb"),
            page("Sample mediated device", "sample-mdev"),
          ],
        },
        {
          text: "Kernels and machines",
          items: [
            page("Kernel's selftests", "selftests"),
            page("Kernel defects", "kernel-defects"),
            page("POWER", "power"),
            page("s390", "s390"),
            page("Guest page tables", "vsva"),
            page("Generic IOMMU operation", "iommu-op"),
          ],
        },
        {
          text: "How it works",
          items: [
            page("How programs are served", "interposer"),
            page("Memory and DMA", "memory"),
            page("/sys", "sysfs"),
            page("Security", "security"),
            page("Performance", "performance"),
            page("Design", "design"),
            page("Contributing", "contributing"),
            page("Changelog", "changelog"),
          ],
        },
      ],
    },
  },
});
