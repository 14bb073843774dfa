"""Addresses that may not be on a wire: dropped, whatever the mode (RFC 1812 5.3.7, RFC 4291)."""
from scapy.layers.inet import TCP

from support.python.scenario import Scenario
from support.python.traffic import WEIR_MAC, Ether, ip, link, vip

SOURCES_V4 = ("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "224.0.0.1", "239.1.2.3", "240.0.0.1",
              "255.255.255.255")
SOURCES_V6 = ("::", "::1", "ff02::1", "ff0e::1234", "fe80::1", "febf::1", "::ffff:198.51.100.7")
DESTINATIONS_V4 = ("0.0.0.0", "127.0.0.1")
GROUPS_V4 = ("224.0.0.5", "239.1.2.3", "240.0.0.1", "255.255.255.255")
DESTINATIONS_V6 = ("::", "::1", "ff02::1", "ff0e::1234")


def make(s: Scenario) -> None:
    segment = TCP(sport=4000, dport=80)
    for number in (10, 20, 30):
        for source in SOURCES_V4:
            s.dropped("ip_martian_source", link() / ip(4, vip(4, number), source=source) / segment)
        for source in SOURCES_V6:
            s.dropped("ip_martian_source", link() / ip(6, vip(6, number), source=source) / segment)
        for family in (4, 6):  # LAND: from the VIP to itself
            s.dropped("ip_martian_source", link() / ip(family, vip(family, number), source=vip(family, number)) / segment)
    for destination in DESTINATIONS_V4 + GROUPS_V4:
        s.dropped("ip_martian_destination", link() / ip(4, destination) / segment)
    for destination in DESTINATIONS_V6:
        s.dropped("ip_martian_destination", link() / ip(6, destination) / segment)
    # just outside of each range
    for source in ("1.0.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255"):
        s.forwarded(link() / ip(4, vip(4, 20), source=source) / segment)
    for source in ("::2", "fe7f::1", "fec0::1", "feff::1", "::fffe:0:1"):
        s.forwarded(link() / ip(6, vip(6, 20), source=source) / segment)
    # not weir's to forward
    s.dropped("not_vip", link() / ip(4, "192.0.2.1") / segment)
    s.dropped("not_vip", link() / ip(6, "2001:db8:2::1") / segment)
    s.dropped("not_vip", link() / ip(4, "10.1.0.11") / segment)
    s.dropped("not_our_mac", Ether(src="02:00:00:00:00:fe", dst="02:00:00:00:00:77") / ip(4, vip(4, 10)) / segment)
    s.dropped("not_our_mac", Ether(src="02:00:00:00:00:fe", dst="ff:ff:ff:ff:ff:ff") / ip(4, vip(4, 10)) / segment)
    s.dropped("not_our_mac", Ether(src="02:00:00:00:00:fe", dst="01:00:5e:00:00:05") / ip(4, vip(4, 10)) / segment)
    s.dropped("not_our_mac", Ether(src="02:00:00:00:00:fe", dst="33:33:00:00:00:01") / ip(6, vip(6, 10)) / segment)
    s.dropped("bad_source_mac", Ether(src="03:00:00:00:00:fe", dst=WEIR_MAC) / ip(4, vip(4, 10)) / segment)
    s.dropped("bad_source_mac", Ether(src="00:00:00:00:00:00", dst=WEIR_MAC) / ip(6, vip(6, 10)) / segment)
