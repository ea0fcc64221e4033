// Loaded into each process and thread of a `uvfio run` before its own modules: writes when its phases begin to the file that BENCH_EVENTS names.
const fs = require("node:fs");
const { isMainThread, workerData } = require("node:worker_threads");

const note = (event) =>
  fs.appendFileSync(process.env.BENCH_EVENTS, `${event} ${performance.timeOrigin + performance.now()}\n`);
const isLauncher = process.argv[1]?.endsWith("launcher.js");

if (!isMainThread) {
  note("thread");
  const { port } = workerData;
  const post = port.postMessage.bind(port);
  port.postMessage = (message) => {
    note(message.type);
    post(message);
  };
} else if (isLauncher) {
  note("launcher");
  const { readSync, writeSync } = fs;
  // It waits for its orders with its first read and answers with its first write.
  fs.readSync = (...args) => {
    note("launcher-ready");
    fs.readSync = readSync;
    return readSync(...args);
  };
  fs.writeSync = (...args) => {
    note("filter");
    fs.writeSync = writeSync;
    return writeSync(...args);
  };
} else {
  note("main");
  const childProcess = require("node:child_process");
  const { spawn } = childProcess;
  childProcess.spawn = (command, args, options) => {
    note("spawn");
    const launcher = args.findIndex((arg) => arg.endsWith("launcher.js"));
    return spawn(command, [...args.slice(0, launcher), "--require", __filename, ...args.slice(launcher)], options);
  };
  require("node:module").syncBuiltinESMExports();
  process.on("exit", () => note("exit"));
}
