#!/usr/bin/python3
"""The demo's second part: the story of the AWS ELB tutorials, with times.

Two nginx servers in two zones behind weir, a health check on / that wants 200. They are registered while weir runs; one
answers wrongly, dies, is deregistered and comes back; a client is made sticky; one long download lives through all of it.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from lab.proofs import curl  # noqa: E402
from lab.scenarios import VIP4, ZONES, two_zones  # noqa: E402
from lab.servers import WebServers  # noqa: E402
from lab.shell import end, in_namespace, need_root, raise_on_signals, wait_until  # noqa: E402
from lab.topology import Lab  # noqa: E402
from lab.weir import Weir, config_text  # noqa: E402
from picture import Verdicts, accounts, bold, count, drops, heading, red  # noqa: E402

URL = f"http://{VIP4}/"
FIRST, SECOND = "TestWeb01", "TestWeb02"
POOL = """name = "web";
          health_check = {{ protocol = "http"; path = "/"; matcher = "200"; interval = "1s"; timeout = "1s";
                           healthy_threshold = 3; unhealthy_threshold = 2; }};
          deregistration_delay = "300s"; {extra}
          backends = ();"""


class Story:
    def __init__(self, lab: Lab, servers: WebServers, weir: Weir, verdicts: Verdicts) -> None:
        self.lab, self.servers, self.weir, self.verdicts = lab, servers, weir, verdicts
        self.times: list[tuple[str, float, str]] = []

    # --- what the operator sees

    def rows(self) -> dict[str, dict[str, Any]]:
        """Those that have left of late, too."""
        return {row["name"]: row for row in reversed(self.weir.asked("show", "backends"))}

    def show(self) -> None:
        """The targets' page."""
        print(f"    {'backend':10} {'zone':16} {'state':10} {'reason':34} last answer")
        for name, row in sorted(self.rows().items()):
            print(f"    {name:10} {row['zone']:16} {row['state']:10} {row['reason'] or '-':34} {row['description']}")

    def state(self, name: str) -> str:
        row = self.rows().get(name)
        return f"{row['state']} {row['reason'] or ''}".strip() if row else "not registered"

    def until(self, name: str, state: str, seconds: float = 15) -> float | None:
        """How long it takes until a backend is shown so; None: too long."""
        begun = time.monotonic()
        return time.monotonic() - begun if wait_until(lambda: self.state(name) == state, seconds, step=0.02) else None

    def timed(self, what: str, begun: float, aws: str) -> None:
        self.times.append((what, time.monotonic() - begun, aws))

    def becomes(self, name: str, state: str, what: str, aws: str) -> None:
        begun = time.monotonic()
        took = self.until(name, state)
        if took is not None:
            self.timed(what, begun, aws)
        self.verdicts.claim(took is not None, f"{name} is {state}" + (f" after {took:.2f} s" if took is not None else
                                                                       f", not {self.state(name)}"))
        self.show()

    def command(self, *words: str) -> None:
        begun = time.monotonic()
        done = self.weir.ctl(*words)
        print(f"  $ weirctl {' '.join(words)}")
        self.verdicts.claim(done.returncode == 0, f"in force in every worker and durable after "
                            f"{1000 * (time.monotonic() - begun):.0f} ms" if done.returncode == 0 else done.stderr.strip())

    def register(self, name: str) -> None:
        backend = next(one for one in self.lab.network.backends if one.name == name)
        self.command("backend", "add", "web", name, f"{backend.address4}:80", "--zone", ZONES[name])

    # --- what clients see

    def answers(self, requests: int = 24) -> Counter[str]:
        return Counter(curl(self.lab, URL, seconds=3).strip() or "NOBODY" for _ in range(requests))

    def served_by(self, names: set[str], requests: int = 24) -> None:
        got = self.answers(requests)
        self.verdicts.claim(set(got) == names, f"{requests} requests, each a new connection: "
                            + ", ".join(f"{name} {number}" for name, number in sorted(got.items())))


class Download:
    """A download that is slow on purpose, from a server of our choice."""

    def __init__(self, story: Story, server: str, file: Path) -> None:
        self.file = file
        for _ in range(40):
            self.process = subprocess.Popen(in_namespace(story.lab.namespace("client"), [
                "curl", "-s", "--max-time", "90", "-o", str(file), f"{URL}slow"]), start_new_session=True)
            if wait_until(lambda: story.servers.by_name[server].established() > 0, 0.5, step=0.02):
                return
            end(self.process)
        raise RuntimeError(f"no connection in forty reached {server}")

    def finish(self) -> str:
        """The SHA-256 of what came."""
        self.process.wait(90)
        with open(self.file, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()

    def stop(self) -> None:
        end(self.process)


def begin_empty(story: Story) -> None:
    heading("an empty pool: its service drops what comes, no_backend")
    story.served_by({"NOBODY"}, requests=1)
    heading("both servers are registered, one in each zone")
    begun = time.monotonic()
    for name in (FIRST, SECOND):
        story.register(name)
    for name in (FIRST, SECOND):
        story.verdicts.claim(story.until(name, "healthy") is not None, f"{name} is healthy")
    story.timed("registration of two servers until both are healthy", begun, "90 to 180 s")
    story.show()
    story.served_by({FIRST, SECOND})


def answer_wrongly(story: Story) -> None:
    heading(f"{SECOND} answers 500")
    story.servers.by_name[SECOND].break_root(True)
    story.becomes(SECOND, "unhealthy Target.ResponseCodeMismatch", "a server that answers 500 is out",
                  "2 failures at 30 s: 60 s")
    story.served_by({FIRST})
    heading(f"{SECOND} is mended")
    story.servers.by_name[SECOND].break_root(False)
    story.becomes(SECOND, "healthy", "and back in", "5 successes at 30 s: 150 s")
    story.served_by({FIRST, SECOND})


def stop_server(story: Story) -> None:
    heading(f"nginx on {SECOND} is stopped")
    story.servers.by_name[SECOND].stop()
    story.becomes(SECOND, "unhealthy Target.FailedHealthChecks", "a stopped server is out", "60 s")
    story.served_by({FIRST})
    heading(f"{SECOND} loses its network")
    story.lab.ip(SECOND, "link", "set", "eth0", "down")
    story.becomes(SECOND, "unhealthy Target.Timeout", "a dead machine is shown as such", "60 s")
    story.lab.ip(SECOND, "link", "set", "eth0", "up")
    story.lab.restore_routes(SECOND)
    story.servers.by_name[SECOND].start()
    story.becomes(SECOND, "healthy", "a server that was started again serves", "150 s")


def deregister(story: Story, directory: Path) -> None:
    heading(f"{SECOND} is deregistered while a client downloads from it")
    download = Download(story, SECOND, directory / "drained")
    try:
        story.command("backend", "remove", "web", SECOND)
        story.verdicts.claim(story.state(SECOND) == "draining Target.DeregistrationInProgress",
                             f"{SECOND} is {story.state(SECOND)}")
        story.show()
        story.served_by({FIRST})
        story.verdicts.claim(download.process.poll() is None, "its download goes on")
    finally:
        download.stop()
    # The client has hung up: when the flow's entry has expired nothing is left to wait for.
    story.becomes(SECOND, "unused Target.NotRegistered", "drained, once its last flow has ended", "up to 300 s")
    heading(f"{SECOND} is registered again")
    begun = time.monotonic()
    story.register(SECOND)
    print(f"    {SECOND} is {story.state(SECOND)}")
    story.verdicts.claim(story.until(SECOND, "healthy") is not None, f"{SECOND} is healthy")
    story.timed("registered again until healthy", begun, "90 to 180 s")
    story.served_by({FIRST, SECOND})


def make_sticky(story: Story) -> None:
    heading("stickiness for ten minutes, by a reload")
    story.verdicts.claim(story.weir.reload(configuration(story.lab, 'stickiness = { type = "source_ip"; duration = "10m"; };')),
                         "reloaded; the servers that weirctl registered are still there: "
                         + ", ".join(sorted(story.rows())))
    got = story.answers(40)
    story.verdicts.claim(len(got) == 1 and "NOBODY" not in got, f"one client, 40 connections: "
                         + ", ".join(f"{name} {number}" for name, number in got.items()))


def show_times(story: Story) -> None:
    heading("how long it took, with a probe each second; beside what AWS documents for its defaults")
    for what, seconds, aws in story.times:
        print(f"    {seconds:7.2f} s   {what:58} AWS: {aws}")


def configuration(lab: Lab, extra: str = "") -> str:
    return config_text(lab.network, pool=POOL.format(extra=extra), zone=ZONES[FIRST])


def tell(directory: Path) -> bool:
    verdicts = Verdicts()
    network = two_zones()
    heading("a client, weir, and two web servers in two zones behind a router; GUE from weir to the servers")
    print(network.drawing.rstrip())
    with Lab(network) as lab, WebServers(lab, directory, slow_rate="1600k") as servers, \
            Weir(lab, directory, configuration(lab)) as weir:
        story = Story(lab, servers, weir, verdicts)
        begin_empty(story)
        long_one = Download(story, FIRST, directory / "long")
        try:
            steps: list[Callable[[], None]] = [lambda: answer_wrongly(story), lambda: stop_server(story),
                                               lambda: deregister(story, directory), lambda: make_sticky(story)]
            for step in steps:
                step()
            heading(f"the long download from {FIRST}, begun before all that")
            verdicts.claim(long_one.finish() == servers.sha256, "100 MB came whole (SHA-256)")
        finally:
            long_one.stop()
        show_times(story)
        heading("every packet is accounted for")
        time.sleep(0.5)
        metrics = weir.metrics()
        print(f"  {accounts(metrics)}\n  dropped: {drops(metrics)}")
        verdicts.claim(metrics.unaccounted() == 0, f"{count(metrics.unaccounted())} unaccounted")
        verdicts.claim(weir.stop() == 0, "SIGTERM: weir ended with exit code 0")
    return verdicts.all_true


def main() -> int:
    if reason := need_root():
        print(f"tools/demo: the story {reason}", file=sys.stderr)
        return 1
    raise_on_signals()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weir-story-") as name:
        try:
            good = tell(Path(name))
        except KeyboardInterrupt:
            print("\ninterrupted; everything is taken down again")
            return 130
        except RuntimeError as error:
            print(f"\n{red('the demo failed')}: {error}", file=sys.stderr)
            return 1
    print(f"\n{bold('the story')}: {'all claims hold' if good else red('not every claim holds')}, "
          f"{time.monotonic() - begun:.0f} s, everything taken down")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
