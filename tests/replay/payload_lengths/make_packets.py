"""Payload lengths from 0 to the largest that fits, odd and even: outer lengths and checksums stay right."""
import random

from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import ip, link, vip

LENGTHS = [*range(0, 65), *range(65, 1380, 37), *range(1380, 1461)]


def make(s: Scenario) -> None:
    data = random.Random(5).randbytes(1500)
    overhead = {10: 0, 20: 20, 21: 40, 30: 32, 31: 52}
    for length in LENGTHS:
        for family in (4, 6):
            for number, extra in overhead.items():
                transport = TCP(sport=4000, dport=80) if length % 2 else UDP(sport=4000, dport=80)
                frame = bytes(link() / ip(family, vip(family, number)) / transport / Raw(data[:length]))
                if len(frame) - 14 + extra <= 1500:
                    s.forwarded(frame)
                else:
                    s.dropped("too_big", frame)
