"""Of several services on one VIP an exact port wins over a range, a range over "any"; lists are exact ports."""
from scapy.layers.inet import TCP, UDP

from support.python.scenario import Scenario
from support.python.traffic import by_ipip, ip, link

CONFIG = "weir.cfg"
VIP = {4: "203.0.113.10", 6: "2001:db8:1::10"}
ONLY_PORTS = {4: "203.0.113.11", 6: "2001:db8:1::11"}
EXACT, LISTED, RANGED, ANY = 11, 12, 13, 14  # last number of the backend that each service has


def make(s: Scenario) -> None:
    def expect(family: int, port: int, server: int, transport: type = TCP) -> None:
        frame = bytes(link() / ip(family, VIP[family]) / transport(sport=4000 + port % 1000, dport=port))
        s.forwarded(frame, becomes=by_ipip(frame, 4, f"10.1.0.{server}", f"02:00:00:00:01:{server}"))

    for family in (4, 6):
        expect(family, 80, EXACT)
        expect(family, 8050, EXACT)  # inside the range 8000-8099
        for port in (443, 8443, 65535):
            expect(family, port, LISTED)
        for port in (8000, 8001, 8049, 8051, 8098, 8099):  # both ends, and around the exact one
            expect(family, port, RANGED)
        for port in (1, 79, 81, 442, 444, 7999, 8100, 65534):
            expect(family, port, ANY)
        # UDP has an exact service and "any"; the TCP services do not count for it
        expect(family, 53, EXACT, UDP)
        expect(family, 80, ANY, UDP)
        expect(family, 8000, ANY, UDP)
        # a VIP without "any"
        for port in (79, 81, 7999, 8100):
            s.dropped("no_service", link() / ip(family, ONLY_PORTS[family]) / TCP(sport=4000, dport=port))
        s.dropped("no_service", link() / ip(family, ONLY_PORTS[family]) / UDP(sport=4000, dport=80))
