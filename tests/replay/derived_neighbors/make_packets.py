"""Next hops without a configured MAC address: replay derives one from the address, always the same."""
from scapy.layers.inet import TCP

from support.python.scenario import Scenario
from support.python.traffic import ip, link, vip

CONFIG = "weir.cfg"


def make(s: Scenario) -> None:
    for port in range(5000, 5040):
        s.forwarded(link() / ip(4, vip(4, 10)) / TCP(sport=port, dport=80))  # on the link
        s.forwarded(link() / ip(4, vip(4, 20)) / TCP(sport=port, dport=80))  # behind a router
