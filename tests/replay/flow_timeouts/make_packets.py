"""Idle flows are forgotten when their state says so: seen by the services' new_flows, on the capture's clock."""
from scapy.layers.inet import TCP, UDP

from support.python.scenario import Scenario
from support.python.traffic import ip, link, vip

# VIP number -> service: opening, established, closing by FIN, closing by RST, UDP each have one of their own
SERVICES = {10: "dsr_by_v4", 11: "dsr_by_v6", 20: "ipip_4in4", 21: "ipip_4in6", 30: "gue_4in4"}


def make(s: Scenario) -> None:
    def segment(number: int, flags: str, port: int) -> None:
        s.forwarded(link() / ip(4, vip(4, number)) / TCP(sport=port, dport=80, flags=flags))

    for port in (4000, 4001, 4002):
        segment(10, "S", port)  # tcp_opening is 10 s
        s.wait(9)
        segment(10, "S", port)  # known
        s.wait(11)
        segment(10, "S", port)  # new

        for flags in ("S", "A"):
            segment(11, flags, port)  # tcp_established is 350 s
        s.wait(340)
        segment(11, "PA", port)  # known
        s.wait(360)
        segment(11, "PA", port)  # new

        for number, goodbye in ((20, "FA"), (21, "R")):  # tcp_closing is 10 s
            for flags in ("S", "A", goodbye):
                segment(number, flags, port)
            s.wait(9)
            segment(number, goodbye, port)  # known
            s.wait(11)
            segment(number, "S", port)  # new

        def datagram() -> None:
            s.forwarded(link() / ip(4, vip(4, 30)) / UDP(sport=port, dport=80))

        datagram()  # udp is 120 s
        s.wait(115)
        datagram()  # known
        s.wait(125)
        datagram()  # new
    for days in (3, 30, 300):  # deadlines are kept modulo 72 hours
        s.wait(days * 24 * 3600)
        segment(10, "S", 4000)  # new
    s.new_flows = {name: 6 for name in SERVICES.values()}
    s.new_flows[SERVICES[10]] += 3
