"""On a port with a host interface what is for the kernel goes up, each packet in its class."""
from scapy.contrib.ospf import OSPF_Hdr, OSPF_Hello
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert, fragment
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6MLReport2, ICMPv6ND_NA,
                                ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS, IPv6, IPv6ExtHdrDestOpt,
                                IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, PadN, RouterAlert)
from scapy.layers.l2 import ARP, LLC, STP, Dot3, Ether
from scapy.layers.vrrp import VRRPv3
from scapy.packet import Raw

from support.python.edit import patch
from support.python.scenario import Scenario
from support.python.traffic import CLIENT_MAC, WEIR_MAC, ip, link, vip

CONFIG = "../configs/with_host.cfg"
BROADCAST = "ff:ff:ff:ff:ff:ff"
ROUTER = {4: "10.1.0.1", 6: "fd00:1::1"}
OWN = {4: ("10.1.0.2", "10.1.0.3"), 6: ("fd00:1::2", "fd00:1::3")}
ROUTER_LINK, OWN_LINK = "fe80::1", "fe80::2"


def to_group(mac: str) -> Ether:
    return Ether(src=CLIENT_MAC, dst=mac)


def make(s: Scenario) -> None:
    make_arp_and_nd(s)
    make_link(s)
    make_routing(s)
    make_unicast(s)
    make_still_dropped(s)


def make_arp_and_nd(s: Scenario) -> None:
    ask = {"hwsrc": CLIENT_MAC, "psrc": ROUTER[4]}
    s.punted("arp", to_group(BROADCAST) / ARP(pdst="10.1.0.3", **ask))
    s.punted("arp", to_group(BROADCAST) / ARP(pdst="10.1.0.99", **ask))  # for somebody else
    s.punted("arp", link() / ARP(op=2, pdst="10.1.0.3", hwdst=WEIR_MAC, **ask))
    s.punted("arp", to_group(BROADCAST) / ARP(pdst=ROUTER[4], **ask))  # gratuitous
    s.punted("arp", to_group(BROADCAST) / ARP(op=2, pdst=ROUTER[4], **ask))
    s.dropped("arp_malformed", to_group(BROADCAST) / ARP(pdst="10.1.0.3", hwtype=6, **ask))
    nodes = to_group("33:33:00:00:00:01")
    s.punted("nd", to_group("33:33:ff:00:00:03") / ip(6, "ff02::1:ff00:3", source=ROUTER_LINK, ttl=255) /
             ICMPv6ND_NS(tgt=OWN[6][1]))
    s.punted("nd", link() / ip(6, OWN[6][1], source=ROUTER_LINK, ttl=255) / ICMPv6ND_NS(tgt=OWN[6][1]))
    s.punted("nd", link() / ip(6, OWN_LINK, source=ROUTER_LINK, ttl=255) / ICMPv6ND_NA(tgt=ROUTER_LINK))
    s.punted("nd", nodes / ip(6, "ff02::1", source=ROUTER_LINK, ttl=255) / ICMPv6ND_NA(tgt=ROUTER_LINK))
    s.punted("nd", nodes / ip(6, "ff02::1", source=ROUTER_LINK, ttl=255) / ICMPv6ND_RA())
    s.punted("nd", to_group("33:33:00:00:00:02") / ip(6, "ff02::2", source="fe80::77", ttl=255) / ICMPv6ND_RS())
    s.punted("nd", to_group("33:33:ff:00:00:77") / ip(6, "ff02::1:ff00:77", source="::", ttl=255) /
             ICMPv6ND_NS(tgt="fe80::77"))  # a neighbour looks for duplicates of its address
    for source in (ROUTER_LINK, "::"):
        s.punted("nd", to_group("33:33:00:00:00:16") / ip(6, "ff02::16", source=source, ttl=1) /
                 IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6MLReport2())
    s.punted("nd", link() / ip(6, "ff02::1", source=ROUTER_LINK, ttl=255) / ICMPv6ND_RA())  # a switch made it unicast


def make_link(s: Scenario) -> None:
    s.punted("link", Ether(src=CLIENT_MAC, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(bytes(40)))  # LLDP
    s.punted("link", Ether(src=CLIENT_MAC, dst="01:80:c2:00:00:02", type=0x8809) / Raw(bytes(110)))  # LACP
    s.punted("link", Dot3(src=CLIENT_MAC, dst="01:80:c2:00:00:00") / LLC() / STP())
    s.punted("link", Ether(src=CLIENT_MAC, dst=WEIR_MAC, type=0x88B5) / Raw(b"unicast, an EtherType of its own"))
    discover = UDP(sport=68, dport=67) / BOOTP(chaddr=b"\x02\x00\x00\x00\x00\x77") / DHCP(options=["end"])
    s.punted("link", to_group(BROADCAST) / ip(4, "255.255.255.255", source="0.0.0.0") / discover)
    s.punted("link", link() / ip(4, "255.255.255.255", source=ROUTER[4]) / UDP(sport=67, dport=68) / BOOTP(op=2))
    s.punted("link", to_group(BROADCAST) / ip(4, "10.1.0.255", source=ROUTER[4]) / UDP(sport=138, dport=138))
    s.punted("link", to_group("01:00:5e:00:00:01") / ip(4, "224.0.0.1", source="0.0.0.0", proto=2, ttl=1,
             options=[IPOption_Router_Alert()]) / Raw(bytes.fromhex("1164ee9b00000000")))  # IGMP query
    s.punted("link", to_group("33:33:00:01:00:02") / ip(6, "ff02::1:2", source=ROUTER_LINK, ttl=1) / UDP(dport=547))
    s.punted("link", to_group("33:33:00:00:00:01") / ip(6, "ff02::1", source=ROUTER_LINK) / ICMPv6EchoRequest())
    s.punted("link", to_group("01:00:5e:00:00:fb") / ip(4, "224.0.0.251", source=ROUTER[4]) / UDP(dport=5353))
    # a chain that nobody could walk: the kernel's business, too
    s.punted("link", to_group("33:33:00:00:00:05") / ip(6, "ff02::5", source=ROUTER_LINK, nh=60) / Raw(b"\x11\xff"))


def make_routing(s: Scenario) -> None:
    s.punted("routing", to_group("01:00:5e:00:00:05") / ip(4, "224.0.0.5", source=ROUTER[4], ttl=1) /
             OSPF_Hdr() / OSPF_Hello())
    s.punted("routing", link() / ip(4, OWN[4][1], source=ROUTER[4], ttl=1) / OSPF_Hdr() / OSPF_Hello())
    s.punted("routing", to_group("33:33:00:00:00:05") / ip(6, "ff02::5", source=ROUTER_LINK, nh=89, ttl=1) / Raw(bytes(36)))
    s.punted("routing", to_group("01:00:5e:00:00:12") / ip(4, "224.0.0.18", source=ROUTER[4], ttl=255) / VRRPv3())
    s.punted("link", to_group("01:00:5e:00:00:12") / ip(4, "224.0.0.18", source=ROUTER[4], ttl=254) / VRRPv3())
    for family in (4, 6):
        own, router = OWN[family][1], ROUTER[family]
        for port in (3784, 3785):
            s.punted("routing", link() / ip(family, own, source=router, ttl=255) / UDP(sport=49152, dport=port))
            s.punted("udp", link() / ip(family, own, source=router, ttl=254) / UDP(sport=49152, dport=port))
        s.punted("routing", link() / ip(family, own, source=router, ttl=250) / UDP(sport=49152, dport=4784))
        s.punted("bgp", link() / ip(family, own, source=router, ttl=1) / TCP(sport=40000, dport=179, flags="S"))
        s.punted("bgp", link() / ip(family, own, source=router, ttl=1) / TCP(sport=179, dport=40000, flags="A"))
    s.punted("bgp", link() / ip(6, OWN_LINK, source=ROUTER_LINK, ttl=1) / TCP(sport=179, dport=40000, flags="PA"))


def make_unicast(s: Scenario) -> None:
    for family, echo, error in ((4, ICMP(), ICMP(type=3, code=1)),
                                (6, ICMPv6EchoRequest(), ICMPv6DestUnreach(code=3))):
        own, far = OWN[family][1], ip(family, OWN[family][1])
        quoted = Raw(bytes(ip(family, "198.51.100.9" if family == 4 else "2001:db8:9::9", source=own) / UDP()))
        s.punted("icmp", link() / far / echo)
        s.punted("icmp", link() / far / error / quoted)
        s.punted("tcp_syn", link() / far / TCP(dport=22, flags="S"))
        s.punted("tcp", link() / far / TCP(dport=22, flags="A"))
        s.punted("tcp", link() / far / TCP(sport=80, dport=40000, flags="SA"))  # a probe's answer
        s.punted("tcp", link() / ip(family, own, source=vip(family, 10)) / TCP(sport=80, dport=40000, flags="SA"))
        s.punted("udp", link() / far / UDP(sport=53, dport=40000) / Raw(b"from far away"))
        s.punted("other", link() / far / TCP(dport=22, dataofs=3))  # the kernel counts it
        s.punted("other", link() / far / Raw(bytes(20)) if family == 6 else link() / ip(4, own, proto=47) / Raw(bytes(20)))
    s.punted("icmp", link() / ip(4, OWN[4][1]) / ICMP(type=0))
    s.punted("icmp", link() / ip(6, OWN[6][1]) / ICMPv6EchoReply())
    for piece in fragment(ip(4, OWN[4][1]) / UDP(dport=22) / Raw(bytes(1000)), 496):
        s.punted("other", link() / IP(bytes(piece)))
    s.punted("other", link() / ip(6, OWN[6][1]) / IPv6ExtHdrFragment(m=1, id=7) / UDP(dport=22) / Raw(bytes(8)))
    s.punted("udp", link() / ip(4, OWN[4][1], options=[IPOption_Router_Alert()]) / UDP(dport=22))
    s.punted("udp", link() / ip(6, OWN[6][1]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / UDP(dport=22))
    s.punted("tcp_syn", link() / ip(6, OWN_LINK, source=ROUTER_LINK) / TCP(dport=22, flags="S"))


def make_still_dropped(s: Scenario) -> None:
    """Neither own nor VIP, or broken: as without a host interface."""
    s.dropped("not_vip", link() / ip(4, "10.1.0.99") / TCP(dport=22))
    s.dropped("not_vip", link() / ip(6, "fd00:1::99") / TCP(dport=22))
    s.dropped("not_vip", link() / ip(4, "10.1.0.255", source=ROUTER[4]) / UDP(dport=138))
    s.dropped("not_our_mac", Ether(src=CLIENT_MAC, dst="02:00:00:00:00:77") / ip(4, OWN[4][1]) / TCP(dport=22))
    s.dropped("not_our_mac", to_group(BROADCAST) / ip(4, OWN[4][1]) / UDP(dport=22))
    s.dropped("not_our_mac", to_group("33:33:00:00:00:01") / ip(6, OWN[6][1]) / UDP(dport=22))
    s.dropped("not_our_mac", to_group("01:00:5e:00:00:01") / ip(4, "10.1.0.255") / UDP(dport=22))
    s.dropped("ip_martian_source", link() / ip(4, OWN[4][1], source="127.0.0.1") / TCP(dport=22))
    s.dropped("ip_martian_source", link() / ip(4, OWN[4][1], source="0.0.0.0") / TCP(dport=22))
    s.dropped("ip_martian_source", link() / ip(6, OWN[6][1], source="::1") / TCP(dport=22))
    s.dropped("ip_martian_source", link() / ip(6, OWN_LINK, source=OWN_LINK) / TCP(dport=22))
    s.dropped("ip_checksum", link() / ip(4, OWN[4][1], chksum=0x1234) / TCP(dport=22))
    s.dropped("ip_truncated", bytes(link() / ip(4, OWN[4][1]) / TCP(dport=22))[:50])
    s.dropped("ttl_expired", link() / ip(4, OWN[4][1], ttl=0) / TCP(dport=22))
    s.dropped("ext_chain", link() / ip(6, OWN[6][1], nh=43) / Raw(bytes((6, 0, 0, 1, 0, 0, 0, 0))) / TCP(dport=22))
    s.dropped("bad_source_mac", Ether(src=BROADCAST, dst=WEIR_MAC) / ip(4, OWN[4][1]) / TCP(dport=22))
    s.dropped("vlan_tag", Ether(src=CLIENT_MAC, dst=WEIR_MAC, type=0x8100) / Raw(b"\x00\x07" + bytes(44)))
    s.dropped("ip_version", patch(link() / IPv6(src=ROUTER_LINK, dst="ff02::5") / Raw(bytes(8)), 0, 0x50))
