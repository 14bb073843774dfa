"""Frames at a given rate, or as many as go: tests/support/blaster on a host of the lab."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.built import helper
from lab.shell import end, in_namespace, start
from lab.topology import Lab


@dataclass(frozen=True)
class Blasted:
    frames: int
    rate: float  # frames a second


class Blast:
    """Sends the frames of a capture file out of a host's device; a context manager."""

    def __init__(self, lab: Lab, host: str, device: str, capture: Path, seconds: float, rate: int | None = None) -> None:
        self.seconds = seconds
        self.output = capture.with_suffix(f".{host}.txt")
        self.output.write_text("")
        self._command = in_namespace(lab.namespace(host), [helper("blaster"), device, str(capture), str(seconds),
                                                           *([str(rate)] if rate else [])])
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Blast":
        self.process = start(self._command, str(self.output))
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            end(self.process)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def result(self) -> Blasted:
        assert self.process
        self.process.wait(self.seconds + 10)
        said = re.fullmatch(r"(\d+) frames, (\d+) a second\n", self.output.read_text())
        if not said:
            raise RuntimeError(f"blaster: {self.output.read_text()}")
        return Blasted(int(said[1]), float(said[2]))
