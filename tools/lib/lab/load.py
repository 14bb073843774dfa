"""Load on the VIP: wrk in the background, and what it says at the end."""

from __future__ import annotations

import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.shell import end, in_namespace, start
from lab.topology import Lab


@dataclass(frozen=True)
class WrkResult:
    requests: int
    socket_errors: int
    bad_answers: int  # neither 2xx nor 3xx
    text: str

    @property
    def failed(self) -> int:
        return self.socket_errors + self.bad_answers


def parse_wrk(text: str) -> WrkResult:
    requests = re.search(r"(\d+) requests in", text)
    if not requests:
        raise RuntimeError(f"wrk said nothing that can be understood:\n{text}")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return WrkResult(int(requests[1]), sum(map(int, errors.groups())) if errors else 0, int(bad[1]) if bad else 0, text)


class Wrk:
    """wrk at a URL for some seconds. `new_connections`: each request on a connection, hence a flow, of its own."""

    def __init__(self, lab: Lab, directory: Path, url: str, seconds: int, connections: int = 8,
                 new_connections: bool = True) -> None:
        self.output = directory / f"wrk-{len(list(directory.glob('wrk-*')))}.txt"
        headers = ["-H", "Connection: close"] if new_connections else []
        self.seconds = seconds
        self.process: subprocess.Popen[bytes] = start(
            in_namespace(lab.namespace("client"), ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s",
                                                   "--timeout", "5s", *headers, url]), str(self.output))

    def __enter__(self) -> "Wrk":
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)

    def running(self) -> bool:
        return self.process.poll() is None

    def finish(self) -> WrkResult:
        """Stops it now, if it still runs; wrk then says what it has seen so far."""
        if self.running():
            self.process.send_signal(signal.SIGINT)
        return self.result()

    def result(self) -> WrkResult:
        self.process.wait(self.seconds + 15)
        return parse_wrk(self.output.read_text())
