#!/usr/bin/python3
"""A TCP session as BGP keeps one: both ends send a message of 19 bytes, but 50 times a second.

    keepalives.py listen|connect ADDRESS PORT SECONDS

Says `ready` when it listens; at the end one line of JSON: messages sent and received, the longest time without one, and
how many segments the kernel had to send again.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

MESSAGE = b"\xff" * 16 + struct.pack("!HB", 19, 4)  # RFC 4271 4.4
INTERVAL = 0.02  # seconds


def open_session(role: str, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if role == "connect":
        return socket.create_connection((address, port), timeout=10)
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        print("ready", flush=True)
        listener.settimeout(20)
        return listener.accept()[0]


def keep_alive(session: socket.socket, seconds: float) -> dict[str, float]:
    session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    session.setblocking(False)
    begun = heard = time.monotonic()
    sent, received, longest = 0, 0, 0.0
    while (now := time.monotonic()) < begun + seconds + 1:  # the last second only listens
        if now < begun + seconds and now >= begun + sent * INTERVAL:
            session.sendall(MESSAGE)
            sent += 1
        if select.select([session], [], [], 0.002)[0]:
            heard_now = session.recv(65536)
            if not heard_now:
                break  # the other end has listened for its last second: no message, and no silence either
            received += len(heard_now)
            now = time.monotonic()
            longest, heard = max(longest, now - heard), now
    again = struct.unpack_from("I", session.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0]
    return {"sent": sent, "received": received / len(MESSAGE), "longest_gap": longest, "sent_again": again}


def main() -> int:
    role, address, port, seconds = sys.argv[1:]
    with open_session(role, address, int(port)) as session:
        print(json.dumps(keep_alive(session, float(seconds))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
