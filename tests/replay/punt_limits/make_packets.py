"""A flood of one class is held to its limit, and leaves the other classes alone."""
from scapy.layers.inet import TCP
from scapy.layers.l2 import ARP, Ether

from support.python.scenario import Scenario
from support.python.traffic import CLIENT_MAC, ip, link

CONFIG = "../configs/with_host.cfg"
ARP_BURST, SYN_BURST = 256, 128  # docs/operating.md, "What the kernel gets"
ARP_RATE = 1000


def make(s: Scenario) -> None:
    """Frames are 10 us apart: each flood is over before a bucket gets its next tokens, 1/64 s later."""
    arp = bytes(Ether(src=CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=CLIENT_MAC, psrc="10.1.0.1", pdst="10.1.0.3"))
    for number in range(400):
        flood(s, "arp", number < ARP_BURST, arp)
    for number in range(200):
        flood(s, "tcp_syn", number < SYN_BURST,
              bytes(link() / ip(4, "10.1.0.3") / TCP(sport=1024 + number, dport=22, flags="S")))
    for number in range(20):
        s.punted("bgp", link() / ip(4, "10.1.0.3", source="10.1.0.1") / TCP(sport=179, dport=40000 + number, flags="A"))
    s.wait(seconds=0.125)
    for number in range(200):
        flood(s, "arp", number < ARP_RATE / 8, arp)


def flood(s: Scenario, punt_class: str, passes: bool, frame: bytes) -> None:
    if passes:
        s.punted(punt_class, frame)
    else:
        s.dropped("punt_limited", frame)
