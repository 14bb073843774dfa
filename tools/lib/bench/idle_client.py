"""The client of tools/bench --idle: one ARP request for the VIP after each gap, and how long its answer takes.

    python3 -m bench.idle_client INTERFACE SCHEDSTAT     prints one JSON object a line

Runs in weir's network namespace, at the other end of its port. SCHEDSTAT is the worker thread's, in /proc: what the
worker ran while the packets of one gap were sent, and while none were, is its share of the CPU.
"""

from __future__ import annotations

import ipaddress
import json
import random
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.captures import FRAME_BYTES, VIP

ETH_P_ARP = 0x0806
REQUEST, REPLY = 1, 2
CLIENT_MAC, CLIENT = bytes.fromhex("020000000100"), ipaddress.IPv4Address("192.0.2.100")
PACKETS = {0.1: 1000, 1.0: 1000, 10.0: 150, 100.0: 20}  # by gap in ms: some seconds each
SETTLING, IDLE = 2.2, 1.8  # seconds without a packet: until the naps are longest; measured
SPIN = 0.0003  # seconds: shorter gaps are spun for, because a sleep is late by as much


def request() -> bytes:
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, REQUEST) + CLIENT_MAC + CLIENT.packed
    arp += bytes(6) + ipaddress.IPv4Address(VIP).packed
    return (b"\xff" * 6 + CLIENT_MAC + struct.pack("!H", ETH_P_ARP) + arp).ljust(FRAME_BYTES, b"\0")


def is_reply(frame: bytes) -> bool:
    return frame[20:22] == struct.pack("!H", REPLY) and frame[28:32] == ipaddress.IPv4Address(VIP).packed


def pause(seconds: float) -> None:
    end = time.perf_counter() + seconds
    if seconds > SPIN:
        time.sleep(seconds)
    while time.perf_counter() < end:
        pass


def exchange(wire: socket.socket) -> float | None:
    """Seconds from a request to its answer; None: there was none within a second."""
    begun = time.perf_counter()
    wire.send(request())
    try:
        while not is_reply(wire.recv(2048)):
            pass
    except TimeoutError:
        return None
    return time.perf_counter() - begun


class CpuTime:
    """The worker's share of its CPU since the last question."""

    def __init__(self, schedstat: Path) -> None:
        self._file = schedstat
        self._before = self._now()

    def _now(self) -> tuple[float, float]:
        return int(self._file.read_text().split()[0]) / 1e9, time.perf_counter()

    def share(self) -> float:
        before, self._before = self._before, self._now()
        return (self._before[0] - before[0]) / (self._before[1] - before[1])


def measure(wire: socket.socket, cpu: CpuTime) -> Iterator[dict[str, object]]:
    chance = random.Random(1)
    for _ in range(10):
        exchange(wire)
    for gap, packets in PACKETS.items():
        waits: list[float | None] = []
        cpu.share()
        for _ in range(packets):
            # Not in step with anybody's timer.
            pause(gap / 1e3 * chance.uniform(0.8, 1.2))
            waits.append(exchange(wire))
        yield {"gap_ms": gap, "cpu_share": cpu.share(), "lost": waits.count(None),
               "us": [round(wait * 1e6, 1) for wait in waits if wait is not None]}
    time.sleep(SETTLING)
    cpu.share()
    time.sleep(IDLE)
    yield {"gap_ms": None, "cpu_share": cpu.share(), "lost": 0, "us": []}


def main(interface: str, schedstat: str) -> int:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as wire:
        wire.bind((interface, ETH_P_ARP))
        wire.settimeout(1.0)
        for found in measure(wire, CpuTime(Path(schedstat))):
            print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
