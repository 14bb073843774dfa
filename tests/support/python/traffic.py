"""Typical packets of clients, and what each forwarding mode makes of them: scapy's view, not weir's.

Addresses are those of tests/replay/configs/one_arm.cfg.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, PadN
from scapy.layers.l2 import Ether
from scapy.packet import Raw

CLIENT_MAC = "02:00:00:00:00:fe"  # the router: clients are behind it
WEIR_MAC = "02:00:00:00:00:01"
SERVER_MAC = "02:00:00:00:01:11"
CLIENT = {4: "198.51.100.7", 6: "2001:db8:c::7"}
WEIR = {4: "10.1.0.2", 6: "fd00:1::2"}
SERVER = {4: "10.1.0.11", 6: "fd00:1::11"}


def vip(family: int, number: int) -> str:
    return f"203.0.113.{number}" if family == 4 else f"2001:db8:1::{number}"


def link() -> Any:
    return Ether(src=CLIENT_MAC, dst=WEIR_MAC)


def ip(family: int, destination: str, source: str | None = None, **fields: Any) -> Any:
    """An IP header from the usual client. `ttl` and `tos` also name IPv6's fields."""
    if family == 4:
        return IP(src=source or CLIENT[4], dst=destination, **fields)
    renamed = {{"ttl": "hlim", "tos": "tc"}.get(key, key): value for key, value in fields.items()}
    return IPv6(src=source or CLIENT[6], dst=destination, **renamed)


def typical_packets(family: int, destination: str) -> Iterator[bytes]:
    """What a service on L4 port 80 receives: handshakes, data of even and odd length, options, odd TTLs."""
    def frame(header: Any, transport: Any, payload: bytes = b"") -> bytes:
        return bytes(link() / header / transport / Raw(payload))

    yield frame(ip(family, destination), TCP(sport=4001, dport=80, flags="S", options=[("MSS", 1460), ("WScale", 7)]))
    yield frame(ip(family, destination), TCP(sport=4001, dport=80, flags="A", seq=1))
    yield frame(ip(family, destination), TCP(sport=4001, dport=80, flags="PA", seq=1), b"GET / HTTP/1.1\r\n\r\n")
    yield frame(ip(family, destination), TCP(sport=4001, dport=80, flags="FA", seq=19))
    yield frame(ip(family, destination), UDP(sport=4002, dport=80), b"odd")
    yield frame(ip(family, destination), UDP(sport=4002, dport=80), b"even")
    yield frame(ip(family, destination), UDP(sport=4003, dport=80))
    yield frame(ip(family, destination), UDP(sport=4004, dport=80, chksum=0x1234), b"its checksum is not weir's business")
    yield frame(ip(family, destination, ttl=1), UDP(sport=4005, dport=80), b"TTL 1: weir is no hop")
    yield frame(ip(family, destination, tos=0xB9), TCP(sport=4006, dport=80), b"EF, ECT(1)")
    if family == 4:
        yield frame(ip(4, destination, flags="DF", id=77), TCP(sport=4007, dport=80), b"DF: the outer id is 0")
        yield frame(ip(4, destination, id=0xBEEF), TCP(sport=4007, dport=80), b"no DF: the id is copied")
        yield frame(ip(4, destination, options=[IPOption_NOP(), IPOption_Router_Alert()]), UDP(sport=4008, dport=80), b"options")
    else:
        yield frame(ip(6, destination, fl=0xABCDE), TCP(sport=4007, dport=80), b"a flow label of its own")
        chain = ip(6, destination) / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]) / \
            IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
        yield frame(chain, UDP(sport=4008, dport=80), b"behind extension headers")


# --- what becomes of them ------------------------------------------------------------------------------


def tagged(frame: bytes, *ids: int, priority: int = 0, outer_type: int = 0x88A8) -> bytes:
    """The frame in a VLAN, or in two, the outer one first."""
    kinds = [outer_type, 0x8100] if len(ids) == 2 else [0x8100] * len(ids)
    tags = b"".join(kind.to_bytes(2, "big") + (priority << 13 | vlan).to_bytes(2, "big")
                    for kind, vlan in zip(kinds, ids))
    return frame[:12] + tags + frame[12:]


def by_dsr(frame: bytes, mac: str = SERVER_MAC) -> bytes:
    return bytes(Ether(src=WEIR_MAC, dst=mac, type=int.from_bytes(frame[12:14], "big"))) + frame[14:]


def by_ipip(frame: bytes, outer: int, server: str | None = None, mac: str = SERVER_MAC,
            weir: str | None = None) -> bytes:
    """`weir`: the outer source, its own address on the server's port."""
    inner = inner_packet(frame)
    return _tunnel(inner, outer, server, mac, Raw(inner), 4 if inner[0] >> 4 == 4 else 41, weir)


def by_gue(frame: bytes, outer: int, server: str | None = None, mac: str = SERVER_MAC) -> bytes:
    """UDP source port and flow label are 0 here: they are weir's choice, `without_entropy` hides them."""
    inner = inner_packet(frame)
    gue = bytes([0, 4 if inner[0] >> 4 == 4 else 41, 0, 0])
    transport = UDP(sport=0, dport=6080, **({"chksum": 0} if outer == 4 else {})) / Raw(gue + inner)
    return _tunnel(inner, outer, server, mac, transport, 17)


def _tunnel(inner: bytes, outer: int, server: str | None, mac: str, payload: Any, protocol: int,
            weir: str | None = None) -> bytes:
    if inner[0] >> 4 == 4:
        tos, df, identification = inner[1], inner[6] & 0x40, int.from_bytes(inner[4:6], "big")
    else:
        tos, df, identification = int.from_bytes(inner[:2], "big") >> 4 & 0xFF, 1, 0
    header: Any
    if outer == 4:
        header = IP(src=weir or WEIR[4], dst=server or SERVER[4], proto=protocol, ttl=64, tos=tos,
                    flags="DF" if df else 0, id=0 if df else identification)
    else:
        header = IPv6(src=weir or WEIR[6], dst=server or SERVER[6], nh=protocol, hlim=64, tc=tos, fl=0)
    return bytes(Ether(src=WEIR_MAC, dst=mac) / header / payload)


def inner_packet(frame: bytes) -> bytes:
    """The IP packet without Ethernet padding."""
    if frame[12:14] == b"\x08\x00":
        return frame[14:14 + int.from_bytes(frame[16:18], "big")]
    return frame[14:54 + int.from_bytes(frame[18:20], "big")]


def without_entropy(frame: bytes) -> bytes:
    """A tunnelled frame with outer flow label, GUE source port and (over IPv6) the UDP checksum set to 0."""
    if frame[12:14] in (b"\x81\x00", b"\x88\xa8"):
        untagged = without_entropy(frame[:12] + frame[16:])
        return untagged[:12] + frame[12:16] + untagged[12:]
    masked = bytearray(frame)
    if frame[12:14] == b"\x86\xdd" and frame[38:40] == b"\xfd\x00":
        masked[15:18] = bytes([frame[15] & 0xF0, 0, 0])
        if frame[20] == 17 and frame[56:58] == b"\x17\xc0":
            masked[54:56] = masked[60:62] = bytes(2)
    elif frame[12:14] == b"\x08\x00" and frame[30] == 10 and frame[23] == 17 and frame[36:38] == b"\x17\xc0":
        masked[34:36] = bytes(2)
    return bytes(masked)
