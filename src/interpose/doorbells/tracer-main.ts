/**
 * The process that traces programs: started by tracer-process.ts with the socket to the server as descriptor 3. A
 * process of its own, because node's wait for its children takes the stops of threads that any of node's own threads
 * trace for the end of the child. When the server is gone it takes its watchpoints back and lets go, so that the
 * program goes on without it.
 */
import fs from "node:fs";
import { Socket } from "node:net";
import { decodeMessage, encodeMessage } from "./messages.ts";
import type { ToTracer } from "./protocol.ts";
import { nextChange, whenChanged } from "./ptrace.ts";
import { Tracer } from "./tracer.ts";

const SOCKET = 3;
/** How long threads that do not stop are waited for at the end, in milliseconds. */
const LAST_STOPS_MS = 1000;

// Nothing of where the program was started is held.
process.chdir("/");

let waiting = false;
let ending = false;
let received: Buffer = Buffer.alloc(0);

const tracer = new Tracer((message) => {
  try {
    fs.writeSync(SOCKET, encodeMessage(message));
  } catch {
    // the end of the socket says so, too
  }
});

function waitForChanges(): void {
  if (waiting || ending || !tracer.busy) return;
  waiting = true;
  whenChanged((any) => {
    waiting = false;
    if (ending || !any) return;
    for (let change = nextChange(); change; change = nextChange()) tracer.change(change);
    waitForChanges();
  });
}

function end(): void {
  if (ending) return;
  ending = true;
  tracer.interruptAll();
  const deadline = performance.now() + LAST_STOPS_MS;
  while (tracer.busy && performance.now() < deadline) {
    const change = nextChange();
    if (change) tracer.release(change);
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  }
  // A thread of libuv may be inside waitid() still, and an ordinary end would wait for it.
  process.kill(process.pid, "SIGKILL");
}

const socket = new Socket({ fd: SOCKET, readable: true, writable: true });
socket.on("data", (bytes: Buffer) => {
  received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
  for (let next = decodeMessage(received); next; next = decodeMessage(received)) {
    received = next.rest;
    tracer.hear(next.message as ToTracer);
  }
  waitForChanges();
});
socket.on("error", end);
socket.on("close", end);
