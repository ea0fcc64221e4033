// Preloaded: says at the end how much memory the process had at most, in bytes.
const { writeSync } = require("node:fs");

process.on("exit", () => writeSync(2, `most memory: ${process.resourceUsage().maxRSS * 1024}\n`));
