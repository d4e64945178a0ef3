"""Stands for the serving process in tests of the supervisor and of `up`: takes the same arguments,
answers every request with its pid. FAKE_SERVING says how it misbehaves; a configuration with "# not
so" in it is wrong to it alone."""

import argparse
import base64
import json
import os
import signal
import socket
import sys
import threading

parser = argparse.ArgumentParser()
for name in ("--port-fd", "--socket-fd", "--keys-fd", "--ready-fd"):
    parser.add_argument(name, type=int, required=True)
told = parser.parse_args()

mode = os.environ.get("FAKE_SERVING", "")
if record := os.environ.get("FAKE_STARTS"):
    with open(record, "a") as file:
        file.write(f"{os.getpid()}\n")
if mode.startswith("exit:"):
    print("fake: something is wrong", file=sys.stderr)
    sys.exit(int(mode.removeprefix("exit:")))

with os.fdopen(told.keys_fd) as pipe:
    handed = json.loads(pipe.read())
keys = handed["keys"]
if any(b"# not so" in base64.b64decode(content) for content in handed["files"].values()):
    print("agentwatch: this is not so", file=sys.stderr)
    sys.exit(78)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

unix, port = socket.socket(fileno=told.socket_fd), socket.socket(fileno=told.port_fd)


def answer(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            asked = connection.recv(65536)
            about = {
                "status": "ok",
                "version": "0",
                "pid": os.getpid(),
                "port": port.getsockname()[1],
                "socket": os.fsdecode(unix.getsockname()),
                "keys": sorted(keys),
                "state_url": "sqlite",
                "started_at": 1.0,
                "sessions": 2,
                "fail_open": {"undurable": 1},
            }
            body = json.dumps(about).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
            if asked.startswith(b"POST /v1/restart"):
                os._exit(75)


threading.Thread(target=answer, args=(port,), daemon=True).start()
if mode != "mute":
    os.write(told.ready_fd, json.dumps({"pid": os.getpid()}).encode() + b"\n")
answer(unix)
