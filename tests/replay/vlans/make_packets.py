"""Four ports on one device, told apart by their VLAN tags: each packet comes in by one and leaves by its backend's."""
from collections.abc import Callable

from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import (CLIENT_MAC, WEIR_MAC, by_dsr, by_gue, by_ipip, ip, link, tagged, typical_packets,
                                    vip)

CONFIG = "weir.cfg"
EDGE, RED, BLUE, CUSTOMER = (), (100,), (200,), (300, 10)
# What each VIP makes of a packet, and where that leaves.
MODES: list[tuple[int, Callable[[bytes], bytes], tuple[int, ...]]] = [
    (10, by_dsr, RED),
    (20, lambda frame: by_ipip(frame, outer=4), RED),
    (21, lambda frame: by_ipip(frame, outer=6), RED),
    (30, lambda frame: by_gue(frame, outer=4), RED),
    (31, lambda frame: by_gue(frame, outer=6), RED),
    (40, by_dsr, EDGE),
    (41, by_dsr, BLUE),
    (42, by_dsr, CUSTOMER),
    (43, lambda frame: by_ipip(frame, outer=6, server="fd00:3::11", weir="fd00:3::2"), CUSTOMER)]


def make(s: Scenario) -> None:
    for number, becomes, out in MODES:
        for family in (4, 6):
            for frame in list(typical_packets(family, vip(family, number)))[::4]:
                for into in (EDGE, RED, BLUE, CUSTOMER):
                    s.forwarded(tagged(frame, *into), tagged(becomes(frame), *out))
    s.wait(seconds=1)
    frame = bytes(link() / ip(4, vip(4, 10)) / UDP(sport=4100, dport=80) / Raw(b"priority"))
    for_red = tagged(by_dsr(frame), 100)
    s.forwarded(tagged(frame, 0, priority=5), for_red)  # a lone priority: untagged
    s.forwarded(tagged(frame, 200, priority=7), for_red)
    s.forwarded(tagged(frame, 300, 10, priority=3), for_red)
    s.forwarded(tagged(frame, 300, 10, outer_type=0x8100), for_red)  # 802.1Q in 802.1Q: from older switches
    answers(s)
    foreign(s)
    sizes(s)


def answers(s: Scenario) -> None:
    """By the VLAN that asked, with its tag."""
    for ids in (EDGE, RED, BLUE, CUSTOMER):
        echo = Ether(src=CLIENT_MAC, dst=WEIR_MAC) / ip(4, vip(4, 20), id=0) / ICMP() / Raw(b"ping")
        reply = Ether(src=WEIR_MAC, dst=CLIENT_MAC) / ip(4, "198.51.100.7", source=vip(4, 20), id=0) / ICMP(type=0) / Raw(b"ping")
        s.answered(tagged(bytes(echo), *ids, priority=1), tagged(bytes(reply), *ids))
        request = Ether(src=CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=CLIENT_MAC, psrc="10.1.0.77", pdst=vip(4, 10))
        answer = Ether(src=WEIR_MAC, dst=CLIENT_MAC) / ARP(op=2, hwsrc=WEIR_MAC, psrc=vip(4, 10), hwdst=CLIENT_MAC,
                                                           pdst="10.1.0.77")
        s.answered(tagged(bytes(request), *ids), tagged(bytes(answer), *ids))
        echo6 = Ether(src=CLIENT_MAC, dst=WEIR_MAC) / ip(6, vip(6, 20)) / ICMPv6EchoRequest(data=b"ping")
        reply6 = Ether(src=WEIR_MAC, dst=CLIENT_MAC) / ip(6, "2001:db8:c::7", source=vip(6, 20)) / ICMPv6EchoReply(data=b"ping")
        s.answered(tagged(bytes(echo6), *ids), tagged(bytes(reply6), *ids))


def foreign(s: Scenario) -> None:
    """Tags that no port of the device has."""
    for family in (4, 6):
        frame = bytes(link() / ip(family, vip(family, 10)) / TCP(sport=4200, dport=80))
        for ids in ((1,), (101,), (300,), (4095,), (100, 10), (300, 100), (10, 300), (0, 100), (100, 0), (0, 0)):
            s.dropped("vlan_tag", tagged(frame, *ids))
        s.dropped("vlan_tag", tagged(tagged(frame, 10), 300, 10))  # three
        s.dropped("vlan_tag", tagged(frame, 100).replace(b"\x81\x00", b"\x88\xa8", 1))  # 802.1ad alone
        s.dropped("vlan_tag", tagged(frame, 300, 10).replace(b"\x81\x00", b"\x88\xa8", 1))  # and as the inner
        s.dropped("unknown_ethertype", tagged(frame, 100).replace(b"\x81\x00", b"\x91\x00", 1))  # no standard's
        for length in (14, 15, 17):
            s.dropped("vlan_tag", tagged(frame, 100)[:length])  # no EtherType behind the tag
        for length in (18, 21):
            s.dropped("vlan_tag", tagged(frame, 300, 10)[:length])
        s.dropped("ip_truncated", tagged(frame, 100)[:18])
        s.dropped("ip_truncated", tagged(frame, 300, 10)[:22])
    for length in (1, 13):
        s.dropped("runt_frame", frame[:length])


def sizes(s: Scenario) -> None:
    """Tags take nothing of the mtu: that of the port a packet leaves by."""
    def packet(number: int, length: int) -> bytes:
        return bytes(link() / ip(4, vip(4, number), flags="DF") / UDP(sport=4300, dport=80) / Raw(bytes(length - 28)))

    for number, mtu, becomes, out in ((10, 1500, by_dsr, RED), (41, 1400, by_dsr, BLUE), (42, 1500, by_dsr, CUSTOMER),
                                      (43, 1460, MODES[-1][1], CUSTOMER), (20, 1480, MODES[1][1], RED)):
        for into in (EDGE, CUSTOMER):
            s.forwarded(tagged(packet(number, mtu), *into), tagged(becomes(packet(number, mtu)), *out))
            s.dropped("too_big", tagged(packet(number, mtu + 1), *into))
