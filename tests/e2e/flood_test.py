"""Junk at full speed: what the kernel talks about gets through, and every junk packet is counted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from frames import junk
from lab.blast import Blast, Blasted
from lab.scenarios import VIP4
from lab.servers import WebServers
from lab.shell import end, in_namespace, wait_until
from lab.topology import Lab
from lab.weir import Metrics, Weir

KEEPALIVES = str(Path(__file__).parent / "keepalives.py")
SECONDS = 8
LONGEST_GAP = 0.5  # seconds, on a busy machine; a hold time is 3 s at least (RFC 4271 4.2)


def session_end(lab: Lab, host: str, role: str, address: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(in_namespace(lab.namespace(host), [sys.executable, KEEPALIVES, role, address, "179",
                                                               str(SECONDS)]), stdout=subprocess.PIPE)


def flood(lab: Lab, weir: Weir, file: Path, seconds: float, rate: int | None) -> tuple[Blasted, float, Metrics, Metrics]:
    """What was sent; the part of it that weir's device passed on; the metrics before and after."""
    def arrived() -> int:
        return lab.counted("weir", "edge", "rx_packets")

    arrived_before, before = arrived(), weir.metrics()
    with Blast(lab, "client", "eth0", file, seconds, rate) as blast:
        sent = blast.result()
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 5), weir.metrics().text
    now = weir.metrics()
    delivered = now.sum("worker_rx_packets_total") - before.sum("worker_rx_packets_total")
    return sent, delivered / (arrived() - arrived_before), before, now


def test_session_lives_through_a_flood_of_junk(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path,
                                               say: Callable[[str], None]) -> None:
    """At what the virtual device delivers: more than it takes, it drops before weir sees it."""
    own, leg = lab.network.port("edge").own, lab.network.host("client").legs[0]
    file = junk(tmp_path / "junk.pcap", leg, lab.raw_leg("edge").mac, own, VIP4)
    most, passed, _, _ = flood(lab, weir, file, 2, None)
    rate = int(most.rate * min(passed, 0.9) * 0.6)
    say(f"junk at full speed: {most.rate:,.0f} packets/s, of which the device delivers {100 * passed:.0f} %")
    ends = [session_end(lab, "weir", "listen", own[0])]
    try:
        assert ends[0].stdout and ends[0].stdout.readline() == b"ready\n"
        ends.append(session_end(lab, "client", "connect", own[0]))
        time.sleep(1)  # the kernels know each other
        _, passed, before, now = flood(lab, weir, file, SECONDS - 3, rate)
        reports = [json.loads(process.communicate(timeout=SECONDS + 10)[0]) for process in ends]
    finally:
        for process in ends:
            end(process)
    dropped = {name: value - before.by("dropped_packets_total", "reason").get(name, 0)
               for name, value in now.by("dropped_packets_total", "reason").items()}
    say(f"a session beside {rate:,} junk packets/s (delivered: {100 * passed:.1f} %): {reports}; dropped: "
        + ", ".join(f"{name} {value:,.0f}" for name, value in dropped.items() if value))
    for mine, other in (reports, reports[::-1]):
        assert mine["received"] == other["sent"] >= SECONDS * 40, "a keepalive is missing"
        assert mine["longest_gap"] < LONGEST_GAP
        assert passed < 0.99 or mine["sent_again"] <= 0.01 * mine["sent"]
    assert rate > 10_000, "that was no flood"
    assert dropped["punt_limited"] > 0
    assert sum(dropped.values()) > 0.5 * rate * (SECONDS - 3) * passed, "most of it is dropped, with a reason"


def test_the_network_is_as_before(lab: Lab, weir: Weir, servers: WebServers) -> None:
    """No neighbour is poisoned, no table full."""
    for host, address in (("client", lab.network.port("edge").own[0]), ("weir", lab.network.backends[0].address4)):
        said = lab.execute(host, "ping", "-c", "3", "-i", "0.2", "-W", "2", address, check=False)
        assert "3 received" in said, said
