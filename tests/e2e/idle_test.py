"""What an idle worker costs, asleep and polling, and what sleep adds to the latency of the next packet."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from lab.scenarios import VIP4
from lab.shell import wait_until
from lab.topology import Lab
from lab.weir import Weir, config_text

SECONDS = 3
MOST_ASLEEP = 0.05  # of a CPU


def cpu_seconds(pid: int) -> dict[str, float]:
    """Of each thread so far, user and system."""
    seconds = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        user, system = rest.split()[11:13]
        seconds[f"{name}/{task.name}"] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return seconds


def use_of_cpu(weir: Weir) -> dict[str, float]:
    """Of each thread, as a share of one CPU, over some seconds without traffic."""
    assert weir.process
    before, begun = cpu_seconds(weir.process.pid), time.monotonic()
    time.sleep(SECONDS)
    passed = time.monotonic() - begun
    return {name: (now - before.get(name, 0)) / passed for name, now in cpu_seconds(weir.process.pid).items()}


def round_trip(lab: Lab, interval: str) -> tuple[float, float]:
    """Average and longest, in milliseconds, of ping to the VIP, which weir's worker answers itself."""
    said = lab.execute("client", "ping", "-q", "-c", "50", "-i", interval, "-W", "2", VIP4)
    times = re.search(r"= [\d.]+/([\d.]+)/([\d.]+)/", said)
    assert times and " 0% packet loss" in said, said
    return float(times[1]), float(times[2])


def test_sleep_spares_the_cpu(lab: Lab, tmp_path: Path, say: Callable[[str], None]) -> None:
    for idle in ("poll", "sleep"):
        (tmp_path / idle).mkdir()
        with Weir(lab, tmp_path / idle, config_text(lab.network, idle=idle)) as weir:
            assert wait_until(lambda: lab.succeeds("client", "ping", "-c", "1", "-W", "1", VIP4), 5)
            time.sleep(0.5)
            used = use_of_cpu(weir)
            trips = {interval: round_trip(lab, interval) for interval in ("0.002", "0.05")}
            say(f"idle = {idle}: " + ", ".join(f"{name.split('/')[0]} {100 * share:.1f} %" for name, share in used.items()
                                               if share > 0.0005)
                + "; ping of the VIP, average and longest: "
                + ", ".join(f"each {1000 * float(interval):.0f} ms {average:.3f}, {longest:.3f} ms"
                            for interval, (average, longest) in trips.items()))
            if idle == "sleep":
                assert max(used.values()) < MOST_ASLEEP
