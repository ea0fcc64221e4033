"""
A plugin of pytest that turns libvfio-user's own tests against `uvfio device-server`: what sets up a server in this process does
nothing, and the server that is asked is the one that UVFIO_SERVER_COMMAND (JSON) starts.
"""
import json
import os
import subprocess
import time

import libvfio_user as lib

server = None


def create(*args, **kwargs):
    """One server for all tests: it serves one client after the other."""
    global server
    if server is None:
        path = lib.SOCK_PATH.decode()
        server = subprocess.Popen(json.loads(os.environ["UVFIO_SERVER_COMMAND"]) + ["--socket", path])
        for _ in range(1000):
            if os.path.exists(path) or server.poll() is not None:
                break
            time.sleep(0.02)
    return server


def nothing(*args, **kwargs):
    return 0


for name in list(vars(lib)):
    if name.startswith("vfu_") and callable(getattr(lib, name)) and not isinstance(getattr(lib, name), type):
        setattr(lib, name, nothing)


def old_callbacks(ctx, callbacks=None, *args, **kwargs):
    """The library refuses those of an older version of it."""
    return -1 if callbacks is not None and callbacks.version == 1 else 0


lib.vfu_setup_device_migration_callbacks = old_callbacks
sockets = []
connect = lib.connect_sock


def connect_one():
    """One client at a time: tests forget some."""
    for sock in sockets:
        sock.close()
    for _ in range(100):
        try:
            sockets[:] = [connect()]
            break
        except ConnectionRefusedError:
            # the socket is there a moment before somebody listens
            time.sleep(0.02)
    # an answer that does not come is a failure
    sockets[0].settimeout(5)
    return sockets[0]


lib.connect_sock = connect_one
lib.vfu_create_ctx = create
lib.prepare_ctx_for_dma = create


def pytest_collection_modifyitems(config, items):
    """--deselect takes each name as the beginning of others."""
    left_out = json.loads(os.environ["UVFIO_LEFT_OUT"])
    gone = [item for item in items if item.nodeid.split("[")[0] in left_out]
    config.hook.pytest_deselected(items=gone)
    items[:] = [item for item in items if item not in gone]
    found = {item.nodeid.split("[")[0] for item in gone}
    assert found == set(left_out), f"not there: {set(left_out) - found}"


def pytest_unconfigure(config):
    if server is not None:
        server.terminate()
        server.wait()
