"""TCP servers that mean no good: hostile_server.py KIND=ADDRESS:PORT ...

`endless`: a header line without end, as fast as it goes. `drip`: one byte a second. `flood`: 200, and ten million bytes.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable

BLOCK = b"x" * 65536
FLOOD_BYTES = 10_000_000


def endless(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        client.sendall(BLOCK)


def drip(client: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + BLOCK:
        client.sendall(bytes([byte]))
        time.sleep(1)


def flood(client: socket.socket) -> None:
    client.recv(4096)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % FLOOD_BYTES)
    for _ in range(0, FLOOD_BYTES, 100_000):
        client.sendall(b"x" * 100_000)


KINDS: dict[str, Callable[[socket.socket], None]] = {"endless": endless, "drip": drip, "flood": flood}


def talk(kind: str, client: socket.socket) -> None:
    with client:
        try:
            KINDS[kind](client)
        except OSError:
            pass  # the probe has had enough


def serve(kind: str, server: socket.socket) -> None:
    while True:
        client, _ = server.accept()
        threading.Thread(target=talk, args=(kind, client), daemon=True).start()


def main() -> None:
    for word in sys.argv[1:]:
        kind, place = word.split("=")
        address, port = place.rsplit(":", 1)
        server = socket.create_server((address, int(port)))
        threading.Thread(target=serve, args=(kind, server)).start()


if __name__ == "__main__":
    main()
