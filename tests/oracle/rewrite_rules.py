"""What a backend must receive: the frame that each forwarding mode makes of a packet, written out anew.

Two fields are weir's to choose, from its flow hash: the outer IPv6 flow label and GUE's UDP source port.
`read_entropy` takes them from weir's output, the caller checks range and constancy, all else is exact.
"""
from __future__ import annotations

import struct
from typing import NamedTuple

from oracle.frame_rules import Packet
from oracle.world import TUNNEL_OVERHEAD, UDP, Backend
from support.python.checksum import checksum, pseudo_header

OUTER_TTL = 64
GUE_PORT = 6080
GUE_SOURCE_PORTS = range(49152, 65536)
IN_IP = {4: 4, 6: 41}  # protocol numbers of encapsulated IPv4 and IPv6


class Entropy(NamedTuple):
    flow_label: int = 0
    source_port: int = 0
    checksum: int = 0  # outer UDP over IPv6; not entropy, but see gue_checksum


def outer_length(backend: Backend, mode: str, packet: Packet) -> int:
    """Length of the IP packet that leaves: what the egress port's MTU limits."""
    if mode == "dsr":
        return packet.length
    return packet.length + (20 if backend.family == 4 else 40) + TUNNEL_OVERHEAD[mode]


def read_entropy(output: bytes, backend: Backend, mode: str) -> Entropy:
    if mode == "dsr" or len(output) < 62:
        return Entropy()
    label = 0 if backend.family == 4 else int.from_bytes(output[15:18], "big") & 0xFFFFF
    offset = 34 if backend.family == 4 else 54
    if mode != "gue":
        return Entropy(label)
    port, field = (int.from_bytes(output[at:at + 2], "big") for at in (offset, offset + 6))
    return Entropy(label, port, field if backend.family == 6 else 0)


def same_entropy(one: Entropy, other: Entropy) -> bool:
    return (one.flow_label, one.source_port) == (other.flow_label, other.source_port)


def entropy_problem(entropy: Entropy, mode: str) -> str:
    if mode == "gue" and entropy.source_port not in GUE_SOURCE_PORTS:
        return f"GUE source port {entropy.source_port} is not in 49152-65535"
    return ""


def expected_frame(frame: bytes, packet: Packet, backend: Backend, mode: str, mac: bytes,
                   entropy: Entropy) -> bytes:
    """`mac` is the next hop's."""
    link = mac + backend.egress.mac
    if mode == "dsr":
        return link + frame[12:]  # Ethernet padding and all
    inner = frame[14:packet.end]
    if mode == "ipip":
        return link + outer_ip(packet, backend, IN_IP[packet.family], len(inner), entropy) + inner
    gue = bytes((0, IN_IP[packet.family], 0, 0)) + inner
    length = len(gue) + 8
    udp = struct.pack("!HHHH", entropy.source_port, GUE_PORT, length, 0)
    if backend.family == 6:
        udp = udp[:6] + gue_checksum(packet, backend, udp, gue, entropy.checksum).to_bytes(2, "big")
    return link + outer_ip(packet, backend, UDP, length, entropy) + udp + gue


def gue_checksum(packet: Packet, backend: Backend, udp: bytes, gue: bytes, claimed: int) -> int:
    """The outer UDP checksum over IPv6. weir derives it from the inner L4 checksum without summing the payload
    (DESIGN.md section 5): where that one is wrong, the outer may be wrong by the same amount (`claimed`)."""
    source = backend.egress.own_address(6) or b""
    outer = pseudo_header(source, backend.address, UDP, len(gue) + 8) + udp
    right = checksum(outer, gue) or 0xFFFF
    at = 4 + packet.transport - 14  # inner L4 header in `gue`
    segment = gue[at:]
    partial = packet.protocol == UDP and (segment[6:8] == b"\0\0" or int.from_bytes(segment[4:6], "big") != len(segment))
    if claimed == right or partial:
        return right
    inner = pseudo_header(packet.source, packet.destination, packet.protocol, len(segment))
    derived = checksum(outer, gue[:at], checksum(inner).to_bytes(2, "big")) or 0xFFFF
    return derived if claimed == derived else right


def outer_ip(packet: Packet, backend: Backend, protocol: int, payload: int, entropy: Entropy) -> bytes:
    """EtherType and outer IP header."""
    source = backend.egress.own_address(backend.family)
    if source is None:
        raise ValueError(f"port {backend.egress.name} has no IPv{backend.family} address")
    if backend.family == 6:
        first = 6 << 28 | packet.tos << 20 | entropy.flow_label
        return b"\x86\xdd" + struct.pack("!IHBB", first, payload, protocol, OUTER_TTL) + source + backend.address
    header = struct.pack("!BBHHHBBH", 0x45, packet.tos, 20 + payload,
                         0 if packet.dont_fragment else packet.identification,
                         0x4000 if packet.dont_fragment else 0, OUTER_TTL, protocol, 0) + source + backend.address
    return b"\x08\x00" + header[:10] + checksum(header).to_bytes(2, "big") + header[12:]


def first_difference(expected: bytes, output: bytes) -> str:
    """In words: where two frames part."""
    for offset, (want, got) in enumerate(zip(expected, output)):
        if want != got:
            return f"byte {offset}: expected {want:02x}, got {got:02x}"
    return f"length: expected {len(expected)}, got {len(output)}"
