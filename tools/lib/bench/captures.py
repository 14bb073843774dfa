"""Captures for benchmarks: one frame of each of many flows, of TCP in the middle of its connection."""

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
UDP_PAYLOAD = 12  # then as long as a TCP header
PROTOCOLS = {"tcp": 6, "udp": 17}


def checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def l4_message(flow: int, protocol: str, checked: int = 0) -> bytes:
    """An ACK without data, or a datagram as long."""
    ports = struct.pack("!HH", FIRST_CLIENT_PORT + flow * 7919 % CLIENT_PORTS, VIP_PORT)
    if protocol == "udp":
        return ports + struct.pack("!HH", 8 + UDP_PAYLOAD, checked) + bytes(UDP_PAYLOAD)
    return ports + struct.pack("!IIBBHHH", flow, flow + 1, 5 << 4, TCP_ACK, 8192, checked, 0)


def frame(flow: int, protocol: str) -> bytes:
    """A packet from client number `flow` to the VIP, padded to the shortest frame."""
    client, vip = (FIRST_CLIENT + flow).packed, ipaddress.IPv4Address(VIP).packed
    number, bare = PROTOCOLS[protocol], l4_message(flow, protocol)
    l4 = l4_message(flow, protocol, checksum(client + vip + struct.pack("!HH", number, len(bare)) + bare))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(l4), flow & 0xffff, 0x4000, 64, number, 0) + client + vip
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    ethernet = bytes.fromhex((PORT_MAC + ROUTER_MAC).replace(":", "")) + b"\x08\x00"
    return (ethernet + ip + l4).ljust(FRAME_BYTES, b"\0")


def frames(flows: int, protocol: str = "tcp") -> Iterator[bytes]:
    if not 0 < flows <= MOST_FLOWS:
        raise ValueError(f"{flows} flows; allowed: 1 to {MOST_FLOWS}")
    return (frame(flow, protocol) for flow in range(flows))


def write_capture(path: Path, flows: int, protocol: str = "tcp") -> None:
    """A pcap file with a frame of each flow, a microsecond apart."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for number, data in enumerate(frames(flows, protocol)):
            file.write(struct.pack("<IIII", number // 1_000_000, number % 1_000_000, len(data), len(data)) + data)
