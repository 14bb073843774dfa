"""Stickiness: a client's new flows stay with its backend for ten minutes after the last one, whatever the pool does.

TestWeb01 is down in the first minute, again from 25:00 to 25:01. Clients that come while it is down get TestWeb02
and stay there, also when it is back; who comes when nobody remembers him gets TestWeb01, which has nearly all the
weight.
"""
from typing import Any

from scapy.layers.inet import TCP, UDP

from support.python.scenario import Scenario
from support.python.traffic import by_ipip, ip, link, vip

CONFIG = "weir.cfg"
ONE, TWO = ("10.1.0.11", "02:00:00:00:01:11"), ("10.1.0.12", "02:00:00:00:01:12")
# Each line: two hosts of one prefix. EARLY come while TestWeb01 is down, LATE when it is back.
EARLY = [("198.51.100.7", "198.51.100.200"), ("2001:db8:c::7", "2001:db8:c::ffff:1")]
LATE = [("198.51.101.7", "198.51.101.200"), ("2001:db8:c:1::7", "2001:db8:c:1:8000::1")]


def make(s: Scenario) -> None:
    s.down = ["web/TestWeb01@0s-60s", "web/TestWeb01@1500s-1501s"]
    port = 10_000

    def packet(host: str, number: int, transport: Any, goes_to: tuple[str, str]) -> None:
        family = 6 if ":" in host else 4
        frame = bytes(link() / ip(family, vip(family, number), source=host) / transport)
        s.forwarded(frame, becomes=by_ipip(frame, outer=4, server=goes_to[0], mac=goes_to[1]))

    def opens(host: str, goes_to: tuple[str, str], segments: str = "S") -> None:
        """A flow of its own: SYN, and what follows it at once."""
        nonlocal port
        port += 7
        for flags in segments.split():
            packet(host, 10, TCP(sport=port, dport=80, flags=flags), goes_to)

    for host, neighbour in EARLY:
        opens(host, TWO, "S A PA FA")
        opens(neighbour, TWO)
    s.wait(61)  # TestWeb01 is back
    for host, neighbour in LATE:
        opens(host, ONE)
        opens(neighbour, ONE)
    for host, neighbour in EARLY:
        opens(neighbour, TWO)
        opens(host, TWO)
    for host, neighbour in EARLY:  # many connections: they come in at all workers
        for _ in range(12):
            opens(host, TWO, "S A")
            packet(neighbour, 10, UDP(sport=port, dport=80), TWO)
    s.wait(9 * 60 + 59)  # 9:59 after the last
    for host, _ in EARLY:
        opens(host, TWO)
    s.wait(9 * 60 + 59)  # and again: it slides
    for _, neighbour in EARLY:
        opens(neighbour, TWO)
    s.wait(270)  # over TestWeb01's second outage, 25:00 to 25:01
    for host, neighbour in EARLY:
        opens(host, TWO)
    for host, _ in LATE:
        opens(host, ONE)
    s.wait(10 * 60 + 1)  # 10:01 after the last: nobody is remembered
    for host, neighbour in EARLY + LATE:
        opens(host, ONE)
        opens(neighbour, ONE)
        for _ in range(6):
            opens(host, ONE, "S A FA")
    for host, _ in LATE:  # what begins no flow goes where its client is, and is no new flow
        packet(host, 10, TCP(sport=9, dport=80, flags="R"), ONE)
