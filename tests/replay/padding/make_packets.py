"""Ethernet padding is no data: a 41-byte datagram in a 60-byte frame is tunnelled without the other five bytes."""
from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import by_dsr, by_gue, by_ipip, ip, link, vip


def make(s: Scenario) -> None:
    for filler in (b"\x00", b"\xa5"):
        for data in (b"", b"x", b"xyz"):
            for transport in (TCP(sport=4000, dport=80) / Raw(data), UDP(sport=4000, dport=80) / Raw(data)):
                for total in (60, 64, 100):
                    make_padded(s, transport, total, filler)


def make_padded(s: Scenario, transport: object, total: int, filler: bytes) -> None:
    for family in (4, 6):
        def padded(number: int) -> bytes:
            return bytes(link() / ip(family, vip(family, number)) / transport).ljust(total, filler)

        s.forwarded(padded(10), becomes=by_dsr(padded(10)))  # the padding stays: nothing but MAC addresses changes
        for outer in (0, 1):
            s.forwarded(padded(20 + outer), becomes=by_ipip(padded(20 + outer), 6 if outer else 4))
            s.forwarded(padded(30 + outer), becomes=by_gue(padded(30 + outer), 6 if outer else 4))
