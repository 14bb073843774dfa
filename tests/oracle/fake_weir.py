#!/usr/bin/python3
"""A stand-in for `weir replay`, to test the tests: right by construction, slow, and without Maglev.

It takes the oracle's own rules to make output, so it proves nothing about them; the scenarios' expected
captures (made by scapy) and tshark do. Command line and report are those of `weir replay`.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.frame_rules import Packet  # noqa: E402
from oracle.load_balancer import Arrival  # noqa: E402
from oracle.rewrite_rules import Entropy, expected_frame, outer_length  # noqa: E402
from oracle.sticky_rules import StickyClients  # noqa: E402
from oracle.transport_rules import ICMPV6, Judgement, judge_frame  # noqa: E402
from oracle.vlan_rules import put_tags, untag  # noqa: E402
from oracle.world import TCP, UDP, Backend, Port, Service, World, load_world  # noqa: E402
from support.python.checksum import checksum, pseudo_header  # noqa: E402
from support.python.pcap_file import Record, read_pcap, write_pcap  # noqa: E402


HEADERS = Path(__file__).resolve().parents[2] / "dataplane" / "net"
DROP_REASONS = (HEADERS / "drop_reason.h").read_text()
PUNT_LIMITS = {name: (int(rate.replace("'", "")), int(burst.replace("'", ""))) for name, rate, burst in
               re.findall(r"X\((\w+), ([\d']+), ([\d']+),", (HEADERS / "punt_class.h").read_text())}
TICKS_PER_SECOND = 64


class FakeWeir:
    def __init__(self, world: World) -> None:
        self.world = world
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.new_flows: Counter[str] = Counter()
        self.backend_packets: Counter[tuple[str, str]] = Counter()
        self.punted: Counter[str] = Counter()
        self.punt_limited: Counter[str] = Counter()
        self.buckets: dict[str, tuple[int, float]] = {}  # by class: last tick, packets that may pass
        self.flows: dict[tuple[Any, ...], tuple[float, str]] = {}  # last seen, state
        self.flow_homes: dict[tuple[Any, ...], tuple[Backend, int]] = {}  # of sticky pools: and last seen
        self.clients = StickyClients()
        self.outputs: dict[str, list[Record]] = {name: [] for name in world.captures}

    def replay(self, arrivals: list[Arrival]) -> None:
        if arrivals:
            self.world.start(arrivals[0].time)
        for arrival in arrivals:
            self.counts["received"] += 1
            untagged = untag(self.world, arrival.port, arrival.frame)
            if untagged is None:
                self.dropped["vlan_tag"] += 1
                continue
            port, frame = untagged
            arrival = Arrival(arrival.time, port.name, frame)
            judgement = judge_frame(self.world, port, frame)
            if judgement.punt:
                self.punt(arrival, judgement.punt)
            elif judgement.forward is not None:
                self.forward(arrival, judgement, judgement.forward)
            elif judgement.answer in ("arp", "nd", "echo") and not judgement.reasons:
                self.counts["answered"] += 1
                self.send(port.name, arrival.time, answer(judgement, port, arrival.frame))
            else:
                self.dropped[min(judgement.reasons, key=_priority)] += 1

    def punt(self, arrival: Arrival, punt_class: str) -> None:
        rate, burst = PUNT_LIMITS[punt_class]
        tick = arrival.time * TICKS_PER_SECOND // 10**9
        last, room = self.buckets.get(punt_class, (tick, burst))
        room = min(burst, room + (tick - last) * rate / TICKS_PER_SECOND)
        self.buckets[punt_class] = (tick, room - (room >= 1))
        self.counts["punted"] += room >= 1
        (self.punted if room >= 1 else self.punt_limited)[punt_class] += 1
        self.dropped["punt_limited"] += room < 1

    def send(self, port: str, time: int, frame: bytes) -> None:
        capture = self.world.ports_beside(port)[0].name
        self.outputs[capture].append(Record(time, put_tags(self.world.ports[port], frame)))

    def forward(self, arrival: Arrival, judgement: Judgement, service: Service) -> None:
        packet, flow = judgement.packet, judgement.flow
        assert packet is not None and flow is not None
        tuple_hash = _hash(repr(flow))
        chosen = _hash(repr(flow[:1])) if service.pool.hash == "source_ip" else tuple_hash
        if service.pool.stickiness is not None:
            chosen = _hash(repr(service.pool.prefix(packet.source)))
        wheel = [target for target in service.targets if not target[0].is_down(arrival.time)
                 for _ in range(target[0].weight)]
        backend, mode = wheel[chosen % len(wheel)]
        if service.pool.stickiness is not None:
            backend = self.stuck(arrival, packet, service, flow, backend)
        self.note_flow(arrival, packet, service, flow)
        if outer_length(backend, mode, packet) > backend.egress.mtu:
            self.dropped["too_big"] += 1
            return
        label = tuple_hash >> 8 & 0xFFFFF if mode != "dsr" and backend.family == 6 else 0
        entropy = Entropy(label, 49152 + tuple_hash % 16384 if mode == "gue" else 0)
        frame = expected_frame(arrival.frame, packet, backend, mode, _mac(backend), entropy)
        self.counts["forwarded"] += 1
        self.backend_packets[backend.pool, backend.name] += 1
        self.send(backend.egress.name, arrival.time, frame)

    def stuck(self, arrival: Arrival, packet: Packet, service: Service, flow: tuple[Any, ...],
              chosen: Backend) -> Backend:
        """In a sticky pool: a known flow's backend, else its client's, else the chosen one."""
        known = self.flow_homes.get(flow)
        if known is not None and not known[0].was_down_since(known[1], arrival.time):
            backend = known[0]
        else:
            backend = self.clients.expected(service.pool, packet.source, arrival.time) or chosen
            self.clients.note(service.pool, packet.source, backend, arrival.time)
        self.flow_homes[flow] = (backend, arrival.time)
        return backend

    def note_flow(self, arrival: Arrival, packet: Packet, service: Service, flow: tuple[Any, ...]) -> None:
        last, state = self.flows.get(flow, (0.0, ""))
        now, limits = arrival.time / 1e9, self.world.timeouts
        if not state or now - last > limits[state]:
            self.new_flows[service.name] += 1
            state = "tcp_opening" if packet.protocol == TCP else "udp"
        elif packet.protocol != UDP:
            flags = arrival.frame[packet.transport + 13]
            if flags & 5:
                state = "tcp_closing"
            elif state == "tcp_opening" and not flags & 2:
                state = "tcp_established"
        self.flows[flow] = (now, state)

    def report(self) -> dict[str, Any]:
        return {
            **{name: self.counts[name] for name in ("received", "forwarded", "answered", "punted", "originated")},
            "dropped": dict(self.dropped),
            "punted_by_class": dict(self.punted), "punt_limited_by_class": dict(self.punt_limited),
            "services": [{"name": s.name, "new_flows": self.new_flows[s.name]} for s in self.world.services],
            "backends": [{"pool": b.pool, "name": b.name, "packets": self.backend_packets[b.pool, b.name]}
                         for pool in self.world.pools.values() for b in pool.backends]}


def answer(judgement: Judgement, port: Port, frame: bytes) -> bytes:
    packet, link = judgement.packet, frame[6:12] + port.mac
    if packet is None:
        return (link + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02" + port.mac + frame[38:42] + frame[22:32])
    message = frame[packet.transport:packet.end]
    source, destination, hops = packet.destination, packet.source, b"\x40"
    if judgement.answer == "nd":
        source, hops = message[8:24], b"\xff"
        message = bytes((136, 0, 0, 0, 0x60, 0, 0, 0)) + source + b"\x02\x01" + port.mac
    else:
        message = bytes((0 if packet.family == 4 else 129, 0, 0, 0)) + message[4:]
    if packet.family == 4:
        message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
        header = b"\x45\x00" + (20 + len(message)).to_bytes(2, "big") + bytes(4) + b"\x40\x01\x00\x00" + \
            source + destination
        return link + b"\x08\x00" + header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + message
    field = checksum(pseudo_header(source, destination, ICMPV6, len(message)), message)
    message = message[:2] + field.to_bytes(2, "big") + message[4:]
    return link + b"\x86\xdd\x60\x00\x00\x00" + len(message).to_bytes(2, "big") + b"\x3a" + hops + source + \
        destination + message


def _priority(reason: str) -> tuple[bool, bool, int]:
    """Of several true reasons: what a packet asks for comes first, else the order of drop_reason.h."""
    return (reason != "nd_malformed", reason != "nd_not_vip", DROP_REASONS.index(f"X({reason},"))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _mac(backend: Backend) -> bytes:
    return backend.next_hop_mac or b"\x02" + backend.next_hop[-5:].rjust(5, b"\0")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["replay"])
    parser.add_argument("-c", dest="config", type=Path, required=True)
    parser.add_argument("--in", dest="inputs", action="append", default=[])
    parser.add_argument("--out", dest="outputs", action="append", default=[])
    parser.add_argument("--report", type=Path)
    parser.add_argument("--down", action="append", default=[])
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    fake = FakeWeir(load_world(arguments.config, frozenset(arguments.down)))
    arrivals = [Arrival(record.time, port, record.frame)
                for port, _, name in (text.partition("=") for text in arguments.inputs)
                for record in read_pcap(Path(name))]
    fake.replay(sorted(arrivals, key=lambda arrival: arrival.time))
    for port, _, name in (text.partition("=") for text in arguments.outputs):
        write_pcap(Path(name), fake.outputs[port])
    if arguments.report:
        arguments.report.write_text(json.dumps(fake.report()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
