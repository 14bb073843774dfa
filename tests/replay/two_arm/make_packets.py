"""Two ports: clients on one, servers on the other; packets cross over, answers return where the question came from."""
from scapy.layers.inet import ICMP, TCP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import CLIENT_MAC, ip, vip

CONFIG = "weir.cfg"
CLIENTS_MAC, SERVERS_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
SERVER_SIDE_MAC = "02:00:00:00:02:99"


def make(s: Scenario) -> None:
    for port in range(3000, 3020):
        for family in (4, 6):
            for number in (10, 20, 30):  # dsr, ipip, gue
                packet = ip(family, vip(family, number)) / TCP(sport=port, dport=80) / Raw(b"across")
                s.forwarded(Ether(src=CLIENT_MAC, dst=CLIENTS_MAC) / packet, port="clients", out="servers")
    # a client among the servers: in and out by the same port
    packet = ip(4, vip(4, 20), source="10.2.0.77") / TCP(sport=3100, dport=80)
    s.forwarded(Ether(src=SERVER_SIDE_MAC, dst=SERVERS_MAC) / packet, port="servers", out="servers")
    # each port has a MAC address of its own
    s.dropped("not_our_mac", Ether(src=CLIENT_MAC, dst=SERVERS_MAC) / packet, port="clients")
    s.dropped("not_our_mac", Ether(src=SERVER_SIDE_MAC, dst=CLIENTS_MAC) / packet, port="servers")
    # questions on both sides
    for port, mac, source in (("clients", CLIENT_MAC, "10.1.0.1"), ("servers", SERVER_SIDE_MAC, "10.2.0.77")):
        s.answered(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=mac, psrc=source, pdst=vip(4, 10)), port=port)
        to = CLIENTS_MAC if port == "clients" else SERVERS_MAC
        s.answered(Ether(src=mac, dst=to) / ip(4, vip(4, 10), source=source) / ICMP() / Raw(b"ping"), port=port)
