"""Fragments and ICMP errors to a VIP are dropped and counted, first ones and later ones alike."""
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded,
                                IPv6, IPv6ExtHdrFragment)
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import CLIENT, ip, link, vip


def make(s: Scenario) -> None:
    segment = TCP(sport=4000, dport=80)
    for number in (10, 20, 30):
        to_v4, to_v6 = vip(4, number), vip(6, number)
        for offset, flags in ((0, "MF"), (1, 0), (1, "MF"), (3, 0), (185, "MF"), (8189, 0)):
            s.dropped("fragment", link() / ip(4, to_v4, flags=flags, frag=offset) / segment / Raw(bytes(24)))
        s.dropped("fragment", link() / ip(4, to_v4, flags="MF", proto=6) / Raw(bytes(8)))  # tiny (RFC 1858)
        s.dropped("fragment", link() / ip(4, to_v4, flags="MF", proto=1) / Raw(bytes(64)))
        s.forwarded(link() / ip(4, to_v4, flags="DF") / segment)
        for offset, more in ((0, 1), (1, 0), (1, 1), (185, 1), (8191, 0)):
            s.dropped("fragment", link() / ip(6, to_v6) / IPv6ExtHdrFragment(nh=6, offset=offset, m=more) / segment)
        s.forwarded(link() / ip(6, to_v6) / IPv6ExtHdrFragment(nh=6) / segment)  # atomic: RFC 6946

        about = IP(src=to_v4, dst=CLIENT[4]) / UDP(sport=80, dport=4000) / Raw(bytes(8))
        for kind, code in ((3, 1), (3, 3), (3, 4), (4, 0), (5, 1), (11, 0), (12, 0)):
            s.dropped("icmp_error", link() / ip(4, to_v4) / ICMP(type=kind, code=code) / Raw(bytes(about)))
        about6 = IPv6(src=to_v6, dst=CLIENT[6]) / UDP(sport=80, dport=4000) / Raw(bytes(8))
        for error in (ICMPv6DestUnreach(code=4), ICMPv6PacketTooBig(mtu=1280), ICMPv6TimeExceeded(),
                      ICMPv6ParamProblem()):
            s.dropped("icmp_error", link() / ip(6, to_v6) / error / Raw(bytes(about6)))
