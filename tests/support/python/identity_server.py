"""Servers that say whom a PROXY header names: `tcp` speaks first, before it has read a byte of the client's, and then
echoes; `udp` answers each datagram with the client and the payload. One line, `ready`, when it listens.

    identity_server.py tcp|udp PORT
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
import threading

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def named(header: bytes) -> str:
    """CLIENT PORT VIP PORT TRANSPORT of a whole PROXY v2 header (proxy-protocol.txt 2.2)."""
    assert header[:12] == SIGNATURE and header[12] == 0x21, header
    size = 4 if header[13] >> 4 == 1 else 16
    client, vip = (ipaddress.ip_address(header[at:at + size]) for at in (16, 16 + size))
    ports = struct.unpack_from("!HH", header, 16 + 2 * size)
    return f"{client} {ports[0]} {vip} {ports[1]} {header[13] & 15}"


def length_of(start: bytes) -> int:
    return 16 + int(struct.unpack_from("!H", start, 14)[0])


def exactly(connection: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        more = connection.recv(count - len(got))
        if not more:
            raise EOFError(f"{len(got)} of {count} bytes")
        got += more
    return got


def converse(connection: socket.socket) -> None:
    with connection:
        start = exactly(connection, 16)
        header = start + exactly(connection, length_of(start) - 16)
        connection.sendall(f"hello {named(header)}\n".encode())
        while more := connection.recv(65536):
            connection.sendall(more)


def serve_tcp(port: int) -> None:
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128) as listener:
        print("ready", flush=True)
        while True:
            threading.Thread(target=converse, args=(listener.accept()[0],), daemon=True).start()


def serve_udp(port: int) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as endpoint:
        endpoint.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        endpoint.bind(("::", port))
        print("ready", flush=True)
        while True:
            datagram, sender = endpoint.recvfrom(65536)
            end = length_of(datagram)
            endpoint.sendto(f"{named(datagram[:end])} ".encode() + datagram[end:], sender)


if __name__ == "__main__":
    {"tcp": serve_tcp, "udp": serve_udp}[sys.argv[1]](int(sys.argv[2]))
