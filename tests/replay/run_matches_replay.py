#!/usr/bin/python3
"""`weir run` over net_pcap devices sends what `weir replay` sends: the same frames in the same order.

Both get the same configuration file. For `replay` the captures of --in and --out stand in for the device;
`run` opens the net_pcap device that the file names, with captures in its working directory.
"""
from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.report import read_report  # noqa: E402
from support.python.pcap_file import Record, read_pcap, write_pcap  # noqa: E402
from support.python.scenario import load_scenario  # noqa: E402
from support.python.weir_replay import replay, weir_program  # noqa: E402

ONE_ARM = ("dsr_v4", "ipip_4in6", "ipip_6in4", "gue_6in6", "arp_nd_echo", "malformed_ipv4", "malformed_l4",
           "ipv4_options", "padding", "no_service_no_backend")
START_SECONDS, STOP_SECONDS = 30.0, 15.0


def main() -> int:
    failed = compare(ONE_ARM, in_order=True) + compare(("vlans",), in_order=False)
    print(f"{2 - failed} passed, {failed} failed")
    return 1 if failed else 0


def compare(scenarios: tuple[str, ...], in_order: bool) -> bool:
    """Of scenarios with the same configuration. True: they differ. Frames of one burst leave port by port, so that only a
    device with a single port keeps the order of replay, which sorts."""
    first = load_scenario(scenarios[0])[0]
    config, start = first.config, first.now
    frames = [record.frame for name in scenarios for record in load_scenario(name)[0].received["edge"]]
    records = [Record(start + number * 10_000, frame) for number, frame in enumerate(frames)]
    with tempfile.TemporaryDirectory(prefix="weir-run-") as temporary:
        folder = Path(temporary)
        port = free_port()
        (folder / "weir.cfg").write_text(config.read_text() + f'\nmetrics = {{ listen = "127.0.0.1:{port}"; }};\n')
        write_pcap(folder / "in.pcap", records)
        replayed = replay(folder / "weir.cfg", {"edge": folder / "in.pcap"}, ["edge"], folder, "replayed")
        report = read_report(replayed.report)
        problems, code = run_until_done(folder, port, len(records))
        expected = [record.frame for record in replayed.records()["edge"]]
        try:
            got = [record.frame for record in read_pcap(folder / "out.pcap")]
        except (OSError, ValueError) as error:
            got, problems = [], [*problems, f"out.pcap: {error}"]
    if not in_order:
        got, expected = sorted(got), sorted(expected)
    if code != 0:
        problems.append(f"weir run ended with {code}")
    if got != expected:
        differing = next((n for n, (a, b) in enumerate(zip(expected, got)) if a != b), min(len(expected), len(got)))
        problems.append(f"replay sent {len(expected)} frames, run {len(got)}; the first that differs is {differing + 1}")
    for problem in problems:
        print(f"     {problem}")
    print(("FAIL" if problems else "PASS") +
          f" {scenarios[0]}: run sends what replay sends ({report.received} in, {len(expected)} out)")
    return bool(problems)


def run_until_done(folder: Path, port: int, packets: int) -> tuple[list[str], int]:
    """Starts `weir run`, waits until it has received all, stops it. Problems and exit code."""
    with open(folder / "log", "wb") as log:
        weir = subprocess.Popen([weir_program(), "run", "-c", "weir.cfg"], cwd=folder, stdout=log, stderr=log,
                                env={**os.environ, "XDG_RUNTIME_DIR": str(folder)})
    problems: list[str] = []
    try:
        deadline = time.monotonic() + START_SECONDS
        while received_packets(port) < packets:
            if weir.poll() is not None or time.monotonic() > deadline:
                problems.append(f"weir run received {received_packets(port)} of {packets} packets")
                break
            time.sleep(0.05)
        if weir.poll() is None:
            weir.send_signal(signal.SIGTERM)
        weir.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        problems.append(f"weir run did not stop within {STOP_SECONDS} s of SIGTERM")
    finally:
        if weir.poll() is None:
            weir.kill()
            weir.wait()
    if problems or weir.returncode != 0:
        problems.append("its last words: " + (folder / "log").read_text(errors="replace")[-1500:])
    return problems, weir.returncode


def received_packets(port: int) -> int:
    """Over all workers, by the metrics; 0 while there are none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return 0
    return sum(int(float(value)) for value in re.findall(r"^weir_worker_rx_packets_total\{[^}]*\} (\S+)$", text, re.M))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
