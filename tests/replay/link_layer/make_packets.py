"""Frames that are no IP for weir: runts, VLAN tags (but for a lone priority), other EtherTypes, LLC, bridges' own protocols."""
from scapy.layers.inet import TCP
from scapy.layers.l2 import LLC, SNAP, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from support.python.scenario import Scenario
from support.python.traffic import CLIENT_MAC, WEIR_MAC, ip, vip


def make(s: Scenario) -> None:
    for number in (10, 20, 30):
        packet = ip(4, vip(4, number)) / TCP(sport=4000, dport=80)
        packet6 = ip(6, vip(6, number)) / TCP(sport=4000, dport=80)
        for inner in (packet, packet6):
            s.forwarded(Ether(src=CLIENT_MAC, dst=WEIR_MAC) / inner)
            s.forwarded(Ether(src=CLIENT_MAC, dst=WEIR_MAC) / Dot1Q(prio=5, vlan=0) / inner)
            s.dropped("vlan_tag", Ether(src=CLIENT_MAC, dst=WEIR_MAC) / Dot1Q(vlan=0) / Dot1Q(vlan=0) / inner)
            for tag in (1, 100, 4095):  # default VLAN, others
                s.dropped("vlan_tag", Ether(src=CLIENT_MAC, dst=WEIR_MAC) / Dot1Q(vlan=tag) / inner)
            s.dropped("vlan_tag", Ether(src=CLIENT_MAC, dst=WEIR_MAC, type=0x88A8) / Dot1Q(vlan=5) / Dot1Q(vlan=6) / inner)
            stack = Ether(src=CLIENT_MAC, dst=WEIR_MAC)
            for tag in range(9):
                stack = stack / Dot1Q(vlan=tag)
            s.dropped("vlan_tag", stack / inner)
    good = bytes(Ether(src=CLIENT_MAC, dst=WEIR_MAC) / ip(4, vip(4, 10)) / TCP(sport=4000, dport=80))
    for length in (1, 6, 12, 13):
        s.dropped("runt_frame", good[:length])
    for ether_type in (0x0000, 0x0842, 0x6003, 0x8035, 0x8847, 0x8863, 0x88CC, 0x8906, 0x9000, 0xFFFF):
        s.dropped("unknown_ethertype", Ether(src=CLIENT_MAC, dst=WEIR_MAC, type=ether_type) / Raw(bytes(46)))
    s.dropped("unknown_ethertype", Dot3(src=CLIENT_MAC, dst=WEIR_MAC) / LLC() / SNAP() / ip(4, vip(4, 10)))
    # the link's families must agree with the packet's
    s.dropped("ip_version", Ether(src=CLIENT_MAC, dst=WEIR_MAC, type=0x86DD) / Raw(good[14:] + bytes(20)))
