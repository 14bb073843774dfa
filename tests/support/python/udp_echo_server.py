"""A datagram server that says what it hears: udp_echo_server.py ADDRESS PORT [FILE]. While FILE exists it says "sorry"."""

from __future__ import annotations

import os
import socket
import sys


def main() -> None:
    wrong = sys.argv[3] if len(sys.argv) > 3 else ""
    with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((sys.argv[1], int(sys.argv[2])))
        while True:
            heard, sender = server.recvfrom(2048)
            server.sendto(b"sorry" if wrong and os.path.exists(wrong) else heard, sender)


if __name__ == "__main__":
    main()
