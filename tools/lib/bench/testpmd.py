"""weir beside DPDK itself: `weir run` and Debian's dpdk-testpmd forward the same frames over the same devices.

    python3 -m bench.testpmd --weir build/weir        tools/bench --testpmd calls run()

testpmd's modes: `io` touches no byte of a frame, `macswap` its Ethernet header, `5tswap` the headers up to TCP or UDP: it
exchanges MACs, addresses and ports of each packet by itself, knows no flow, and mends no checksum, as none changes. weir
parses and checks, looks the flow up in its table, counts, and rewrites (dsr), puts a tunnel header before it (ipip), or looks
up its session as well and translates addresses, ports and checksums (nat).

Mode nat forwards a TCP segment only behind its SYN, and a capture without end cannot have both: it is measured on datagrams,
beside all else on the same ones. They go to the backends; replies, whose ports weir chooses anew at each start, are
measured in process (tools/bench).

Neither program gets hugepages, so that none have to be reserved: testpmd's frames then lie on pages of 4 KB, weir's on huge
pages that it asks the kernel for (drivers/mbuf_pool.h). Where enough are reserved, both run with them as well, beside each
other.

Devices: net_pcap with infinite_rx=1 copies each frame out of a capture in memory and frees what is sent. net_ring's
far end is its near end: frames that are sent come back, so that they are put in once (testpmd: tx_first; weir: a
capture on a second port that then falls silent, and backends that have the port's own MAC address) and neither
allocated nor copied. Only dsr circulates: a tunnelled packet that came back would be for no VIP.

Each round starts every program anew and measures one window of each, forwards and backwards by turns, 5tswap twice: its
ratio to itself says how far the machine can be trusted. Rates are of the time that the forwarding thread had its CPU.
Ratios are the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.captures import write_capture
from bench.forwarders import BURST, MEMORY_MB, BenchFailed, Setting, Starved, Testpmd, WeirRun, Window
from lab.shell import CommandFailed, raise_on_signals
from lab.weir import weir_binary

ROUNDS, SECONDS = 7, 0.4
FLOWS = (1_000, 32_000)
TRIES = 3  # of a program whose CPU another one took
RING_FLOWS = 31 * BURST  # whole bursts, fewer than the 1,023 that net_ring holds
SPARE_MBUFS = 8191       # beside those that net_pcap loads: descriptors, caches, bursts
WANTED_FLOWS, WANTED_RATIO = 1_000, 0.70
AGREEMENT = 0.02
MODES = ("io", "macswap", "5tswap")
YARDSTICK, AGAIN = "testpmd 5tswap", "testpmd 5tswap again"

Round = dict[str, Window]


@dataclass(frozen=True)
class Wanted:
    """One comparison that is to be made."""

    device: str
    flows: int
    hugepages: bool = False
    protocol: str = "tcp"


@dataclass(frozen=True)
class Comparison:
    """All rounds over one device with one number of flows."""

    device: str
    flows: int
    hugepages: bool
    rounds: list[Round]
    protocol: str = "tcp"

    @property
    def name(self) -> str:
        return (f"{self.device}{' with hugepages' if self.hugepages else ''}"
                f"{' udp' if self.protocol == 'udp' else ''}")

    def rates(self, name: str) -> list[float]:
        return [one[name].rate for one in self.rounds]

    def ratio(self, name: str, other: str) -> float:
        return statistics.median(one[name].rate / one[other].rate for one in self.rounds)

    def complaints(self) -> list[str]:
        """Why the figures are void; empty if they are not."""
        found = [f"{name}: {fault}" for one in self.rounds for name, window in one.items() for fault in window.faults]
        if abs(self.ratio(AGAIN, YARDSTICK) - 1) > AGREEMENT:
            found.append(f"{YARDSTICK} disagrees with itself by more than {AGREEMENT:.0%}")
        return list(dict.fromkeys(found))

    def rows(self) -> list[dict[str, object]]:
        """For --json: one object per program and mode."""
        result: list[dict[str, object]] = []
        for name in self.rounds[0]:
            program, _, mode = name.partition(" ")
            rates = self.rates(name)
            result.append({"name": f"{self.name} {self.flows} flows: {name}", "device": self.name,
                           "program": program, "mode": mode, "flows": self.flows,
                           "pps_median": round(statistics.median(rates)), "pps_min": round(min(rates)),
                           "pps_max": round(max(rates)), "ratio_to_5tswap": round(self.ratio(name, YARDSTICK), 4),
                           "void": bool(self.complaints())})
        return result

    def table(self) -> str:
        lines = [f"{self.name}, {self.flows:,} flows: {len(self.rounds)} rounds",
                 f"  {'':22}{'Mpps':>7}{'min':>8}{'max':>8}{'ns':>7}" + "".join(f"{'/ ' + m:>11}" for m in MODES)]
        for name in self.rounds[0]:
            rates = self.rates(name)
            middle = statistics.median(rates)
            ratios = "".join(f"{self.ratio(name, f'testpmd {mode}'):11.3f}" for mode in MODES)
            lines.append(f"  {name:22}{middle / 1e6:7.2f}{min(rates) / 1e6:8.2f}{max(rates) / 1e6:8.2f}"
                         f"{1e9 / middle:7.1f}{ratios}")
        if "weir nat" in self.rounds[0]:
            lines.append("  5tswap knows no flow: it exchanges MACs, addresses and ports, and no checksum changes by that")
        lines += [f"  VOID: {complaint}" for complaint in self.complaints()]
        return "\n".join(lines)


def measure_round(weir: Path, setting: Setting, modes: tuple[str, ...], seconds: float, backwards: bool) -> Round:
    """One window of each program; the order of the result is always the same."""
    done: Round = {}

    def all_modes() -> None:
        with Testpmd(setting) as testpmd:
            for mode in MODES:
                done[f"testpmd {mode}"] = testpmd.window(mode, seconds)

    def yardstick_again() -> None:
        with Testpmd(setting) as testpmd:
            done[AGAIN] = testpmd.window("5tswap", seconds)

    def weir_in(mode: str) -> Callable[[], None]:
        def run_weir() -> None:
            with WeirRun(weir, mode, setting) as run:
                done[f"weir {mode}"] = run.window(seconds)
        return run_weir

    def patiently(step: Callable[[], None]) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                return step()
            except Starved:
                if tries_left == 0:
                    raise

    steps = [all_modes, *(weir_in(mode) for mode in modes), yardstick_again]
    for step in reversed(steps) if backwards else steps:
        patiently(step)
    order = [*(f"testpmd {mode}" for mode in MODES), AGAIN, *(f"weir {mode}" for mode in modes)]
    return {name: done[name] for name in order}


def modes_for(device: str, protocol: str) -> tuple[str, ...]:
    if device == "net_ring":
        return ("dsr",)
    return ("ipip", "nat") if protocol == "udp" else ("dsr", "ipip")


def compare(weir: Path, wanted: Wanted, rounds: int, seconds: float) -> Comparison:
    usable = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
        capture = Path(folder) / "frames.pcap"
        flows, on_ring = wanted.flows, wanted.device == "net_ring"
        write_capture(capture, flows, wanted.protocol)
        devices = (("net_ring0", f"net_pcap0,rx_pcap={capture}") if on_ring
                   else (f"net_pcap0,infinite_rx=1,rx_pcap={capture}",))
        setting = Setting(devices, flows, flows + SPARE_MBUFS, on_ring, wanted.hugepages, Path(folder),
                          (usable[0], usable[1]), wanted.protocol)
        modes = modes_for(wanted.device, wanted.protocol)
        return Comparison(wanted.device, flows, wanted.hugepages, [
            measure_round(weir, setting, modes, seconds, backwards=number % 2 == 1) for number in range(rounds)],
                          wanted.protocol)


def hugepages_are_free() -> bool:
    """Enough of them for one program at a time."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    known = {words[0]: int(words[1]) for words in lines}
    return known.get("HugePages_Free:", 0) * known.get("Hugepagesize:", 0) >= MEMORY_MB << 10


def verdict(comparisons: list[Comparison]) -> tuple[bool, str]:
    """Whether weir keeps up as promised, and the sentences for it."""
    kept, sentences = False, []
    for one in comparisons:
        if (one.device, one.flows, one.protocol) != ("net_pcap", WANTED_FLOWS, "tcp"):
            continue
        ratio = one.ratio("weir dsr", YARDSTICK)
        void = " (void)" if one.complaints() else ""
        sentence = f"weir dsr / {YARDSTICK} at {WANTED_FLOWS:,} flows over {one.name}: {ratio:.3f}{void}"
        if not one.hugepages:
            kept = ratio >= WANTED_RATIO and not void
            sentence += f", wanted {WANTED_RATIO:.2f}: {'kept' if kept else 'MISSED'}"
        sentences.append(sentence)
    return kept, "\n".join(sentences)


def what_is_missing(weir: Path) -> str | None:
    if shutil.which("dpdk-testpmd") is None:
        return "dpdk-testpmd is not installed: run tools/setup (Debian package dpdk-dev)"
    if not os.access(weir, os.X_OK):
        return f"{weir} is no program: build it first (ninja -C build weir), or name another one with --weir"
    if len(os.sched_getaffinity(0)) < 2:
        return "this process may use one CPU only, and forwarding needs one for itself: allow it two"
    return None


def run(weir: Path, rounds: int = ROUNDS, seconds: float = SECONDS, json_file: Path | None = None) -> int:
    """Measures and prints everything. 0: weir keeps up as promised; 1: it does not, or a figure is void; 2: there
    are no figures."""
    if missing := what_is_missing(weir):
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    comparisons: list[Comparison] = []
    try:
        wanted = [*(Wanted("net_pcap", flows) for flows in FLOWS), Wanted("net_ring", RING_FLOWS),
                  *(Wanted("net_pcap", flows, protocol="udp") for flows in FLOWS)]
        if hugepages_are_free():
            wanted.append(Wanted("net_pcap", WANTED_FLOWS, hugepages=True))
        for one in wanted:
            comparisons.append(compare(weir, one, rounds, seconds))
            print(comparisons[-1].table() + "\n", flush=True)
    except (BenchFailed, CommandFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if json_file:
        json_file.write_text(json.dumps([row for one in comparisons for row in one.rows()], indent=2) + "\n")
    kept, sentence = verdict(comparisons)
    print(sentence)
    return 0 if kept else 1


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.testpmd", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", type=Path, default=Path(weir_binary()))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each window")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    raise_on_signals()
    try:
        return run(options.weir, options.rounds, options.seconds, options.json)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
