#!/usr/bin/python3
"""Writes the demo's capture: twelve clients over TCP, four over UDP, and what an appliance also sees.

    make_capture.py OUT.pcap
"""

from __future__ import annotations

import sys

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

WEIR, ROUTER = "02:00:00:00:00:01", "02:00:00:00:00:fe"
VIP = "203.0.113.10"
START = 1_700_000_000.0


def tcp_flow(client: str, port: int) -> list[Packet]:
    """A client's side of a short connection, as one-way modes see it."""
    def segment(flags: str, payload: bytes = b"", seq: int = 1) -> Packet:
        frame = Ether(src=ROUTER, dst=WEIR) / IP(src=client, dst=VIP, ttl=57) / TCP(
            sport=port, dport=80, flags=flags, seq=seq, ack=0 if flags == "S" else 1)
        return frame / Raw(payload) if payload else frame
    request = b"GET / HTTP/1.1\r\nHost: weir\r\n\r\n"
    return [segment("S", seq=0), segment("A"), segment("PA", request), segment("FA", seq=1 + len(request))]


def others() -> list[Packet]:
    """Answered, dropped, not for weir."""
    to_weir = Ether(src=ROUTER, dst=WEIR)
    return [Ether(src=ROUTER, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=ROUTER, psrc="10.1.0.1", pdst=VIP),
            to_weir / IP(src="198.51.100.1", dst=VIP) / ICMP(type=8, id=7, seq=1) / Raw(b"ping"),
            to_weir / IP(src="198.51.100.1", dst=VIP) / TCP(sport=4242, dport=22, flags="S"),
            to_weir / IP(src="198.51.100.1", dst="203.0.113.99") / TCP(sport=4242, dport=80, flags="S"),
            to_weir / IP(src="198.51.100.2", dst=VIP, ttl=0) / UDP(sport=5000, dport=53) / Raw(b"x")]


def main() -> None:
    packets = [packet for n in range(12) for packet in tcp_flow(f"198.51.100.{10 + n}", 40_000 + n)]
    packets += [Ether(src=ROUTER, dst=WEIR) / IP(src=f"192.0.2.{n}", dst=VIP) / UDP(sport=5000 + n, dport=53) /
                Raw(b"query") for n in range(4)]
    packets += others()
    for number, packet in enumerate(packets):
        packet.time = START + number * 0.001
    wrpcap(sys.argv[1], packets)


if __name__ == "__main__":
    main()
