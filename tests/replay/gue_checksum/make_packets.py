"""gue over IPv6: the outer UDP checksum is right although the payload is not summed, also where UDP has none inside."""
import random

from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import by_gue, ip, link, vip


def make(s: Scenario) -> None:
    chance = random.Random(6)
    for family in (4, 6):
        header = ip(family, vip(family, 31))
        for length in (*range(10), 100, 101, 1000, 1001):
            data = Raw(chance.randbytes(length))
            for transport in (TCP(sport=4000, dport=80), UDP(sport=4000, dport=80)):
                expect(s, bytes(link() / header / transport / data))
            if family == 4:  # no checksum inside: nothing to derive the outer one from
                expect(s, bytes(link() / header / UDP(sport=4000, dport=80, chksum=0) / data))
        for _ in range(100):  # many sums, so that carries and a sum of 0 come up
            data = Raw(chance.randbytes(chance.randrange(40)))
            expect(s, bytes(link() / header / UDP(sport=chance.randrange(1, 65536), dport=80) / data))


def expect(s: Scenario, frame: bytes) -> None:
    s.forwarded(frame, becomes=by_gue(frame, outer=6))
