"""
Peers that do not keep to vfio-user, for test/fuzz/vfio-user.test.ts.

    vfio_user_peer.py client SOCKET SEED COUNT    attacks a device server
    vfio_user_peer.py server SOCKET SEED COUNT    attacks a client, until COUNT messages are spoilt

Each message is a right one of which something is spoilt: bytes, a length, flags, the command, descriptors. Prints what it has
seen go wrong, a line each, and a last line that begins with "done".
"""
import array
import json
import mmap
import os
import random
import select
import socket
import struct
import sys
import time

PAGE = 4096
ERROR, NO_REPLY = 0x20, 0x10
SECRET = b"\xa5" * 64

mode, path, seed, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)


def message(number, command, body, flags=0, error=0):
    return struct.pack("<HHIII", number, command, 16 + len(body), flags, error) + body


def version(**more):
    caps = {"max_msg_fds": 8, "max_data_xfer_size": 1048576, "write_multiple": True, **more}
    return struct.pack("<HH", 0, 0) + json.dumps({"capabilities": caps}).encode() + b"\0"


ODD = [0, 1, 2, 7, 8, 0xFF, 0x1000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**40, 2**52, 2**63, 2**64 - 1, 2**64 - 4096]


def spoil(data):
    """A right message with something wrong."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        kind = chance.randrange(8)
        at = chance.randrange(len(data))
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at] = chance.randrange(256)
        elif kind == 2 and len(data) >= 24:
            at = 16 + 4 * chance.randrange((len(data) - 16) // 4)
            data[at:at + 4] = struct.pack("<I", chance.choice(ODD) & 0xFFFFFFFF)
        elif kind == 3 and len(data) >= 32:
            at = 16 + 8 * chance.randrange((len(data) - 16) // 8)
            data[at:at + 8] = struct.pack("<Q", chance.choice(ODD))
        elif kind == 4 and len(data) >= 8:
            size = chance.choice([0, 15, 16, 17, len(data) - 1, len(data) + 1, 2**20, 2**31])
            data[4:8] = struct.pack("<I", size & 0xFFFFFFFF)
        elif kind == 5 and len(data) > 17:
            # cut short, with the size that it has now
            data = data[:chance.randrange(16, len(data))]
            data[4:8] = struct.pack("<I", len(data))
        elif kind == 6 and len(data) >= 4:
            data[2:4] = struct.pack("<H", chance.choice([0, 1, 2, 3, 9, 11, 12, 14, 19, 255, 65535]))
        elif kind == 7:
            data += bytes(chance.randrange(256) for _ in range(chance.randrange(1, 64)))
            if len(data) >= 8 and chance.random() < 0.7:
                data[4:8] = struct.pack("<I", len(data))
    return bytes(data)


def odd_descriptors():
    """Some that are not what is wanted; the caller closes them."""
    made = []
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(5)
        if kind == 0:
            made.append(os.open("/dev/null", os.O_RDWR))
        elif kind == 1:
            made += os.pipe()
        elif kind == 2:
            made.append(os.memfd_create("empty"))
        elif kind == 3:
            made.append(os.open("/proc/self/mem", os.O_RDONLY))
        else:
            made.append(socket.socket(socket.AF_UNIX).detach())
    return made


def send(sock, data, fds=()):
    try:
        sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
        return True
    except (BrokenPipeError, ConnectionResetError, BlockingIOError, OSError):
        return False


def receive(sock, patience):
    """One whole message; None when there is none in time, or the other side has gone."""
    data = b""
    while len(data) < 16 or len(data) < struct.unpack_from("<I", data, 4)[0]:
        if not select.select([sock], [], [], patience)[0]:
            return None
        need = 16 - len(data) if len(data) < 16 else struct.unpack_from("<I", data, 4)[0] - len(data)
        try:
            part, ancillary, _, _ = sock.recvmsg(need, 4096)
        except OSError:
            return None
        for _, _, fds in ancillary:
            for fd in array.array("i", fds[:len(fds) & ~3]):
                os.close(fd)
        if not part:
            return None
        data += part
    return data


def attack_server():
    memory = os.memfd_create("client")
    os.ftruncate(memory, 4 * PAGE)
    view = mmap.mmap(memory, 4 * PAGE)
    # pages that a connection has mapped: a spoilt message may map others than the one that is meant
    mapped = set()
    spoilt = connections = 0

    def note_mapped(data):
        if len(data) < 48 or struct.unpack_from("<H", data, 2)[0] != 2:
            return
        offset, _, size = struct.unpack_from("<QQQ", data, 24)
        mapped.update(page for page in range(4) if offset < (page + 1) * PAGE and offset + size > page * PAGE)

    def look():
        """What the connection before has left, when its end was heard."""
        for page in {0, 1, 2, 3} - mapped:
            if view[page * PAGE:(page + 1) * PAGE] != SECRET * (PAGE // 64):
                print(f"page {page} of the memory has changed, which was not mapped")
        view[:] = SECRET * (4 * PAGE // 64)
        mapped.clear()

    view[:] = SECRET * (4 * PAGE // 64)

    def ask_feature(number):
        """DMA logging, states of the migration, and their data."""
        kind = chance.randrange(7)
        if kind == 0:
            return message(number, 16, struct.pack("<IIQIIQQ", 64, 0x20006, 4096, 1, 0, 0, PAGE))
        if kind == 1:
            return message(number, 16, struct.pack("<IIQQQ", 64, 0x10008, 0, 64 * PAGE, PAGE))
        if kind == 2:
            return message(number, 16, struct.pack("<II", 8, 0x20007))
        if kind == 3:
            return message(number, 16, struct.pack("<IIQ", 16, 0x10001, 0))
        if kind == 4:
            return message(number, 16, struct.pack("<IIIi", 16, 0x20002, chance.randrange(1, 8), -1))
        if kind == 5:
            size = chance.choice([0, 1, 100, 4096])
            return message(number, 17, struct.pack("<II", 8 + size, size))
        data = bytes(chance.randrange(256) for _ in range(chance.choice([0, 1, 100])))
        return message(number, 18, struct.pack("<II", 8 + len(data), len(data)) + data)

    def ask(number):
        """A right message, and the descriptors that go with it."""
        kind = chance.randrange(12)
        place = (chance.randrange(9), chance.choice([0, 4, 8, 0x20, 0x60, 0x64, 0x80, 0x88, 0x90, 0x98, 0x40000, 0xFFFFF]))
        size = chance.choice([1, 2, 4, 8, 16, 4096])
        if kind == 0:
            return message(number, 2, struct.pack("<IIQQQ", 32, 3, PAGE, PAGE, PAGE)), [memory]
        if kind == 1:
            return message(number, 2, struct.pack("<IIQQQ", 32, 3, 0, 16 * PAGE * chance.randrange(1, 8), PAGE)), []
        if kind == 2:
            return message(number, 3, struct.pack("<IIQQ", 24, chance.choice([0, 2]), 0, 0)), []
        if kind == 3:
            return message(number, 4, struct.pack("<IIII", 16, 0, 0, 0)), []
        if kind == 4:
            return message(number, 5, struct.pack("<IIIIQQ", chance.choice([32, 4096]), 0, place[0], 0, 0, 0)), []
        if kind == 5:
            return message(number, 7, struct.pack("<IIII", 16, 0, chance.randrange(5), 0)), []
        if kind == 6:
            return message(number, 8, struct.pack("<IIIII", 20, 0x24, chance.randrange(3), 0, 1)), [memory]
        if kind == 7:
            return message(number, 9, struct.pack("<QII", place[1], place[0], size)), []
        if kind == 8:
            data = bytes(chance.randrange(256) for _ in range(size))
            return message(number, 10, struct.pack("<QII", place[1], place[0], size) + data), []
        if kind == 9:
            return message(number, 13, b""), []
        if kind == 10:
            return ask_feature(number), []
        # the device moves memory: from and to what is mapped, and what is not
        where = chance.choice([PAGE, PAGE + 100, 2 * PAGE - 8, 0, 16 * PAGE, 2**40])
        writes = [(0x80, 8, 0x40000), (0x88, 8, where), (0x90, 8, chance.choice([8, 64, 4096])), (0x98, 4, 3)]
        body = struct.pack("<Q", len(writes))
        for offset, count, value in writes:
            body += struct.pack("<QIIQ", offset, 0, count, value)
        return message(number, 15, body), []

    while spoilt < wanted:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        sock.setblocking(False)
        connections += 1
        if chance.random() < 0.05:
            send(sock, spoil(message(1, 1, version())))
            spoilt += 1
        else:
            send(sock, message(1, 1, version()))
        if receive(sock, 2) is None:
            sock.close()
            continue
        look()
        send(sock, message(2, 10, struct.pack("<QII", 4, 7, 2) + b"\x06\x00"))
        receive(sock, 1)
        for number in range(3, chance.randint(10, 200)):
            data, fds = ask(number)
            is_spoilt = chance.random() < 0.6
            odd = odd_descriptors() if chance.random() < 0.1 else []
            if is_spoilt:
                data = spoil(data)
            spoilt += is_spoilt or odd != []
            if fds:
                note_mapped(data)
            sent = send(sock, data, fds + odd)
            for fd in odd:
                os.close(fd)
            if not sent:
                break
            answer = receive(sock, 0.02)
            # what it asks for itself is answered, rightly or not at all
            if answer and struct.unpack_from("<I", answer, 8)[0] & 1 == 0 and chance.random() < 0.8:
                their, command = struct.unpack_from("<HH", answer)
                reply = message(their, command, answer[16:32] + (b"\0" * 4096 if command == 11 else b""), 1)
                send(sock, spoil(reply) if chance.random() < 0.5 else reply)
        sock.close()
    time.sleep(0.2)
    look()
    print(f"done: {spoilt} spoilt messages, {connections} connections")


CONFIG = bytearray(256)
struct.pack_into("<HHHHI", CONFIG, 0, 0x1234, 0x11E8, 0, 0x10, 0xFF000010)
CONFIG[0x34], CONFIG[0x3D] = 0x40, 1
CONFIG[0x40:0x44] = b"\x05\x00\x80\x00"


def attack_client():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    shared = os.memfd_create("region")
    os.ftruncate(shared, 5 * PAGE)
    spoilt = connections = 0
    print("ready", flush=True)

    def answer(command, body):
        if command == 1:
            return version(migration={"pgsize": PAGE})
        if command == 4:
            return struct.pack("<IIII", 16, 3, 9, 5)
        if command == 5 and len(body) >= 12:
            index = struct.unpack_from("<I", body, 8)[0]
            if index == 1:
                sparse = struct.pack("<HHIIIQQQQ", 1, 1, 0, 2, 0, 0, PAGE, 2 * PAGE, PAGE)
                return struct.pack("<IIIIQQ", 32 + len(sparse), 15, 1, 32, 4 * PAGE, PAGE) + sparse
            return struct.pack("<IIIIQQ", 32, 3, index, 0, {0: 2**20, 7: 256}.get(index, 0), 0)
        if command == 7 and len(body) >= 12:
            index = struct.unpack_from("<I", body, 8)[0]
            return struct.pack("<IIII", 16, 7, index, 1 if index < 2 else 0)
        if command == 9 and len(body) >= 16:
            offset, region, count = struct.unpack_from("<QII", body)
            data = bytes(CONFIG[offset:offset + count]) if region == 7 else bytes(count)
            return body[:16] + data
        if command == 10:
            return body[:16]
        if command == 3:
            return body[:24]
        if command == 16 and len(body) >= 8:
            return feature(*struct.unpack_from("<II", body), body)
        if command == 17:
            count = chance.choice([0, 0, 1, 5000])
            return struct.pack("<II", 8 + count, count) + bytes(count)
        return b""

    def feature(size, flags, body):
        what = flags & 0xFFFF
        if what == 1:
            return struct.pack("<IIQ", 16, flags, 3)
        if what == 9:
            return struct.pack("<IIQ", 16, flags, chance.choice([0, 100, 2**40]))
        if what == 2 and flags & 0x10000:
            return struct.pack("<IIIi", 16, flags, chance.randrange(8), -1)
        if what == 8:
            return body[:32] + bytes(chance.randrange(256) for _ in range(8))
        return body

    def intrude(sock):
        """What a server may ask for by itself, mostly beyond what is mapped."""
        address = chance.choice([0, PAGE, 2 * PAGE - 4, 2 * PAGE, 3 * PAGE, 2**32, 2**63, 2**64 - 8])
        count = chance.choice([0, 1, 8, 64, PAGE, 2**20, 2**21, 2**40])
        if chance.random() < 0.5:
            asked = message(7777, 11, struct.pack("<QQ", address, count))
        else:
            data = b"W" * min(count, 8192)
            asked = message(7777, 12, struct.pack("<QQ", address, chance.choice([count, len(data)])) + data)
        send(sock, spoil(asked) if chance.random() < 0.4 else asked)

    while spoilt < wanted:
        if not select.select([listener], [], [], 10)[0]:
            print("nobody has come for 10 s")
            break
        sock, _ = listener.accept()
        sock.setblocking(False)
        connections += 1
        # some begin to be wrong at once, most when the device is known
        calm = chance.choice([0, 10, 100, 130, 160, 200])
        while True:
            asked = receive(sock, 2)
            if asked is None:
                break
            number, command, _, flags, _ = struct.unpack_from("<HHIII", asked)
            if flags & 1:
                if number == 7777 and command == 11 and not flags & ERROR:
                    address, count = struct.unpack_from("<QQ", asked, 16)
                    if not PAGE <= address <= address + count <= 2 * PAGE:
                        print(f"{count} bytes at {address:#x} were read, which is not mapped")
                if number == 7777 and not flags & ERROR and SECRET in asked:
                    print("a secret was read")
                continue
            if flags & NO_REPLY:
                continue
            calm -= 1
            if calm < 0 and chance.random() < 0.2:
                intrude(sock)
                spoilt += 1
            reply = message(number, command, answer(command, asked[16:]), 1)
            # the region's memory is sometimes cut, or grows again
            if chance.random() < 0.001:
                os.ftruncate(shared, chance.choice([0, PAGE, 5 * PAGE]))
            odd = []
            own = [shared] if command == 5 and len(asked) >= 28 and asked[24] == 1 else []
            if calm < 0 and chance.random() < 0.3:
                spoilt += 1
                kind = chance.randrange(10)
                if kind == 0:
                    reply = message(number, command, b"", 1 | ERROR, chance.choice([0, 1, 22, 4095, 2**32 - 1]))
                elif kind == 1:
                    odd = odd_descriptors()
                elif kind == 2:
                    break
                elif kind == 3 and chance.random() < 0.2:
                    continue
                else:
                    reply = spoil(reply)
            sent = send(sock, reply, odd or own)
            for fd in odd:
                os.close(fd)
            if not sent:
                break
        sock.close()
    print(f"done: {spoilt} spoilt messages, {connections} connections")


(attack_server if mode == "client" else attack_client)()
