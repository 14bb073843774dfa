"""Tunnel headers and the port's MTU of 1500: one byte less, exact, one more, for each mode and family."""
from scapy.layers.inet import UDP
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import by_dsr, by_gue, by_ipip, ip, link, vip

MTU = 1500
# VIP number -> what tunnelling adds, and what it makes of a frame
MODES = {10: (0, by_dsr), 11: (0, by_dsr),
         20: (20, lambda frame: by_ipip(frame, 4)), 21: (40, lambda frame: by_ipip(frame, 6)),
         30: (32, lambda frame: by_gue(frame, 4)), 31: (52, lambda frame: by_gue(frame, 6))}


def make(s: Scenario) -> None:
    for family, header in ((4, 20), (6, 40)):
        for number, (overhead, becomes) in MODES.items():
            for length in (MTU - overhead - 1, MTU - overhead, MTU - overhead + 1, MTU - overhead + 2):
                fields = {"flags": "DF"} if family == 4 else {}
                payload = Raw(bytes(length - header - 8))
                frame = bytes(link() / ip(family, vip(family, number), **fields) / UDP(sport=4000, dport=80) / payload)
                if length + overhead <= MTU:
                    s.forwarded(frame, becomes=becomes(frame))
                else:
                    s.dropped("too_big", frame)
