"""A storm of neighbours that do not exist, as frames on the wire: 100,000 ARP requests and neighbour solicitations, each of
another address and MAC, beside traffic. Memory, the kernel's table and the gateways stay as they were."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from pathlib import Path

import pytest

from frames import probes
from lab.blast import Blast
from lab.network import Leg
from lab.proofs import Witness, curl
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.watch import on_the_wire
from lab.weir import Weir

STORM, RATE, SECONDS = 100_000, 8_000, 15.0
GC_THRESH3 = 1_024  # net.ipv4 and net.ipv6.neigh.default: the most entries of a family
MOST_MEMORY = 4 << 10  # kB more than before
LONGEST_GAP = 0.5  # seconds between two forwarded probes, on a busy machine
ETHERNET, PCAP = struct.Struct("!6s6sH"), struct.Struct("<IHHiIII")


def checksum(data: bytes) -> int:
    total = sum(word for (word,) in struct.iter_unpack("!H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def who_has(own: IPv4Address, sender: IPv4Address, mac: bytes) -> bytes:
    return ETHERNET.pack(b"\xff" * 6, mac, 0x0806) + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + sender.packed \
        + bytes(6) + own.packed + bytes(18)


def solicitation(own: IPv6Address, sender: IPv6Address, mac: bytes) -> bytes:
    """RFC 4861 4.3: of its sender the receiver makes an entry with this MAC."""
    group = b"\xff\x02" + bytes(9) + b"\x01\xff" + own.packed[13:]
    body = own.packed + b"\x01\x01" + mac
    pseudo = sender.packed + group + struct.pack("!II", 8 + len(body), 58)
    head = struct.pack("!BBHI", 135, 0, checksum(pseudo + struct.pack("!BBHI", 135, 0, 0, 0) + body), 0)
    ip = struct.pack("!IHBB", 6 << 28, len(head) + len(body), 58, 255) + sender.packed + group
    return ETHERNET.pack(b"\x33\x33" + group[12:], mac, 0x86DD) + ip + head + body


def storm(file: Path, own: list[str]) -> Path:
    own4, own6 = IPv4Address(own[0]), IPv6Address(own[1])
    with file.open("wb") as capture:
        capture.write(PCAP.pack(0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number in range(STORM):
            mac = b"\x02\x66" + struct.pack("!I", number)
            frame = who_has(own4, IPv4Address(int(IPv4Address("10.2.0.0")) + number), mac) if number % 2 \
                else solicitation(own6, IPv6Address(int(IPv6Address("fd00:1::1:0:0:0")) + number), mac)
            capture.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
    return file


def memory_kb(weir: Weir) -> int:
    assert weir.process
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{weir.process.pid}/status").read_text())
    assert found
    return int(found[1])


def table(lab: Lab, family: int) -> dict[str, str]:
    """Address and MAC of all that the kernel has on the host interface."""
    lines = lab.ip("weir", f"-{family}", "neigh", "show", "dev", "weir0", "nud", "all").splitlines()
    return {words[0]: words[words.index("lladdr") + 1] if "lladdr" in words else "" for line in lines
            if (words := line.split())}


@pytest.mark.parametrize("layout", ["routed"], indirect=True)
def test_storm_of_neighbours(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path, say: Callable[[str], None]) -> None:
    witness, port = Witness(lab), lab.raw_leg("edge")
    leg: Leg = next(leg for leg in lab.network.host(witness.host).legs if leg.device == witness.device)
    own = lab.network.port("edge").own
    services = [one for one in lab.network.services if one.kind == "gue"]  # by a gateway, over either family
    assert all(wait_until(lambda url=one.url(): curl(lab, url) != "", 10) for one in services)
    gates = {family: lab.network.port("edge").routes[family == 6].gateways[0] for family in (4, 6)}
    macs = {family: table(lab, family)[gates[family]] for family in gates}
    spoofed, steady = storm(tmp_path / "storm.pcap", own), tmp_path / "probes.pcap"
    probes(steady, leg, port.mac, services, ("10.1.9.100", "fd00:10::100"))
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 5)
    before, memory = weir.metrics(), memory_kb(weir)
    with on_the_wire(lab, "weir", port, "udp", "and", "ether", "src", port.mac) as capture, \
            Blast(lab, witness.host, witness.device, steady, SECONDS + 2, rate=1000), \
            Blast(lab, witness.host, witness.device, spoofed, SECONDS, RATE) as blast:
        most = {family: 0 for family in gates}
        while blast.running():
            for family in gates:
                known = table(lab, family)
                most[family] = max(most[family], len(known))
                assert known[gates[family]] == macs[family], "the gateway's entry"
        sent = blast.result()
        times = [frame.time for frame in capture.frames()]
        grown = memory_kb(weir) - memory
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 5), weir.metrics().text
    now = weir.metrics()

    def more(name: str, **labels: str) -> float:
        return now.sum(name, **labels) - before.sum(name, **labels)

    limited, punted = more("dropped_packets_total", reason="punt_limited"), more("worker_punted_packets_total")
    gap = max(later - sooner for sooner, later in pairwise(times))
    say(f"{sent.frames:,} spoofed at {sent.rate:,.0f}/s: {punted:,.0f} punted, {limited:,.0f} limited; kernel's table at most "
        f"{most[4]} and {most[6]} entries; weir's memory {grown:+,} kB; {len(times):,} probes forwarded, longest gap "
        f"{1000 * gap:.0f} ms; {more('netlink_changes_total'):,.0f} notifications concerned weir")
    assert sent.frames >= STORM
    assert limited + punted >= 0.9 * sent.frames, "the device lost too many for a storm"
    assert limited > punted, "it is limited"
    assert max(most.values()) <= GC_THRESH3
    assert grown <= MOST_MEMORY
    assert gap <= LONGEST_GAP
    assert more("dropped_packets_total", reason="no_neighbor") == 0
    assert {family: table(lab, family)[gates[family]] for family in gates} == macs
    for one in services:
        assert curl(lab, one.url(), seconds=5).strip() == "TestWeb03"
