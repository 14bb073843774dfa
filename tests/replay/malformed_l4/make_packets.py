"""TCP and UDP headers that are cut or lie about their length; protocols that weir does not balance."""
from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import ip, link, vip

OTHER_PROTOCOLS = (2, 4, 41, 47, 50, 51, 88, 89, 112, 132, 136, 253, 255)  # IGMP, tunnels, IPsec, routing, SCTP


def make(s: Scenario) -> None:
    for number in (10, 20, 30):
        for family in (4, 6):
            make_for(s, family, ip(family, vip(family, number), **{"proto" if family == 4 else "nh": 6}),
                     ip(family, vip(family, number), **{"proto" if family == 4 else "nh": 17}))
            for protocol in OTHER_PROTOCOLS:
                header = ip(family, vip(family, number), **{"proto" if family == 4 else "nh": protocol})
                reason = "unknown_protocol"
                s.dropped(reason, link() / header / Raw(bytes(40)))
    # each family has an ICMP of its own
    s.dropped("unknown_protocol", link() / ip(4, vip(4, 10), proto=58) / Raw(b"\x80" + bytes(7)))
    s.dropped("unknown_protocol", link() / ip(6, vip(6, 10), nh=1) / Raw(b"\x08" + bytes(7)))


def make_for(s: Scenario, family: int, tcp: object, udp: object) -> None:
    segment = bytes(TCP(sport=4000, dport=80, options=[("MSS", 1460)]))
    datagram = bytes(UDP(sport=4000, dport=80, len=12)) + b"data"
    s.forwarded(link() / tcp / Raw(segment))
    for length in (0, 1, 3, 4, 13, 19):
        s.dropped("l4_truncated", link() / tcp / Raw(segment[:length]))
    s.dropped("l4_truncated", link() / tcp / Raw(segment[:23]))  # data offset 6, but 23 bytes
    for words in (0, 1, 4, 7, 15):
        s.dropped("l4_truncated", link() / tcp / Raw(segment[:12] + bytes([words << 4]) + segment[13:]))
    for flags in (0x00, 0xFF, 0x03, 0x06, 0x29):  # null, Christmas tree, SYN FIN, SYN RST: end to end matters
        s.forwarded(link() / tcp / Raw(segment[:13] + bytes([flags]) + segment[14:]))

    s.forwarded(link() / udp / Raw(datagram))
    for length in (0, 1, 7):
        s.dropped("l4_truncated", link() / udp / Raw(datagram[:length]))
    for field in (0, 1, 7, 13, 0xFFFF):  # the length field: below a header, beyond the packet
        s.dropped("l4_truncated", link() / udp / Raw(datagram[:4] + field.to_bytes(2, "big") + datagram[6:]))
    for field in (0x0000, 0xFFFF, 0x1234):  # checksums are the ends' business
        s.forwarded(link() / udp / Raw(datagram[:6] + field.to_bytes(2, "big") + datagram[8:]))
        s.forwarded(link() / tcp / Raw(segment[:16] + field.to_bytes(2, "big") + segment[18:]))
