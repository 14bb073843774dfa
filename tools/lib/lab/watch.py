"""What happens when: frames on the wire, and the kernel's own events, with their times."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lab.network import Leg
from lab.shell import end, in_namespace, start, wait_until
from lab.topology import Lab

FRAME = re.compile(r"^(\d+\.\d+) ([0-9a-f:]{17}) > ([0-9a-f:]{17}), (.*)$")


@dataclass(frozen=True)
class Frame:
    time: float  # seconds since 1970
    source: str
    destination: str
    text: str


class Listener:
    """A program that says what it sees, a line each, until it is ended; a context manager."""

    def __init__(self, namespace: str, command: list[str], ready: str | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="weir-watch-")
        self._output = Path(self._folder.name) / "output"
        self._command, self._ready = in_namespace(namespace, command), ready
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Listener":
        self._process = start(self._command, str(self._output))
        if not wait_until(self._listens, 10, step=0.01):
            raise RuntimeError(f"{self._command} does not start: {self._output.read_text()}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            end(self._process)
        self._folder.cleanup()

    def _listens(self) -> bool:
        """It has said so; or, of `ip monitor`, which says nothing, it has a netlink socket."""
        assert self._process
        if self._ready is not None:
            return self._ready in self._output.read_text()
        pid = str(self._process.pid)
        return any(line.split()[2] == pid for line in Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:])

    def lines(self) -> list[str]:
        return self._output.read_text(errors="replace").splitlines()


class Capture(Listener):
    """tcpdump on one of a host's devices."""

    def __init__(self, lab: Lab, host: str, device: str, *expression: str) -> None:
        super().__init__(lab.namespace(host), ["tcpdump", "-i", device, "-nn", "-e", "-tt", "-l", "--immediate-mode", "-B",
                                               "8192", *expression], "listening on")

    def frames(self) -> list[Frame]:
        matches = (FRAME.match(line) for line in self.lines())
        return [Frame(float(match[1]), match[2], match[3], match[4]) for match in matches if match]

    def first(self, text: str = "", **addresses: str) -> Frame | None:
        """The first frame with these words, `source` and `destination`."""
        return next((frame for frame in self.frames() if text in frame.text
                     and all(getattr(frame, name) == value for name, value in addresses.items())), None)


def on_the_wire(lab: Lab, host: str, leg: Leg, *expression: str) -> Capture:
    """What passes between a host's device and its segment, seen from the segment's side."""
    return Capture(lab, leg.segment, lab.bridge_port(host, leg), *expression)


class KernelEvents(Listener):
    """`ip monitor` on a host: what the kernel knows since when."""

    def __init__(self, lab: Lab, host: str, what: str) -> None:
        super().__init__(lab.namespace(host), ["ip", "-ts", "-o", "monitor", what], None)

    def time_of(self, *words: str) -> float | None:
        """When the first event with all these words came, in seconds since 1970."""
        for line in self.lines():
            stamp, _, event = line.partition("] ")
            if all(word in event for word in words):
                return datetime.fromisoformat(stamp.lstrip("[")).timestamp()
        return None
