"""What serves a kernel interface better: weir over net_af_packet and over net_af_xdp, on one veth, in turns.

    python3 -m bench.kernel_ports [--rounds N]        from tools/lib; needs root, and WEIR_BINARY unless build/weir is meant

A client blasts datagrams at weir's port, first as many as it can, then a fixed number a second, and weir sends each back
out to a server (dsr). Lost is what the interface has received and weir has not: net_af_packet counts it nowhere,
net_af_xdp as missed. CPU is that of all of weir's threads, per million frames forwarded; what the kernel does for
net_af_packet when a frame arrives is the sender's in either case.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scapy.all import IP, UDP, Ether, Raw, wrpcap

from lab.blast import Blast
from lab.scenarios import SCENARIOS
from lab.shell import CommandFailed, need_root, raise_on_signals, wait_until
from lab.topology import Lab
from lab.weir import PROBE_PORT, Weir, config_text

DEVICES = {"net_af_packet": "net_af_packet0,iface=edge",
           "net_af_xdp": "net_af_xdp0,iface=edge,force_copy=1,busy_budget=0"}
SECONDS, FLOWS = 2.0, 512
RATES: tuple[int | None, ...] = (None, 20_000)


@dataclass(frozen=True)
class Measured:
    offered: float    # frames a second that reached the interface
    forwarded: float  # frames a second
    lost: float       # share of the offered
    missed: float     # share of the offered that weir's metrics say the device lost
    cpu: float        # seconds per million frames forwarded


def cpu_seconds(process: int) -> float:
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def frames(lab: Lab, file: Path) -> Path:
    leg, vip = lab.network.host("client").legs[0], lab.network.service("web").vip
    wrpcap(str(file), [Ether(src=leg.mac, dst=lab.raw_leg("edge").mac) / IP(src="10.1.0.100", dst=vip)
                       / UDP(sport=20000 + flow, dport=PROBE_PORT) / Raw(b"x" * 22) for flow in range(FLOWS)])
    return file


def measure(lab: Lab, folder: Path, device: str, rate: int | None) -> Measured:
    file = frames(lab, folder / "frames.pcap")
    config = config_text(lab.network, idle="poll", static_neighbors=True).replace(DEVICES["net_af_packet"], device)
    with Weir(lab, folder, config) as weir:
        assert weir.process
        arrived, before, used = lab.counted("weir", "edge", "rx_packets"), weir.metrics(), cpu_seconds(weir.process.pid)
        begun = time.monotonic()
        with Blast(lab, "client", "eth0", file, SECONDS, rate) as blast:
            blast.result()
        passed = time.monotonic() - begun
        used = cpu_seconds(weir.process.pid) - used
        time.sleep(1.5)  # the device's own numbers are read once a second
        if not wait_until(lambda: weir.metrics().unaccounted() == 0, 5):
            raise CommandFailed("weir holds on to frames")
        now, arrived = weir.metrics(), lab.counted("weir", "edge", "rx_packets") - arrived
    received, forwarded, missed = (now.sum(name) - before.sum(name) for name in (
        "worker_rx_packets_total", "worker_forwarded_packets_total", "port_rx_missed_total"))
    return Measured(arrived / passed, forwarded / passed, max(arrived - received, 0) / arrived, missed / arrived,
                    used / max(forwarded, 1) * 1e6)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.kernel_ports", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(arguments).rounds
    raise_on_signals()
    if missing := need_root():
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    with Lab(SCENARIOS["one_arm"]()) as lab, tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
        for rate in RATES:
            found: dict[str, list[Measured]] = {name: [] for name in DEVICES}
            for number in range(rounds):
                for name, device in list(DEVICES.items())[::1 if number % 2 else -1]:
                    found[name].append(measure(lab, Path(folder), device, rate))
            print(f"{'as many as go' if rate is None else f'{rate:,} a second'}, {rounds} rounds, medians:")
            for name, all_of in found.items():
                middle = {key: statistics.median(getattr(one, key) for one in all_of) for key in Measured.__annotations__}
                print(f"  {name:14} offered {middle['offered']:9,.0f}/s  forwarded {middle['forwarded']:9,.0f}/s  "
                      f"lost {middle['lost']:6.1%}, counted as missed {middle['missed']:6.1%}  CPU {middle['cpu']:.2f} s per million")
            ratios = [xdp.forwarded / packet.forwarded for packet, xdp in zip(*found.values())]
            print(f"  forwarded, net_af_xdp / net_af_packet: median {statistics.median(ratios):.2f}, "
                  f"{min(ratios):.2f} to {max(ratios):.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
