"""Frames that tests send through weir, made by scapy into captures for the blaster."""

from __future__ import annotations

import logging
import random
from pathlib import Path

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)  # it warns of namespaces without routes
from scapy.all import (ARP, ICMP, IP, TCP, UDP, Ether, ICMPv6EchoRequest, ICMPv6ND_NS, IPv6, Raw,  # noqa: E402
                       wrpcap)

from lab.network import Leg, Service  # noqa: E402
from lab.weir import PROBE_PORT  # noqa: E402


def probes(file: Path, sender: Leg, weir_mac: str, services: list[Service], source: tuple[str, str],
           flows: int = 16) -> Path:
    """Datagrams to services from so many L4 ports each: weir sends every one on, the servers have no use for them."""
    wrpcap(str(file), [
        Ether(src=sender.mac, dst=weir_mac)
        / (IP(src=source[0], dst=one.vip) if one.vip_family == 4 else IPv6(src=source[1], dst=one.vip))
        / UDP(sport=20000 + flow, dport=PROBE_PORT) / Raw(b"probe")
        for flow in range(flows) for one in services])
    return file


def junk(file: Path, sender: Leg, weir_mac: str, own: list[str], vip: str, number: int = 1200) -> Path:
    """What a hostile segment sends: to weir itself, to VIPs without a service there, to nobody; from addresses that do not
    exist; no two alike."""
    dice = random.Random(4)

    def anybody4() -> str:
        return f"10.1.0.{dice.randrange(120, 250)}" if dice.random() < 0.5 else f"198.51.100.{dice.randrange(1, 255)}"

    def anybody6() -> str:
        return f"fd00:1::{dice.randrange(0x1000, 0xffff):x}"

    def one(kind: int):  # type: ignore[no-untyped-def]
        port, to_weir = dice.randrange(1, 65536), Ether(src=sender.mac, dst=weir_mac)
        to_all = Ether(src=sender.mac, dst="ff:ff:ff:ff:ff:ff")
        return [
            lambda: to_all / ARP(op=1, hwsrc=f"02:66:00:00:{dice.randrange(256):02x}:{dice.randrange(256):02x}",
                                 psrc=anybody4(), pdst=own[0]),
            lambda: to_weir / IPv6(src=anybody6(), dst=own[1]) / ICMPv6ND_NS(tgt=own[1]),
            lambda: to_weir / IP(src=anybody4(), dst=own[0]) / TCP(sport=port, dport=dice.randrange(1, 65536), flags="S"),
            lambda: to_weir / IP(src=anybody4(), dst=own[0]) / TCP(sport=port, dport=179, flags="S"),
            lambda: to_weir / IP(src=anybody4(), dst=own[0]) / UDP(sport=port, dport=dice.randrange(1, 65536)) / Raw(b"x" * 20),
            lambda: to_weir / IP(src=anybody4(), dst=own[0]) / ICMP() / Raw(b"x" * 20),
            lambda: to_weir / IPv6(src=anybody6(), dst=own[1]) / ICMPv6EchoRequest(),
            lambda: to_weir / IP(src=anybody4(), dst=own[0], proto=dice.choice([2, 47, 89, 112, 132])) / Raw(b"x" * 20),
            lambda: to_weir / IP(src=anybody4(), dst=vip) / TCP(sport=port, dport=22, flags="S"),
            lambda: to_weir / IP(src=anybody4(), dst="192.0.2.99") / UDP(sport=port, dport=53),
            lambda: Ether(src=sender.mac, dst="01:80:c2:00:00:0e", type=0x88cc) / Raw(b"x" * 40),
            lambda: Ether(src=sender.mac, dst=weir_mac, type=dice.choice([0x8137, 0x9000, 0x88b5])) / Raw(b"x" * 40),
        ][kind]()

    wrpcap(str(file), [one(n % 12) for n in range(number)])
    return file
