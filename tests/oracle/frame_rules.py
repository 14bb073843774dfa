"""What a received frame is, by plain bytes: link layer, IPv4, IPv6 and its extension chain.

Returns a Finding: `reasons` are all the drop reasons that are true of the frame (weir names one of them),
empty if nothing forbids it. `may_pass` marks the few cases that the contract leaves open.
L4 and destinations are judged in transport_rules.py.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from support.python.checksum import is_valid

ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x86DD
BROADCAST = b"\xff" * 6
SOLICITED_NODE_MAC = b"\x33\x33\xff"
SOLICITED_NODE_PREFIX = bytes.fromhex("ff0200000000000000000001ff")

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS)
MAX_EXTENSIONS = 8
LOOSE_SOURCE_ROUTE, STRICT_SOURCE_ROUTE = 131, 137
V4_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(slots=True)
class Packet:
    """An IP packet in a frame. Offsets are from the frame's first byte."""

    family: int
    length: int  # of the IP packet: what is behind it is Ethernet padding
    source: bytes
    destination: bytes
    tos: int
    protocol: int = 0
    transport: int = 0  # offset of the L4 header
    fragmented: bool = False
    extended: bool = False  # has IPv6 extension headers
    dont_fragment: bool = True
    identification: int = 0

    @property
    def end(self) -> int:
        return 14 + self.length


@dataclass(slots=True)
class Finding:
    reasons: set[str] = field(default_factory=set)
    may_pass: bool = False
    packet: Packet | None = None
    walkable: bool = True  # the extension chain leads to a transport header


def link_reasons(frame: bytes, port_mac: bytes) -> set[str]:
    """Of an untagged frame: vlan_rules.py has been before."""
    if len(frame) < 14:
        return {"runt_frame"}
    reasons = set()
    source, ether_type = frame[6:12], frame[12] << 8 | frame[13]
    if source[0] & 1 or not any(source):
        reasons.add("bad_source_mac")
    if ether_type not in (ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6):
        reasons.add("unknown_ethertype")
    if frame[0] & 1:
        if "unknown_ethertype" in reasons:
            reasons.add("not_our_mac")
        if ether_type == ETHERTYPE_IPV4:
            reasons.add("not_our_mac")
    elif frame[:6] != port_mac:
        reasons.add("not_our_mac")
    return reasons


# --- IPv4: RFC 791, RFC 1812 5.2.2 ---------------------------------------------------------------------


def read_ipv4(frame: bytes) -> Finding:
    room = len(frame) - 14
    if room < 20:
        return Finding({"ip_truncated"})
    header = (frame[14] & 15) * 4
    total = frame[16] << 8 | frame[17]
    reasons = set()
    if frame[14] >> 4 != 4:
        reasons.add("ip_version")
    if header < 20 or total < header:
        reasons.add("ip_header_length")
    if header > room or total > room:
        reasons.add("ip_truncated")
    if 20 <= header <= room and not is_valid(frame[14:14 + header]):
        reasons.add("ip_checksum")
    if header > 20 and header <= room and not options_are_good(frame[34:14 + header]):
        reasons.add("ip_options")
    source, destination = frame[26:30], frame[30:34]
    if is_martian_v4(source) or source == destination:
        reasons.add("ip_martian_source")
    if is_martian_v4(destination):
        reasons.add("ip_martian_destination")
    if frame[22] == 0:
        reasons.add("ttl_expired")
    fragment = frame[20] << 8 | frame[21]
    packet = Packet(4, total, source, destination, frame[15], frame[23], 14 + header, bool(fragment & 0x3FFF),
                    False, bool(fragment & 0x4000), frame[18] << 8 | frame[19])
    return Finding(reasons, False, packet)


def is_martian_v4(address: bytes) -> bool:
    """0/8, 127/8, multicast, class E and broadcast."""
    return address[0] in (0, 127) or address[0] >= 224


def options_are_good(options: bytes) -> bool:
    """Every option lies inside the header and none is a source route (RFC 791 3.1)."""
    offset = 0
    while offset < len(options):
        kind = options[offset]
        if kind == 0:
            return True
        if kind == 1:
            offset += 1
            continue
        if offset + 1 >= len(options) or kind in (LOOSE_SOURCE_ROUTE, STRICT_SOURCE_ROUTE):
            return False
        length = options[offset + 1]
        if length < 2 or offset + length > len(options):
            return False
        offset += length
    return True


# --- IPv6: RFC 8200 ------------------------------------------------------------------------------------


def read_ipv6(frame: bytes) -> Finding:
    room = len(frame) - 14
    if room < 40:
        return Finding({"ip_truncated"})
    length = 40 + (frame[18] << 8 | frame[19])
    reasons = set()
    if frame[14] >> 4 != 6:
        reasons.add("ip_version")
    if length > room:
        reasons.add("ip_truncated")
    source, destination = frame[22:38], frame[38:54]
    if is_martian_v6(source) or source == destination:
        reasons.add("ip_martian_source")
    if is_martian_v6(destination):
        reasons.add("ip_martian_destination")
    if frame[21] == 0:
        reasons.add("ttl_expired")
    packet = Packet(6, length, source, destination, (frame[14] & 15) << 4 | frame[15] >> 4)
    finding = Finding(reasons, False, packet)
    if "ip_truncated" not in reasons:
        walk_extensions(frame, finding, packet)
    return finding


def is_martian_v6(address: bytes) -> bool:
    """::, ::1, multicast, link-local and IPv4-mapped."""
    if address[0] == 0xFF or address[0] == 0xFE and address[1] & 0xC0 == 0x80:
        return True
    return address[:12] == V4_MAPPED or address[:15] == bytes(15) and address[15] < 2


def walk_extensions(frame: bytes, finding: Finding, packet: Packet) -> None:
    """Sets protocol and transport; adds `ext_chain` for what may not stand before a transport header."""
    kind, offset, end, seen, fragments = frame[20], 54, packet.end, 0, 0
    while kind in EXTENSIONS:
        seen += 1
        if seen > MAX_EXTENSIONS or offset + 8 > end or kind == HOP_BY_HOP and seen > 1:
            finding.reasons.add("ext_chain")
            finding.walkable = False
            return
        size = 8 if kind == FRAGMENT else 8 + frame[offset + 1] * 8
        if offset + size > end:
            finding.reasons.add("ext_chain")
            finding.walkable = False
            return
        if kind == ROUTING and (frame[offset + 2] == 0 or frame[offset + 3] != 0):
            finding.reasons.add("ext_chain")
        if kind == FRAGMENT:
            fragments += 1
            if (frame[offset + 2] << 8 | frame[offset + 3]) & 0xFFF9:
                packet.fragmented = True
                finding.walkable = "ext_chain" not in finding.reasons
                packet.protocol = frame[offset]
                return
        kind = frame[offset]
        offset += size
    finding.walkable = "ext_chain" not in finding.reasons
    if fragments > 1:  # two atomic fragment headers: no RFC says; dropping them is as good
        finding.reasons.add("ext_chain")
        finding.may_pass = finding.reasons == {"ext_chain"}
    packet.protocol, packet.transport, packet.extended = kind, offset, seen > 0
