// Loaded into a `uvfio run` before its own modules: writes when its phases begin to the file that BENCH_EVENTS names.
const fs = require("node:fs");
const Module = require("node:module");

const events = [];
const note = (event) => events.push(`${event} ${performance.timeOrigin + performance.now()}\n`);

note("main");
const load = Module._load;
Module._load = (request, ...rest) => {
  const loaded = load(request, ...rest);
  if (request.startsWith("@koromix/koffi-")) note("koffi");
  return loaded;
};
// What is written while a program is started: the launcher, and then a list of system calls at a time (src/interpose/launch/launch.ts).
const writes = ["launcher", "namespaces", "grafts", "files", "filter", "execve"];
const { writeSync } = fs;
fs.writeSync = (...args) => {
  note(writes.shift());
  if (writes.length === 0) fs.writeSync = writeSync;
  return writeSync(...args);
};
process.on("exit", () => {
  note("exit");
  fs.appendFileSync(process.env.BENCH_EVENTS, events.join(""));
});
