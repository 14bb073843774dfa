"""weir answers ARP, neighbour solicitations and echo requests for its VIPs, and nothing else of the kind."""
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import (ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RS,
                                ICMPv6NDOptSrcLLAddr)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from scapy.utils6 import in6_getnsma, in6_getnsmac, inet_pton

from support.python.edit import patch
from support.python.scenario import Scenario
from support.python.traffic import CLIENT_MAC, WEIR_MAC, ip, link, vip

BROADCAST = "ff:ff:ff:ff:ff:ff"
DATA = bytes(range(256)) * 6
OWN_V4, OWN_V6 = "10.1.0.2", "fd00:1::2"


def solicitation(target: str, source: str = "fd00:1::1", unicast: bool = False, **fields: int) -> Ether:
    group = in6_getnsma(inet_pton(10, target))
    mac = WEIR_MAC if unicast else in6_getnsmac(group)
    to = target if unicast else ":".join(f"{group[i]:02x}{group[i + 1]:02x}" for i in range(0, 16, 2))
    return Ether(src=CLIENT_MAC, dst=mac) / ip(6, to, source=source, ttl=fields.pop("ttl", 255)) / \
        ICMPv6ND_NS(tgt=target, **fields) / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC)


def arp(target: str, to: str = BROADCAST, **fields: object) -> Ether:
    return Ether(src=CLIENT_MAC, dst=to) / ARP(**{"hwsrc": CLIENT_MAC, "psrc": "10.1.0.1", "pdst": target, **fields})


def make(s: Scenario) -> None:
    make_arp(s)
    make_discovery(s)
    make_echo(s)


def make_arp(s: Scenario) -> None:
    for target in (vip(4, 10), vip(4, 20), vip(4, 60), OWN_V4):  # with and without backends; weir's own address
        s.answered(arp(target))
    s.answered(arp(vip(4, 10), to=WEIR_MAC))  # a neighbour that knows us asks again
    s.answered(arp(vip(4, 10), psrc="0.0.0.0"))  # RFC 5227 probe: the address is taken
    s.answered(Ether(bytes(arp(vip(4, 10))) + bytes(18)))  # padded to 60 bytes
    s.dropped("arp_not_vip", arp("203.0.113.99"))
    s.dropped("arp_not_vip", arp("10.1.0.11"))
    s.dropped("arp_not_vip", arp(vip(4, 10), op=2))  # an answer
    s.dropped("arp_malformed", arp(vip(4, 10), hwtype=6))
    s.dropped("arp_malformed", arp(vip(4, 10), ptype=0x86DD))
    s.dropped("arp_malformed", patch(arp(vip(4, 10)), 4, 8))  # hardware address length
    s.dropped("arp_malformed", patch(arp(vip(4, 10)), 5, 16))  # protocol address length
    for length in (14, 15, 41):
        s.dropped("arp_malformed", bytes(arp(vip(4, 10)))[:length])


def make_discovery(s: Scenario) -> None:
    for target in (vip(6, 10), vip(6, 20), OWN_V6):
        s.answered(solicitation(target))
        s.answered(solicitation(target, unicast=True))
        s.answered(solicitation(target, source="fe80::1"))  # what routers and hosts usually send
    s.dropped("nd_not_vip", solicitation("2001:db8:1::99"))
    s.dropped("nd_malformed", solicitation(vip(6, 10), ttl=254))
    s.dropped("nd_malformed", solicitation(vip(6, 10), code=1))
    s.dropped("nd_malformed", solicitation(vip(6, 10), cksum=0xABCD))
    # option of length 0; an option that the message cuts
    for option in (b"\x01\x00" + bytes(6), b"\x01\x02" + bytes(6)):
        s.dropped("nd_malformed", Ether(src=CLIENT_MAC, dst="33:33:ff:00:00:10") /
                  ip(6, "ff02::1:ff00:10", source="fd00:1::1", ttl=255) / ICMPv6ND_NS(tgt=vip(6, 10)) / Raw(option))
    # other neighbour messages to everybody: routers are asked, a neighbour tells its address
    s.dropped("nd_not_vip", Ether(src=CLIENT_MAC, dst="33:33:00:00:00:02") /
              ip(6, "ff02::2", source="fe80::1", ttl=255) / ICMPv6ND_RS())
    s.dropped("nd_not_vip", Ether(src=CLIENT_MAC, dst="33:33:00:00:00:01") /
              ip(6, "ff02::1", source="fe80::1", ttl=255) / ICMPv6ND_NA(tgt="fe80::1"))


def make_echo(s: Scenario) -> None:
    for size in (0, 1, 56, 57, 1400):
        s.answered(link() / ip(4, vip(4, 10)) / ICMP(id=size, seq=7) / Raw(DATA[:size]))
        s.answered(link() / ip(6, vip(6, 10)) / ICMPv6EchoRequest(id=size, seq=7, data=DATA[:size]))
    for identifier in (0, 1, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF):  # checksum carries
        s.answered(link() / ip(4, vip(4, 10)) / ICMP(id=identifier, seq=0xFFFF))
        s.answered(link() / ip(6, vip(6, 10)) / ICMPv6EchoRequest(id=identifier, seq=0xFFFF))
    s.answered(link() / ip(4, vip(4, 60)) / ICMP())  # a VIP without backends is still weir's
    s.dropped("icmp_malformed", link() / ip(4, vip(4, 10)) / ICMP(chksum=0x1234))
    s.dropped("icmp_malformed", link() / ip(6, vip(6, 10)) / ICMPv6EchoRequest(cksum=0x1234))
    for length in (0, 4, 7):
        s.dropped("icmp_malformed", link() / ip(4, vip(4, 10), proto=1) / Raw(bytes(ICMP())[:length]))
        s.dropped("icmp_malformed", link() / ip(6, vip(6, 10), nh=58) / Raw(b"\x80\x00\x7f\xff\x00\x00\x00"[:length]))
    s.dropped("icmp_other", link() / ip(4, vip(4, 10)) / ICMP(type=0))  # a reply nobody asked for
    s.dropped("icmp_other", link() / ip(4, vip(4, 10)) / ICMP(type=13, ts_ori=1, ts_rx=2, ts_tx=3))  # timestamp
    s.dropped("icmp_other", link() / ip(6, vip(6, 10)) / ICMPv6EchoReply())
