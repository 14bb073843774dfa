"""The replay that instructions are counted on: always the same frames, one capture for each section.

A section is one way through the pipeline: a forwarding mode with its families, or flows that nobody has seen before.
Half of a section's flows are TCP, half UDP. Everything follows from the section's name and the constants below, so a
figure changes only if the program does.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

PACKETS = 20_000
FLOWS = 1_000  # of a section whose flows are known; 1 packet of 20 is its flow's first
FRAME_NS = 500  # at 1 us or more, replay's windows of 1 ms would end in bursts that are not full
BACKENDS = 8
PORT = 80
TCP, UDP = 6, 17
SYN, ACK = 0x02, 0x10
PAYLOAD = bytes(range(64))
WEIR_MAC, CLIENT_MAC = bytes.fromhex("020000000001"), bytes.fromhex("0200000000c1")
# The nanosecond kind of pcap, Ethernet; the time of the first frame is of no consequence.
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
START_SECONDS = 1_700_000_000

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Section:
    name: str
    mode: str
    inner: int  # the clients' family, 4 or 6
    outer: int  # the backends' family
    flows: int = FLOWS


SECTIONS = (
    Section("dsr_v4", "dsr", 4, 4), Section("dsr_v6", "dsr", 6, 6),
    *(Section(f"{mode}_{inner}in{outer}", mode, inner, outer)
      for mode in ("ipip", "gue") for inner in (4, 6) for outer in (4, 6)),
    Section("new_flows_v4", "dsr", 4, 4, PACKETS), Section("new_flows_v6", "dsr", 6, 6, PACKETS),
    Section("nat_v4", "nat", 4, 4), Section("nat_v6", "nat", 6, 6),
)


def vip(family: int) -> Address:
    return IPv4Address("203.0.113.10") if family == 4 else IPv6Address("2001:db8:f::10")


def backend(family: int, number: int) -> Address:
    return IPv4Address(f"192.0.2.{number + 11}") if family == 4 else IPv6Address(f"2001:db8:1::{number + 11:x}")


def configuration(section: Section) -> str:
    """Nothing but what the section needs: an older program that lacks another section's mode still runs this one."""
    addresses = [backend(section.outer, number) for number in range(BACKENDS)]
    neighbors = ",\n".join(f'    {{ address = "{address}"; mac = "02:00:00:00:01:{number:02x}"; port = "edge"; }}'
                           for number, address in enumerate(addresses))
    backends = ",\n".join(f'    {{ name = "Web{number}"; address = "{address}"; }}'
                          for number, address in enumerate(addresses))
    snat = ' snat = { addresses = [ "192.0.2.2", "2001:db8:1::2" ]; };' if section.mode == "nat" else ""
    return f"""# Written by tools/lib/bench/fixed_replay.py.
dataplane = {{ workers = 1; hugepages = false; memory = "64M"; flows_per_worker = 65536; }};
ports = ( {{ name = "edge"; device = "net_pcap0"; addresses = [ "192.0.2.2/24", "2001:db8:1::2/64" ];
            mac = "{WEIR_MAC.hex(':')}"; mtu = 1600;{snat} }} );
neighbors = (
{neighbors}
);
pools = ( {{ name = "web"; backends = (
{backends}
); }} );
services = ( {{ name = "web"; vip = "{vip(section.inner)}"; protocol = [ "tcp", "udp" ]; port = {PORT};
               forwarding = "{section.mode}"; pool = "web"; }} );
"""


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def l4_segment(source: Address, destination: Address, protocol: int, port: int, flags: int) -> bytes:
    def segment(check: int) -> bytes:
        if protocol == TCP:
            return struct.pack("!HHIIBBHHH", port, PORT, 1, 1, 5 << 4, flags, 65535, check, 0) + PAYLOAD
        return struct.pack("!HHHH", port, PORT, 8 + len(PAYLOAD), check) + PAYLOAD

    blank = segment(0)
    pseudo = source.packed + destination.packed + struct.pack("!IHBB", len(blank), 0, 0, protocol)
    return segment(checksum(pseudo + blank) or 0xFFFF)


def ip_packet(source: Address, destination: Address, protocol: int, segment: bytes) -> bytes:
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64) + source.packed + destination.packed + segment
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0x4000, 64, protocol, 0)
    sum_ = checksum(header + source.packed + destination.packed)
    return header[:10] + struct.pack("!H", sum_) + source.packed + destination.packed + segment


def flow_frames(section: Section, number: int, choice: random.Random) -> tuple[bytes, bytes]:
    """A flow's first frame and every later one."""
    source: Address = (IPv4Address(0x0B000000 + choice.getrandbits(24)) if section.inner == 4
                       else IPv6Address((0x26001F16 << 96) + choice.getrandbits(64)))
    destination, protocol = vip(section.inner), TCP if number % 2 == 0 else UDP
    port = choice.randrange(1024, 65536)
    ethernet = WEIR_MAC + CLIENT_MAC + (b"\x08\x00" if section.inner == 4 else b"\x86\xdd")
    first, later = (ethernet + ip_packet(source, destination, protocol,
                                         l4_segment(source, destination, protocol, port, flags))
                    for flags in (SYN, ACK))
    return first, later


def frames(section: Section) -> Iterator[bytes]:
    """Flows take turns, so that a burst holds 32 of them."""
    choice = random.Random(section.name)  # of a text: the same in every version of Python 3
    flows = [flow_frames(section, number, choice) for number in range(section.flows)]
    for packet in range(PACKETS):
        first, later = flows[packet % section.flows]
        yield first if packet < section.flows else later


def write(section: Section, folder: Path) -> None:
    """NAME.cfg and NAME.pcap."""
    (folder / f"{section.name}.cfg").write_text(configuration(section))
    with open(folder / f"{section.name}.pcap", "wb") as out:
        out.write(PCAP_HEADER)
        for packet, frame in enumerate(frames(section)):
            out.write(struct.pack("<IIII", START_SECONDS, packet * FRAME_NS, len(frame), len(frame)) + frame)
