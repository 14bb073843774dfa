"""Two services with different modes share a pool; a pool and a backend override the mode of a service."""
from scapy.layers.inet import TCP, UDP

from support.python.scenario import Scenario
from support.python.traffic import by_dsr, by_gue, by_ipip, ip, link, vip

CONFIG = "weir.cfg"


def make(s: Scenario) -> None:
    for port in range(2000, 2010):
        for transport in (TCP, UDP):
            frame = bytes(link() / ip(4, vip(4, 10)) / transport(sport=port, dport=80))
            s.forwarded(frame, becomes=by_dsr(frame))
            frame = bytes(link() / ip(4, vip(4, 20)) / transport(sport=port, dport=80))
            s.forwarded(frame, becomes=by_ipip(frame, 4))
            frame = bytes(link() / ip(4, vip(4, 30)) / transport(sport=port, dport=80))  # the pool says gue
            s.forwarded(frame, becomes=by_gue(frame, 4))
            frame = bytes(link() / ip(4, vip(4, 40)) / transport(sport=port, dport=80))  # the backend says dsr
            s.forwarded(frame, becomes=by_dsr(frame))
