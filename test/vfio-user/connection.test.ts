import { closeSync, fstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { Connection } from "../../src/vfio-user/connection.ts";
import { encodeMessage } from "../../src/vfio-user/message.ts";
import { PeerError, PeerGone } from "../../src/vfio-user/peer-error.ts";
import { accept, connectTo, listenAt, newMemory, send } from "../../src/vfio-user/sockets.ts";
import { decodeVersion, encodeVersion } from "../../src/vfio-user/version.ts";

const folder = mkdtempSync(join(tmpdir(), "uvfio-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const open: Connection[] = [];
afterEach(() => {
  for (const connection of open.splice(0)) connection.close();
});

let count = 0;
/** A connection, and the bare other end of it. */
function pair(patience = 100): { readonly connection: Connection; readonly peer: number } {
  const path = join(folder, `s${count++}`);
  const listener = listenAt(path) as number;
  const peer = connectTo(path) as number;
  const connection = new Connection(accept(listener)!, { patience, mostDescriptors: 2 });
  closeSync(listener);
  open.push(connection);
  return { connection, peer };
}

const bodies = (connection: Connection) => {
  const found: string[] = [];
  for (let message = connection.next(); message; message = connection.next()) found.push(message.body.toString());
  return found;
};

describe("a connection", () => {
  test("finds messages however their bytes come", () => {
    const { connection, peer } = pair();
    const bytes = Buffer.concat(["one", "", "three"].map((text) => encodeMessage(1, 9, {}, Buffer.from(text))));
    for (const byte of bytes) {
      send(peer, Uint8Array.of(byte), []);
      connection.hear();
    }
    expect(bodies(connection)).toEqual(["one", "", "three"]);
    send(peer, bytes, []);
    connection.hear();
    expect(bodies(connection)).toEqual(["one", "", "three"]);
    closeSync(peer);
  });

  test("gives descriptors to the message that they came with, and closes what nobody takes", () => {
    const { connection, peer } = pair();
    const before = readdirSync("/proc/self/fd").length;
    const files = [newMemory("a", 4096), newMemory("b", 8192)];
    send(peer, encodeMessage(1, 2, {}, Buffer.from("without")), []);
    send(peer, encodeMessage(2, 2, {}, Buffer.from("with")), files);
    for (const fd of files) closeSync(fd);
    connection.hear();
    connection.hear();
    const [first, second] = [connection.next()!, connection.next()!];
    expect([first.descriptorCount, second.descriptorCount]).toEqual([0, 2]);
    const fd = second.takeDescriptor(1)!;
    expect(fstatSync(fd).size).toBe(8192);
    closeSync(fd);
    second.dispose();
    expect(readdirSync("/proc/self/fd").length).toBe(before);
    closeSync(peer);
  });

  test("ends when more descriptors come than were agreed on, and keeps none", () => {
    const { connection, peer } = pair();
    const before = readdirSync("/proc/self/fd").length;
    const file = newMemory("a", 4096);
    send(peer, encodeMessage(1, 2, {}), [file, file, file]);
    closeSync(file);
    expect(() => connection.hear()).toThrow(/3 descriptors came with a message, more than the 2/);
    expect(readdirSync("/proc/self/fd").length).toBe(before);
    closeSync(peer);
  });

  test.each([
    ["a size below the header's", [1, 0, 9, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], /says that it has 15 bytes/],
    ["a size beyond all data", [1, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], /says that it has 16777216 bytes/],
    ["another type", [1, 0, 9, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], /is of type 2/],
    ["an answer to nothing", [1, 0, 9, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], /answered REGION_READ .*not asked/],
  ])("ends at a header with %s", (_what, bytes, message) => {
    const { connection, peer } = pair();
    send(peer, Uint8Array.from(bytes), []);
    expect(() => connection.hear()).toThrow(message);
    closeSync(peer);
  });

  test("waits for an answer as long as it is patient, and keeps what is asked meanwhile", () => {
    const { connection, peer } = pair(60);
    send(peer, encodeMessage(7, 11, {}, Buffer.from("asked")), []);
    const start = performance.now();
    expect(() => connection.exchange(9, [])).toThrow(/no answer to REGION_READ within 0.06 s/);
    expect(performance.now() - start).toBeGreaterThanOrEqual(55);
    expect(bodies(connection)).toEqual(["asked"]);
    closeSync(peer);
  });

  test("serves what is asked while it waits, no longer than ten times its patience", () => {
    const { connection, peer } = pair(40);
    const ask = () => send(peer, encodeMessage(7, 11, {}), []);
    ask();
    let served = 0;
    const start = performance.now();
    expect(() =>
      connection.exchange(9, [], [], () => {
        served++;
        ask();
      }),
    ).toThrow(/no answer/);
    expect(served).toBeGreaterThan(1);
    expect(performance.now() - start).toBeLessThan(3000);
    closeSync(peer);
  });

  test("is over when the other side has gone", () => {
    const { connection, peer } = pair();
    closeSync(peer);
    expect(() => connection.hear()).toThrow(PeerGone);
  });

  test("is not filled up by who waits for no answer", () => {
    const { connection, peer } = pair();
    const one = encodeMessage(1, 13, {});
    expect(() => {
      for (let i = 0; i < 10_000; i++) {
        send(peer, one, []);
        connection.hear();
      }
    }).toThrow(/1025 messages without waiting/);
    closeSync(peer);
  });
});

describe("questions that are answered later", () => {
  test("are told apart by their numbers, in whatever order the answers come", () => {
    const { connection, peer } = pair();
    const [first, second] = [connection.ask(9, []), connection.ask(10, [])];
    expect(connection.answer(first, 1)).toBeUndefined();
    send(peer, encodeMessage(second.id, 10, { reply: true }, Buffer.from("second")), []);
    expect(connection.answer(first, 1)).toBeUndefined();
    expect(connection.answer(second, 1)?.body.toString()).toBe("second");
    send(peer, encodeMessage(first.id, 9, { reply: true }, Buffer.from("first")), []);
    expect(connection.answer(first, 1)?.body.toString()).toBe("first");
    send(peer, encodeMessage(first.id, 9, { reply: true }), []);
    expect(() => connection.hear()).toThrow(/which was not asked/);
    closeSync(peer);
  });

  test("have their time", async () => {
    const { connection, peer } = pair(30);
    const question = connection.ask(9, []);
    expect(connection.answer(question, 1)).toBeUndefined();
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(() => connection.answer(question, 1)).toThrow(/no answer to REGION_READ within 0.03 s/);
    closeSync(peer);
  });
});

describe("VERSION", () => {
  const body = (json: string) => Buffer.concat([Buffer.alloc(4), Buffer.from(json)]);
  test("says what a side can take, and is read as it is said", () => {
    const abilities = { maxMessageFds: 16, maxTransfer: 4096, maxDmaMaps: 7, writeMultiple: true, migration: false };
    expect(decodeVersion(encodeVersion(abilities))).toEqual({ major: 0, minor: 0, abilities });
    expect(decodeVersion(Buffer.alloc(4)).abilities).toMatchObject({ maxMessageFds: 1, maxTransfer: 2 ** 20 });
    expect(decodeVersion(body('{"more":[]}\0')).abilities.maxMessageFds).toBe(1);
  });
  test.each([
    ["{}", /does not end with a NUL/],
    ["{\0", /is no JSON/],
    ["[]\0", /is no JSON object/],
    ['{"capabilities":7}\0', /capabilities in its VERSION is no JSON object/],
    ['{"capabilities":{"max_msg_fds":-1}}\0', /max_msg_fds in its VERSION is -1/],
    ['{"capabilities":{"max_data_xfer_size":0.5}}\0', /max_data_xfer_size in its VERSION is 0.5/],
  ])("is refused for %j", (json, message) => {
    expect(() => decodeVersion(body(json))).toThrow(PeerError);
    expect(() => decodeVersion(body(json))).toThrow(message);
  });
});
