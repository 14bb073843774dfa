"""All 256 values of TOS and traffic class: the outer header has the inner one's DSCP and ECN."""
from scapy.layers.inet import UDP

from support.python.scenario import Scenario
from support.python.traffic import by_dsr, by_gue, by_ipip, ip, link, vip


def make(s: Scenario) -> None:
    for tos in range(256):
        for family in (4, 6):
            def frame(number: int) -> bytes:
                return bytes(link() / ip(family, vip(family, number), tos=tos) / UDP(sport=4000, dport=80))

            s.forwarded(frame(10), becomes=by_dsr(frame(10)))
            for outer in (0, 1):
                s.forwarded(frame(20 + outer), becomes=by_ipip(frame(20 + outer), 6 if outer else 4))
                s.forwarded(frame(30 + outer), becomes=by_gue(frame(30 + outer), 6 if outer else 4))
