"""A VIP without a service on that port, and pools without a backend that may get traffic."""
from scapy.layers.inet import TCP, UDP

from support.python.scenario import Scenario
from support.python.traffic import ip, link, vip


def make(s: Scenario) -> None:
    for family in (4, 6):
        for number in (10, 20, 30):
            for port in (0, 1, 22, 79, 81, 6080, 65535):
                s.dropped("no_service", link() / ip(family, vip(family, number)) / TCP(sport=4000, dport=port))
                s.dropped("no_service", link() / ip(family, vip(family, number)) / UDP(sport=4000, dport=port))
    for number in (60, 61):  # an empty pool; one whose only backend has weight 0
        s.dropped("no_backend", link() / ip(4, vip(4, number)) / TCP(sport=4000, dport=80))
        s.dropped("no_backend", link() / ip(4, vip(4, number)) / UDP(sport=4000, dport=80))
        s.dropped("no_service", link() / ip(4, vip(4, number)) / TCP(sport=4000, dport=81))
    s.dropped("not_vip", link() / ip(4, vip(4, 99)) / TCP(sport=4000, dport=80))
    s.dropped("not_vip", link() / ip(6, vip(6, 99)) / TCP(sport=4000, dport=80))
