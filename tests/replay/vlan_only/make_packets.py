"""A device of VLANs alone: what comes untagged is nobody's. Another device beside it has no VLANs."""
from scapy.layers.inet import UDP

from support.python.scenario import Scenario
from support.python.traffic import by_dsr, by_ipip, ip, link, tagged, vip

CONFIG = "weir.cfg"
PLAIN_MAC = bytes.fromhex("020000000002")


def make(s: Scenario) -> None:
    for number in range(4):
        frame = bytes(link() / ip(4, vip(4, 10)) / UDP(sport=4000 + number, dport=80))
        frame6 = bytes(link() / ip(6, vip(6, 20)) / UDP(sport=4000 + number, dport=80))
        for one, becomes in ((frame, by_dsr(frame)), (frame6, by_ipip(frame6, outer=4))):
            s.forwarded(tagged(one, 100), tagged(becomes, 101), port="clients", out="clients")
            s.dropped("vlan_tag", one, port="clients")
            s.dropped("vlan_tag", tagged(one, 0), port="clients")
            s.forwarded(PLAIN_MAC + one[6:], tagged(becomes, 101), port="plain", out="clients")
            s.forwarded(tagged(PLAIN_MAC + one[6:], 0, priority=2), tagged(becomes, 101), port="plain", out="clients")
            s.dropped("vlan_tag", tagged(PLAIN_MAC + one[6:], 100), port="plain")
            # the device's MAC address is that of both its ports, and of no other
            s.dropped("not_our_mac", tagged(PLAIN_MAC + one[6:], 101), port="clients")
    s.dropped("runt_frame", tagged(frame, 100)[:13], port="clients")
