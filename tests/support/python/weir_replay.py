"""Runs `weir replay` (the program that $WEIR names) on captures in a folder."""
from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from oracle.load_balancer import Arrival
from support.python.pcap_file import Record, read_pcap

TIMEOUT_SECONDS = 600


class ReplayFailed(Exception):
    """weir did not end with exit code 0; the message has its last words."""


@dataclass
class Replayed:
    outputs: dict[str, Path]  # by port
    report: Path

    def bytes(self) -> dict[str, bytes]:
        return {port: path.read_bytes() for port, path in self.outputs.items()}

    def records(self) -> dict[str, list[Record]]:
        return {port: read_pcap(path) for port, path in self.outputs.items()}


def weir_program() -> str:
    program = os.environ.get("WEIR", "build/weir")
    if not Path(program).exists():
        raise SystemExit(f"no {program}: build weir first, or name the program in $WEIR")
    return str(Path(program).resolve())


def replay(config: Path, inputs: dict[str, Path], ports: list[str], folder: Path, label: str,
           down: list[str] | None = None, workers: int = 1) -> Replayed:
    """`inputs`: port -> capture. Outputs and report go into `folder`, named by `label`."""
    replayed = Replayed({port: folder / f"{label}-{port}.pcap" for port in ports}, folder / f"{label}.json")
    command = [weir_program(), "replay", "-c", str(config), "--report", str(replayed.report),
               "--workers", str(workers)]
    for port, path in inputs.items():
        command += ["--in", f"{port}={path}"]
    for port, path in replayed.outputs.items():
        command += ["--out", f"{port}={path}"]
    for backend in down or []:
        command += ["--down", backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, errors="replace")
    if done.returncode != 0:
        last_words = (done.stderr or done.stdout).strip()[-2000:]
        raise ReplayFailed(f"weir replay ended with {done.returncode}: {last_words}")
    return replayed


def arrivals_of(inputs: dict[str, list[Record]]) -> list[Arrival]:
    """The records of all ports in the order in which weir receives them."""
    arrivals = [Arrival(time, port, frame) for port, records in inputs.items() for time, frame in records]
    return sorted(arrivals, key=lambda arrival: arrival.time)
