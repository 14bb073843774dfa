"""What idle = "sleep" costs in latency and saves in CPU time: `weir run` with either setting, over two devices.

net_af_packet on a veth pair has no receive interrupts: an idle worker naps. net_tap has them: a frame wakes it. After
a gap without packets a client asks by ARP for the VIP, which weir answers itself; the time to the answer is measured at
the client, whose own way through the kernel and Python is the same with `poll`. Worker and client have a CPU each.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from string import Template

from bench.captures import PORT_MAC, VIP, VIP_PORT
from bench.forwarders import FORWARDING_THREAD, PATIENCE, BenchFailed
from bench.rows import Row
from lab.shell import CommandFailed, end, in_namespace, need_root, run, start, wait_until

HERE = Path(__file__).parent
MODES = ("poll", "sleep")
MOST_IDLE_CPU = 0.05  # of a worker that sleeps
MEMORY_MB = 256


@dataclass(frozen=True)
class Device:
    name: str
    text: str    # as in the configuration
    client: str  # the interface at the other end
    setup: tuple[tuple[str, ...], ...]  # arguments of `ip`, in the namespace


DEVICES = (
    Device("net_af_packet", "net_af_packet0,iface=wire0", "wire1",
           (("link", "add", "wire0", "type", "veth", "peer", "name", "wire1"),
            ("link", "set", "wire0", "up"), ("link", "set", "wire1", "up"))),
    Device("net_tap", "net_tap0,iface=wtap0", "wtap0", ()),
)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def row_of(device: str, mode: str, found: dict[str, object]) -> Row:
    gap, waits = found["gap_ms"], found["us"]
    assert isinstance(waits, list)
    what = "no packets" if gap is None else f"every {gap:g} ms"
    row: Row = {"name": f"idle {device} {mode}: {what}", "device": device, "idle": mode, "gap_ms": gap,
                "cpu_share": found["cpu_share"], "lost": found["lost"], "packets": len(waits)}
    if waits:
        row |= {"us_median": statistics.median(waits), "us_p99": percentile(waits, 0.99)}
    return row


class Namespace:
    """A network namespace without IPv6; a context manager."""

    def __init__(self) -> None:
        self.name = f"weir-{os.getpid()}-idle"

    def __enter__(self) -> "Namespace":
        run("ip", "netns", "add", self.name)
        try:
            run(*in_namespace(self.name, ["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"]))
            run("ip", "-n", self.name, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        run("ip", "netns", "del", self.name, check=False)


def config_text(device: Device, mode: str, cpus: tuple[int, int]) -> str:
    ports = (f'    {{ name = "port0"; device = "{device.text}"; mac = "{PORT_MAC}"; '
             'addresses = [ "192.0.2.2/24" ]; }')
    return Template((HERE / "one_port.cfg.in").read_text()).substitute(
        control=cpus[0], worker=cpus[1], idle=mode, hugepages="false", memory=MEMORY_MB, ports=ports, mac1="02:00:00:00:00:11",
        mac2="02:00:00:00:00:12", vip=VIP, vip_port=VIP_PORT, protocol="tcp", mode="dsr", listen="127.0.0.1:9101")


def worker_thread(process: int) -> Path:
    for task in Path(f"/proc/{process}/task").iterdir():
        if (task / "comm").read_text().strip() == FORWARDING_THREAD:
            return task / "schedstat"
    raise BenchFailed(f"process {process} has no thread {FORWARDING_THREAD}")


def measure(program: Path, device: Device, mode: str, cpus: tuple[int, int], folder: Path) -> list[Row]:
    config, log = folder / "weir.cfg", folder / "weir.log"
    config.write_text(config_text(device, mode, cpus))
    log.write_text("")
    with Namespace() as namespace:
        for arguments in device.setup:
            run("ip", "-n", namespace.name, *arguments)
        weir = start(in_namespace(namespace.name, [str(program), "run", "-c", str(config)]), str(log))
        try:
            ready = wait_until(lambda: weir.poll() is not None or " is running: " in log.read_text(), PATIENCE)
            if not ready or weir.poll() is not None:
                raise BenchFailed(f"weir does not start; its log:\n{log.read_text(errors='replace')}")
            client = ["taskset", "-c", str(cpus[0]), "env", f"PYTHONPATH={HERE.parent}", sys.executable, "-m",
                      "bench.idle_client", device.client, str(worker_thread(weir.pid))]
            said = run(*in_namespace(namespace.name, client), timeout=120)
        finally:
            end(weir)
    return [row_of(device.name, mode, json.loads(line)) for line in said.splitlines()]


def line(row: Row) -> str:
    waits = f"{row['us_median']:10.1f}{row['us_p99']:10.1f}" if "us_median" in row else f"{'':20}"
    share = row["cpu_share"]
    assert isinstance(share, float)
    lost = f"  {row['lost']} of {row['packets']} LOST" if row["lost"] else ""
    return f"{row['name']:42}{waits}{share:10.2%}{lost}"


def faults(rows: list[Row]) -> list[str]:
    """Promises that these rows do not keep."""
    found = [f"{row['name']}: {row['lost']} packets without an answer" for row in rows if row["lost"]]
    for row in rows:
        share = row["cpu_share"]
        if row["idle"] == "sleep" and row["gap_ms"] is None and isinstance(share, float) and share >= MOST_IDLE_CPU:
            found.append(f"{row['name']}: {share:.1%} of a CPU, promised less than {MOST_IDLE_CPU:.0%}")
    return found


def main(program: Path, json_file: Path | None) -> int:
    """0: the promises are kept; 1: one is not; 2: there are no figures."""
    usable = sorted(os.sched_getaffinity(0))
    missing = need_root() or ("this process may use one CPU only: allow it two" if len(usable) < 2 else None)
    if missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    print(f"{'answer to one packet, us':42}{'median':>10}{'p99':>10}{'CPU':>10}")
    try:
        with tempfile.TemporaryDirectory(prefix="weir-idle-") as folder:
            for device in DEVICES:
                for mode in MODES:
                    for row in measure(program, device, mode, (usable[0], usable[1]), Path(folder)):
                        rows.append(row)
                        print(line(row), flush=True)
    except (BenchFailed, CommandFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if json_file:
        json_file.write_text(json.dumps(rows, indent=2) + "\n")
    missed = faults(rows)
    print("\n".join(f"MISSED: {fault}" for fault in missed) or f"a worker that sleeps uses < {MOST_IDLE_CPU:.0%}: kept")
    return 1 if missed else 0
