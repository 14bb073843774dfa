"""Captures for benchmarks: one frame of each of many TCP flows, in the middle of its connection."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path

PORT_MAC = "02:00:00:00:00:01"
ROUTER_MAC = "02:00:00:00:00:fe"
VIP = "203.0.113.10"
VIP_PORT = 80
# RFC 2544's range for benchmarks, from its second address on: one client a flow.
FIRST_CLIENT = ipaddress.IPv4Address("198.18.0.1")
MOST_FLOWS = 2 ** 17 - 2
FIRST_CLIENT_PORT, CLIENT_PORTS = 1024, 60_000
FRAME_BYTES = 60  # 64 on the wire, with the checksum that the device adds
TCP_ACK = 0x10


def checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def frame(flow: int) -> bytes:
    """An ACK without data from client number `flow` to the VIP, padded to the shortest frame."""
    client, vip = (FIRST_CLIENT + flow).packed, ipaddress.IPv4Address(VIP).packed
    ports = struct.pack("!HH", FIRST_CLIENT_PORT + flow * 7919 % CLIENT_PORTS, VIP_PORT)
    tcp = ports + struct.pack("!IIBBHHH", flow, flow + 1, 5 << 4, TCP_ACK, 8192, 0, 0)
    tcp_sum = checksum(client + vip + struct.pack("!HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", tcp_sum) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), flow & 0xffff, 0x4000, 64, 6, 0) + client + vip
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    ethernet = bytes.fromhex((PORT_MAC + ROUTER_MAC).replace(":", "")) + b"\x08\x00"
    return (ethernet + ip + tcp).ljust(FRAME_BYTES, b"\0")


def frames(flows: int) -> Iterator[bytes]:
    if not 0 < flows <= MOST_FLOWS:
        raise ValueError(f"{flows} flows; allowed: 1 to {MOST_FLOWS}")
    return map(frame, range(flows))


def write_capture(path: Path, flows: int) -> None:
    """A pcap file with a frame of each flow, a microsecond apart."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for number, data in enumerate(frames(flows)):
            file.write(struct.pack("<IIII", number // 1_000_000, number % 1_000_000, len(data), len(data)) + data)
