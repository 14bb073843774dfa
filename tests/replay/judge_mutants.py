#!/usr/bin/python3
"""Sends seeded mutants through $WEIR and lets the oracle judge every one of them.

    judge_mutants.py --count 1000000 --seed 1 --jobs 2
    judge_mutants.py --vlans         on a device with three ports, the mutants under VLAN tags, right and wrong ones
    judge_mutants.py --host              on a port with a host interface, with frames for the kernel besides

No malformed frame may be forwarded, every well-formed one must be, and every packet must be accounted for.
The mutants go in chunks with seeds of their own; `mutate.py --seed S --count CHUNK` makes a failing one again.
"""
from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import Pool
from pathlib import Path
from random import Random
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.load_balancer import LoadBalancer  # noqa: E402
from oracle.report import read_report  # noqa: E402
from oracle.world import load_world  # noqa: E402
from replay.mutate import mutants  # noqa: E402
from support.python.pcap_file import Record, write_pcap  # noqa: E402
from support.python.weir_replay import ReplayFailed, arrivals_of, replay, weir_program  # noqa: E402

CONFIGS = Path(__file__).resolve().parent / "configs"
CHUNK = 50_000
FEWEST_FORWARDED = 0.1  # of all mutants: else the mutator has lost its teeth


# Beside the port of CONFIG, which becomes VLAN 100.
MORE_PORTS = """( { name = "plain"; device = "net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap"; },
                   { name = "customer"; device = "net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap"; vlan = [ 300, 10 ]; },
                   {"""
STACKS = ((), (100,), (100,), (300, 10), (300, 10), (0,), (7,), (100, 10), (300, 0), (0, 100), (300, 10, 100))


class Chunk(NamedTuple):
    seed: int
    count: int
    workers: int
    vlans: bool
    has_host: bool

    @property
    def config(self) -> Path:
        return CONFIGS / ("with_host.cfg" if self.has_host else "one_arm.cfg")


class Verdict(NamedTuple):
    chunk: Chunk
    problems: list[str]
    counts: Counter[str]


def vlan_config(folder: Path, plain: Path) -> Path:
    text = plain.read_text().replace("ports = ( {", "ports = " + MORE_PORTS)
    config = folder / "weir.cfg"
    config.write_text(text.replace("mtu = 1500; }", "mtu = 1500; vlan = 100; }"))
    return config


def with_tags(frame: bytes, chance: Random) -> bytes:
    """Of one of STACKS, with any priority; one EtherType in eight is the wrong one."""
    stack = STACKS[int(chance.random() * len(STACKS))]
    tags = b""
    for place, vlan in enumerate(stack):
        right = b"\x88\xa8" if place == 0 and len(stack) > 1 else b"\x81\x00"
        wrong = b"\x81\x00" if right == b"\x88\xa8" else b"\x88\xa8"
        control = int(chance.random() * 16) << 12 | vlan
        tags += (wrong if chance.random() < 0.125 else right) + control.to_bytes(2, "big")
    return frame[:12] + tags + frame[12:] if len(frame) > 12 else frame


def judge_chunk(chunk: Chunk) -> Verdict:
    records = mutants(chunk.seed, chunk.count, chunk.has_host)
    if chunk.vlans:
        chance = Random(chunk.seed)
        records = [Record(time, with_tags(frame, chance)) for time, frame in records]
    with tempfile.TemporaryDirectory(prefix="weir-mutants-") as folder:
        config = vlan_config(Path(folder), chunk.config) if chunk.vlans else chunk.config
        world = load_world(config)
        capture, port = Path(folder) / "in.pcap", world.captures[0]
        write_pcap(capture, records)
        try:
            replayed = replay(config, {port: capture}, [port], Path(folder), "out", workers=chunk.workers)
            report, outputs = read_report(replayed.report), replayed.records()
        except (ReplayFailed, OSError, ValueError, KeyError) as error:
            return Verdict(chunk, [f"{type(error).__name__}: {error}"], Counter())
    problems = LoadBalancer(world, max_problems=1000).judge(arrivals_of({port: records}), outputs, report)
    counts = Counter(report.dropped)
    counts.update(forwarded=report.forwarded, answered=report.answered, punted=report.punted)
    return Verdict(chunk, problems, counts)


def kind_of(problem: str) -> str:
    """The problem without the packet that shows it."""
    return re.sub(r"packet \d+ \(\w+, \d+ bytes\): |\b[0-9a-f]{12,}\b|\b\d+\b", "", problem).strip()


def main() -> int:
    parser = argparse.ArgumentParser(description="Judges seeded mutants.")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--vlans", action="store_true")
    parser.add_argument("--host", action="store_true", help="the port has a host interface")
    arguments = parser.parse_args()
    weir_program()  # ends here if there is none
    chunk_size = min(CHUNK, -(-arguments.count // arguments.jobs))
    starts = range(0, arguments.count, chunk_size)
    chunks = [Chunk(arguments.seed * 1_000_000 + number, min(chunk_size, arguments.count - start), 1 + 3 * (number & 1),
                    arguments.vlans, arguments.host)
              for number, start in enumerate(starts)]
    begin, counts, kinds, failed = time.monotonic(), Counter[str](), Counter[str](), 0
    with Pool(arguments.jobs) as pool:
        for verdict in pool.imap_unordered(judge_chunk, chunks):
            counts.update(verdict.counts)
            failed += bool(verdict.problems)
            for problem in verdict.problems:
                kinds[kind_of(problem)] += 1
                if kinds[kind_of(problem)] == 1:
                    print(f"FAIL --seed {verdict.chunk.seed} --count {verdict.chunk.count}"
                          f"{' --host' * verdict.chunk.has_host}{' --vlans' * verdict.chunk.vlans}: {problem}", flush=True)
    if counts["forwarded"] < FEWEST_FORWARDED * arguments.count and not failed:
        print(f"FAIL only {counts['forwarded']} of {arguments.count} mutants are well formed")
        failed += 1
    for kind, count in kinds.most_common():
        print(f"{count:6} times {kind}")
    print(f"{arguments.count} mutants in {time.monotonic() - begin:.0f} s:",
          ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    print(f"{len(chunks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
