"""Where a VIP is the port's own address, weir takes the services' L4 ports; the kernel keeps the rest."""
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import CLIENT_MAC, WEIR, by_dsr, ip, link

CONFIG = "../configs/with_host.cfg"


def make(s: Scenario) -> None:
    for family, echo in ((4, ICMP()), (6, ICMPv6EchoRequest())):
        own = ip(family, WEIR[family])
        for transport in (TCP(sport=4000, dport=80, flags="S"), UDP(sport=4000, dport=80) / Raw(b"service")):
            frame = bytes(link() / own / transport)
            s.forwarded(frame, becomes=by_dsr(frame))
        s.punted("tcp_syn", link() / own / TCP(sport=4000, dport=22, flags="S"))
        s.punted("tcp", link() / own / TCP(sport=80, dport=4000, flags="SA"))
        s.punted("bgp", link() / own / TCP(sport=4000, dport=179, flags="S"))
        s.punted("udp", link() / own / UDP(sport=53, dport=4000))
        s.punted("icmp", link() / own / echo)
        s.punted("other", link() / own / TCP(dport=80, dataofs=3))  # whose port it is, nobody can say
    for piece in fragment(ip(4, WEIR[4]) / UDP(dport=80) / Raw(bytes(1000)), 496):
        s.punted("other", link() / IP(bytes(piece)))
    s.punted("arp", Ether(src=CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=CLIENT_MAC, psrc="10.1.0.1", pdst=WEIR[4]))
    s.punted("nd", Ether(src=CLIENT_MAC, dst="33:33:ff:00:00:02") /
             ip(6, "ff02::1:ff00:2", source="fe80::1", ttl=255) / ICMPv6ND_NS(tgt=WEIR[6]))
    # a source that may not be forwarded: not to the service, and its port is not the kernel's
    s.dropped("ip_martian_source", link() / ip(6, WEIR[6], source="fe80::1") / TCP(sport=4000, dport=80, flags="S"))
