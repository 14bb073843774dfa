"""On a port with a host interface a VIP stays weir's alone: nothing that is sent to it reaches the kernel."""
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr,
                                IPv6ExtHdrFragment)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import CLIENT_MAC, WEIR_MAC, by_dsr, ip, link, vip

CONFIG = "../configs/with_host.cfg"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def make(s: Scenario) -> None:
    make_neighbors(s)
    for family, echo, error in ((4, ICMP(), ICMP(type=3, code=1)),
                                (6, ICMPv6EchoRequest(), ICMPv6DestUnreach(code=3))):
        to_vip = ip(family, vip(family, 10))
        frame = bytes(link() / to_vip / TCP(sport=4000, dport=80))
        s.forwarded(frame, becomes=by_dsr(frame))
        s.answered(link() / to_vip / echo)
        s.dropped("icmp_error", link() / to_vip / error / Raw(bytes(40)))
        for transport in (TCP(dport=22, flags="S"), TCP(dport=179, flags="S"), UDP(dport=3784), UDP(dport=53)):
            s.dropped("no_service", link() / to_vip / transport)
        s.dropped("l4_truncated", link() / to_vip / TCP(dport=22, dataofs=3))
        s.dropped("not_our_mac", Ether(src=CLIENT_MAC, dst=BROADCAST) / to_vip / UDP(dport=80))
    s.dropped("unknown_protocol", link() / ip(4, vip(4, 10), proto=89) / Raw(bytes(44)))
    s.dropped("unknown_protocol", link() / ip(6, vip(6, 10), nh=112) / Raw(bytes(20)))
    for piece in fragment(ip(4, vip(4, 10)) / UDP(dport=22) / Raw(bytes(1000)), 496):
        s.dropped("fragment", link() / IP(bytes(piece)))
    s.dropped("fragment", link() / ip(6, vip(6, 10)) / IPv6ExtHdrFragment(m=1, id=7) / UDP(dport=22) / Raw(bytes(8)))
    s.dropped("ip_martian_source", link() / ip(6, vip(6, 10), source="fe80::1") / TCP(dport=80))
    s.dropped("ip_martian_source", link() / ip(6, vip(6, 10), source="fe80::1") / TCP(dport=22))


def make_neighbors(s: Scenario) -> None:
    ask = {"hwsrc": CLIENT_MAC, "psrc": "10.1.0.1"}
    s.answered(Ether(src=CLIENT_MAC, dst=BROADCAST) / ARP(pdst=vip(4, 10), **ask))
    s.dropped("arp_not_vip", link() / ARP(op=2, pdst=vip(4, 10), hwdst=WEIR_MAC, **ask))
    group, group_mac = "ff02::1:ff00:10", "33:33:ff:00:00:10"
    option = ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC)
    for source in ("fd00:1::1", "fe80::1"):
        solicitation = ip(6, group, source=source, ttl=255) / ICMPv6ND_NS(tgt=vip(6, 10)) / option
        s.answered(Ether(src=CLIENT_MAC, dst=group_mac) / solicitation)
        s.answered(link() / ip(6, vip(6, 10), source=source, ttl=255) / ICMPv6ND_NS(tgt=vip(6, 10)) / option)
    s.dropped("nd_malformed", Ether(src=CLIENT_MAC, dst=group_mac) / ip(6, group, source="fe80::1", ttl=254) /
              ICMPv6ND_NS(tgt=vip(6, 10)) / option)
