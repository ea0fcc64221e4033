"""
Saves the state of QEMU's edu over vfio-user, changes the device, and puts the state back.

    vfio_user_migration.py SOCKET
"""
import socket
import struct
import sys

GET, SET = 1 << 16, 1 << 17
MIGRATION, STATE = 1, 2
STOP, RUNNING, STOP_COPY, RESUMING = 1, 2, 3, 4

peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.settimeout(10)


def ask(command, body):
    peer.send(struct.pack("<HHIII", 1, command, 16 + len(body), 0, 0) + body)
    data = b""
    while len(data) < 16 or len(data) < struct.unpack_from("<I", data, 4)[0]:
        data += peer.recv(65536)
    flags, error = struct.unpack_from("<II", data, 8)
    if flags & 0x20:
        sys.exit(f"command {command} is refused: errno {error}")
    return data[16:]


def go(state):
    ask(16, struct.pack("<IIIi", 16, SET | STATE, state, -1))


def factorial(of=None):
    if of is not None:
        ask(10, struct.pack("<QII", 8, 0, 4) + struct.pack("<I", of))
    return struct.unpack("<I", ask(9, struct.pack("<QII", 8, 0, 4))[16:])[0]


ask(1, struct.pack("<HH", 0, 0))
ask(10, struct.pack("<QII", 4, 7, 2) + b"\x06\x00")
print("can", struct.unpack_from("<Q", ask(16, struct.pack("<IIQ", 16, GET | MIGRATION, 0)), 8)[0])
print("factorial", factorial(7))
go(STOP_COPY)
saved = b""
while True:
    part = ask(17, struct.pack("<II", 8, 1000))[8:]
    if not part:
        break
    saved += part
go(RUNNING)
print("changed", factorial(5))
go(RESUMING)
for at in range(0, len(saved), 777):
    part = saved[at:at + 777]
    ask(18, struct.pack("<II", 8 + len(part), len(part)) + part)
go(RUNNING)
print("restored", factorial())
