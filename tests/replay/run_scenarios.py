#!/usr/bin/python3
"""Runs the replay scenarios against $WEIR and judges what comes out.

    run_scenarios.py [NAME ...]      all, or the named ones
    run_scenarios.py --write         writes in.pcap, expect.pcap and expect.json anew, runs nothing
    run_scenarios.py --list          what each scenario shows

Each scenario runs four times: with 1 worker, again, with 2 and with 4 workers; the outputs must be identical
byte for byte. They are judged by the oracle, by expect.json, and by expect.pcap, which scapy made.
"""
from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.load_balancer import LoadBalancer  # noqa: E402
from oracle.report import Report, read_report  # noqa: E402
from oracle.rewrite_rules import first_difference  # noqa: E402
from oracle.world import load_world  # noqa: E402
from support.python.pcap_file import Record, write_pcap  # noqa: E402
from support.python.scenario import Scenario, expectation_text, load_scenario, scenario_names  # noqa: E402
from support.python.traffic import without_entropy  # noqa: E402
from support.python.weir_replay import ReplayFailed, Replayed, arrivals_of, replay  # noqa: E402

DROP_REASONS = Path(__file__).resolve().parents[2] / "dataplane" / "net" / "drop_reason.h"
# What no capture can bring about, and where it is tested instead.
NOT_BY_REPLAY = {
    "segmented": "captures become flat mbufs; tests/pipeline feeds chains",
    "punt_full": "replay's host takes everything; tests/pipeline has a ring that does not",
    "tx_full": "a capture file never refuses a frame; tests/pipeline has a wire that does",
    "port_down": "a capture is never down; tests/pipeline disables a port",
    "no_headroom": "captures become mbufs with DPDK's headroom; tests/pipeline has mbufs without",
    "flow_cut": "a replay's world does not change, and a cut backend gets no new flows; tests/pipeline changes it",
    "unsolicited": "mode nat's ports depend on the number of workers; tests/pipeline/nat_test.cc",
    "reply_too_big": "the same",
    "no_session": "the same",
    "no_snat_port": "the same",
    "session_full": "the same",
    "no_neighbor": "replay derives the MAC address of an unknown next hop; tests/pipeline leaves it out",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the replay scenarios against $WEIR.")
    parser.add_argument("names", nargs="*", help="scenarios; default: all")
    parser.add_argument("--write", action="store_true", help="write the committed captures and expectations anew")
    parser.add_argument("--list", action="store_true", help="say what each scenario shows")
    parser.add_argument("--keep", type=Path, help="leave captures and reports in this folder")
    arguments = parser.parse_args()
    names = arguments.names or scenario_names()
    if arguments.list or arguments.write:
        for name in names:
            scenario, description = load_scenario(name)
            print(f"{name:28} {description}")
            if arguments.write:
                write_committed(scenario)
        return 0
    failed, reached = 0, set[str]()
    with tempfile.TemporaryDirectory(prefix="weir-replay-") as temporary:
        for name in names:
            folder = (arguments.keep or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            problems = run_scenario(name, folder, reached)
            failed += bool(problems)
            print(("FAIL " if problems else "PASS ") + name)
            for problem in problems:
                print(f"     {problem}")
    if not arguments.names:
        unreached = unreached_reasons(reached)
        failed += bool(unreached)
        print("FAIL" if unreached else "PASS", "every drop reason is reached", *unreached)
    total = len(names) + (not arguments.names)
    print(f"{total - failed} passed, {failed} failed")
    return 1 if failed else 0


def run_scenario(name: str, folder: Path, reached: set[str]) -> list[str]:
    """Empty: it is as it must be. Adds the drop reasons that weir reported to `reached`."""
    scenario, _ = load_scenario(name)
    problems = stale_files(scenario)
    inputs = {}
    for port, records in scenario.received.items():
        inputs[port] = folder / f"in-{port}.pcap"
        write_pcap(inputs[port], records)
    world = load_world(scenario.config, frozenset(scenario.down))
    runs: list[Replayed] = []
    try:
        for label, workers in (("first", 1), ("again", 1), ("two", 2), ("four", 4)):
            runs.append(replay(scenario.config, inputs, world.captures, folder, label, scenario.down, workers))
        outputs, report = runs[0].records(), read_report(runs[0].report)
    except (ReplayFailed, OSError, ValueError, KeyError) as error:
        return [*problems, f"{type(error).__name__}: {error}"]
    reached |= set(report.dropped)
    if runs[1].bytes() != runs[0].bytes():
        problems.append("two runs differ")
    for run, workers in ((runs[2], 2), (runs[3], 4)):
        if run.bytes() != runs[0].bytes():
            problems.append(f"1 and {workers} workers differ")
        problems += compare_reports(report, read_report(run.report), workers)
    problems += LoadBalancer(world).judge(arrivals_of(scenario.received), outputs, report)
    problems += compare_counts(scenario.expectation(), report)
    if scenario.outputs_known:
        problems += compare_captures(scenario, outputs)
    return problems


def stale_files(scenario: Scenario) -> list[str]:
    """The committed files must be what make_packets.py says: they are what people read."""
    path = scenario.folder / "expect.json"
    stale = [] if path.exists() and path.read_text() == expectation_text(scenario.expectation()) else [path.name]
    if scenario.is_small:
        with tempfile.TemporaryDirectory() as temporary:
            for name, records in scenario.captures().items():
                write_pcap(Path(temporary) / name, records)
                committed = scenario.folder / name
                if not committed.exists() or committed.read_bytes() != (Path(temporary) / name).read_bytes():
                    stale.append(name)
    return [f"{name} is not what make_packets.py makes (run_scenarios.py --write)" for name in stale]


def write_committed(scenario: Scenario) -> None:
    for old in scenario.folder.glob("*.pcap"):
        old.unlink()
    if scenario.is_small:
        scenario.write(scenario.folder)
    else:
        (scenario.folder / "expect.json").write_text(expectation_text(scenario.expectation()))


def compare_counts(expectation: dict[str, Any], report: Report) -> list[str]:
    got: dict[str, Any] = {"packets": report.received, "forwarded": report.forwarded, "answered": report.answered}
    problems = [f"expect.json: {name} {expectation[name]}, report: {count}"
                for name, count in got.items() if expectation[name] != count]
    for reason in sorted(expectation["dropped"].keys() | report.dropped.keys()):
        want, count = expectation["dropped"].get(reason, 0), report.dropped.get(reason, 0)
        if want != count:
            problems.append(f"expect.json: dropped {reason} {want}, report: {count}")
    if expectation.get("punted", {}) != report.punted_by_class:
        problems.append(f"expect.json: punted {expectation.get('punted', {})}, report: {report.punted_by_class}")
    for service, want in expectation.get("new_flows", {}).items():
        if report.new_flows.get(service) != want:
            problems.append(f"expect.json: new_flows of {service} {want}, report: {report.new_flows.get(service)}")
    return problems


def compare_captures(scenario: Scenario, outputs: dict[str, list[Record]]) -> list[str]:
    """Against scapy's frames; flow labels and GUE source ports, which nobody can foresee, are left out."""
    for port in outputs:
        expected = scenario.expected.get(port, [])
        for number, (want, got) in enumerate(zip(expected, outputs[port]), 1):
            if without_entropy(want.frame) != without_entropy(got.frame) or want.time != got.time:
                difference = first_difference(without_entropy(want.frame), without_entropy(got.frame))
                return [f"expect.pcap: frame {number} on {port} differs: {difference}, time {got.time - want.time:+} ns"]
        if len(expected) != len(outputs[port]):
            return [f"expect.pcap: {len(expected)} frames on {port}, weir sent {len(outputs[port])}"]
    return []


def compare_reports(one: Report, other: Report, workers: int) -> list[str]:
    return [] if one == other else [f"the reports of 1 and {workers} workers differ: {one} {other}"]


def unreached_reasons(reached: set[str]) -> list[str]:
    reasons = set(re.findall(r"^\s*X\((\w+),", DROP_REASONS.read_text(), re.MULTILINE))
    return sorted(reasons - reached - NOT_BY_REPLAY.keys()) + [f"{r} (reached, so strike it from NOT_BY_REPLAY)"
                                                               for r in sorted(reached & NOT_BY_REPLAY.keys())]


if __name__ == "__main__":
    sys.exit(main())
