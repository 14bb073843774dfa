"""Every kind of probe through a whole weir: one pool a kind, real servers behind them, and servers that are not there,
say nothing, answer wrongly or mean no good. What the operator is shown, and how long each change takes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from health_peers import ECHO, EXPIRED, GRPC, HTTP, HTTPS, OTHER_CA, PYTHON, HealthPeers, Peer
from lab.scenarios import VIP4
from lab.shell import in_namespace, run, wait_until
from lab.topology import Lab
from lab.weir import Weir, config_text

INTERVAL, TIMEOUT, HEALTHY, UNHEALTHY = 1.0, 0.5, 3, 2
# What the machine may add: a process that starts, a core that is busy with another test.
SLACK = 1.5
GOOD, CLOSED, HOLE, ENDLESS, DRIP, FLOOD, ERROR, NOBODY = (f"10.1.0.{n}" for n in (11, 12, 13, 14, 15, 16, 17, 99))

TIMED_OUT, MISMATCH, FAILED = "Target.Timeout", "Target.ResponseCodeMismatch", "Target.FailedHealthChecks"
REFUSED = ("unhealthy", FAILED, "connection refused")
SILENT = ("unhealthy", TIMED_OUT, "no answer within 500ms")
TOO_MUCH = ("unhealthy", FAILED, "answers more than a probe reads")


@dataclass(frozen=True)
class Kind:
    """A pool: its check, what its good backend says, and when it answers wrongly; and its bad backends, each with what
    it must be shown as: address, port, (state, reason, description; with "...": how that begins)."""
    check: str
    port: int
    well: str
    wrong: tuple[str, str] | None  # reason and description; None: the protocol has no wrong answers
    bad: dict[str, tuple[str, int, tuple[str, str, str]]]
    good_port: int = 0
    off: tuple[str, str] = (FAILED, "connection refused")


def kinds(ca_file: Path) -> dict[str, Kind]:
    def usual(port: int) -> dict[str, tuple[str, int, tuple[str, str, str]]]:
        return {"dead-port": (CLOSED, port, REFUSED), "black-hole": (HOLE, port, SILENT)}
    no_tls, not_grpc = ("unhealthy", FAILED, "TLS: ..."), ("unhealthy", FAILED, "no HTTP/2 answer: no gRPC there?")
    return {
        "tcp": Kind('protocol = "tcp";', HTTP, "connected", None, usual(HTTP)),
        "http": Kind('protocol = "http"; body = "is well";', HTTP, "HTTP 200", (MISMATCH, "HTTP 503"), {
            **usual(HTTP),
            "endless-header": (ENDLESS, HTTP, TOO_MUCH),
            "byte-a-second": (DRIP, HTTP, ("unhealthy", TIMED_OUT, "connected, but no answer within 500ms")),
            "ten-megabytes": (FLOOD, HTTP, (
                "unhealthy", MISMATCH, "HTTP 200, but the body's first 32 KiB lacks \"is well\"")),
            "error-500": (ERROR, HTTP, ("unhealthy", MISMATCH, "HTTP 500"))}),
        "https": Kind('protocol = "https"; verify = false;', HTTPS, "HTTP 200", (MISMATCH, "HTTP 503"), {
            **usual(HTTPS),
            "stranger": (GOOD, OTHER_CA, ("healthy", "", "HTTP 200")),
            "byte-a-second": (DRIP, HTTPS, ("unhealthy", TIMED_OUT, "connected, but no TLS handshake within 500ms"))}, good_port=EXPIRED),
        "https-verified": Kind(f'protocol = "https"; verify = true; ca_file = "{ca_file}";', HTTPS, "HTTP 200",
                               (MISMATCH, "HTTP 503"), {
            **usual(HTTPS),
            "expired": (GOOD, EXPIRED, ("unhealthy", FAILED, "certificate has expired")),
            "stranger": (GOOD, OTHER_CA, ("unhealthy", FAILED, "unable to get local issuer certificate")),
            "endless-header": (ENDLESS, HTTPS, no_tls)}),
        "udp": Kind('protocol = "udp"; send = "ping"; expect = "ping";', ECHO, "answered 4 bytes",
                    (MISMATCH, 'answered "sorry", expected "ping"'), usual(ECHO)),
        "grpc": Kind('protocol = "grpc";', GRPC, "gRPC status SERVING", (MISMATCH, "gRPC status NOT_SERVING"), {
            **usual(GRPC), "ten-megabytes": (FLOOD, GRPC, not_grpc)}),
        "icmp": Kind('protocol = "icmp";', HTTP, "echo reply", None, {
            "black-hole": (HOLE, HTTP, ("unhealthy", TIMED_OUT, "no echo reply within 500ms"))},
                     off=(TIMED_OUT, "no echo reply within 500ms")),
    }


def config(lab: Lab, all_kinds: dict[str, Kind]) -> str:
    """Pools without backends, a service each, over the lab's usual configuration."""
    def pool(name: str, check: str) -> str:
        return f'    {{ name = "{name}"; health_check = {{ {check} }}; backends = (); }}'

    times = (f'interval = "{INTERVAL:.0f}s"; timeout = "{TIMEOUT * 1000:.0f}ms"; healthy_threshold = {HEALTHY}; '
             f'unhealthy_threshold = {UNHEALTHY};')
    pools = [pool(name, f"{kind.check} {times}") for name, kind in all_kinds.items()]
    # So long that the kernel has asked for the neighbour three times, and says that it is not there.
    pools.append(pool("nobody", 'protocol = "tcp"; interval = "5s"; timeout = "4500ms"; unhealthy_threshold = 1;'))
    services = [f'    {{ name = "{name}"; vip = "{VIP4}"; protocol = "tcp"; port = {8000 + number}; forwarding = "dsr"; '
                f'pool = "{name}"; }}' for number, name in enumerate([*all_kinds, "nobody"])]
    text = config_text(lab.network)
    return text[:text.index("pools = (")] + "pools = (\n{}\n);\nservices = (\n{}\n);\n".format(
        ",\n".join(pools), ",\n".join(services))


class Kinds:
    """The weir, its servers, and what has been seen of the good backends: rows of the table of times."""

    def __init__(self, lab: Lab, weir: Weir, peers: HealthPeers, all_kinds: dict[str, Kind]) -> None:
        self.lab, self.weir, self.peers, self.all_kinds = lab, weir, peers, all_kinds
        self.times: dict[str, dict[str, float]] = {name: {} for name in all_kinds}

    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["pool"], row["name"]): row for row in self.weir.asked("show", "backends")}

    def shown(self, pool: str, name: str = "good") -> tuple[str, str, str]:
        return as_shown(self.rows()[(pool, name)])

    def register(self) -> None:
        """All backends in one batch: one change."""
        lines = [f"add nobody nobody {NOBODY}:{HTTP}"]
        for pool, kind in self.all_kinds.items():
            lines.append(f"add {pool} good {GOOD}:{kind.good_port or kind.port}")
            lines += [f"add {pool} {name} {address}:{port}" for name, (address, port, _) in kind.bad.items()]
        done = self.weir.ctl("batch", given="\n".join(lines) + "\n")
        assert done.returncode == 0, done.stderr

    def measure(self, what: str, act: Callable[[], None], expected: dict[str, tuple[str, str, str]], least: float,
                most: float) -> None:
        """Does it, waits until the good backends of these pools are shown so, notes and judges the time until then."""
        begun = time.time()
        act()
        done = time.time()
        seen: dict[str, tuple[float, dict[str, Any]]] = {}

        def all_seen() -> bool:
            rows, now = self.rows(), time.time()
            for pool, (state, _, _) in expected.items():
                if rows[(pool, "good")]["state"] == state:
                    seen.setdefault(pool, (now, rows[(pool, "good")]))
            return len(seen) == len(expected)
        assert wait_until(all_seen, most + 5, step=0.02), f"{what}: {expected.keys() - seen.keys()}\n{self.weir.log()}"
        for pool, (state, reason, description) in expected.items():
            at, row = seen[pool]
            told = f"{what}: {pool}: {row}, after {at - done:.3f} s\n{self.weir.log()}"
            assert as_shown(row) == (state, reason, description), told
            sentence = f"backend good is {state}{f' ({reason})' if reason else ''}: {description}"
            assert f"pool {pool}: {sentence}" in self.weir.log(), told
            # From the act's beginning it cannot be sooner, nor from its end later, than the thresholds permit.
            assert at - begun >= least and at - done <= most, told
            assert -1 <= at - seconds(row["since"]) <= 1 + SLACK, told  # which is shown in whole seconds
            self.times[pool][what] = at - done


def seconds(since: str) -> float:
    return datetime.strptime(since, "%Y-%m-%dT%H:%M:%S%z").timestamp()


def as_shown(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["state"], row["reason"] or "", row["description"]


def matches(shown: tuple[str, str, str], wanted: tuple[str, str, str]) -> bool:
    if wanted[2].endswith("..."):
        return shown[:2] == wanted[:2] and shown[2].startswith(wanted[2].removesuffix("..."))
    return shown == wanted


def drop(lab: Lab, host: str, rule: str) -> None:
    """A firewall on a host that drops what the rule matches; none without a rule."""
    table = f"table inet hole {{\n chain c {{\n type filter hook input priority 0;\n {rule}\n }}\n}}\n"
    lab.execute(host, "nft", "-f", "-", stdin="table inet hole\ndelete table inet hole\n" + (table if rule else ""))


@pytest.fixture(scope="module")
def running(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinds]:
    folder = tmp_path_factory.mktemp("peers")
    lab.ip("TestWeb01", "address", "add", f"{ERROR}/24", "dev", "eth0")
    for address in (HOLE, ENDLESS, DRIP, FLOOD):
        lab.ip("TestWeb02", "address", "add", f"{address}/24", "dev", "eth0")
    for host in ("TestWeb01", "TestWeb02"):  # else the kernel keeps some of its refusals of datagrams to itself
        lab.execute(host, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
    drop(lab, "TestWeb02", f"ip daddr {HOLE} drop")
    places = [f"endless={ENDLESS}:{HTTP}", f"endless={ENDLESS}:{HTTPS}", f"drip={DRIP}:{HTTP}", f"drip={DRIP}:{HTTPS}",
              f"flood={FLOOD}:{HTTP}", f"flood={FLOOD}:{GRPC}"]
    hostile = Peer(lab.namespace("TestWeb02"), [sys.executable, str(PYTHON / "hostile_server.py"), *places],
                   folder / "hostile", lambda: run(*in_namespace(lab.namespace("TestWeb02"), ["ss", "-Hltn"])).count(
                       "LISTEN") == len(places))
    with ExitStack() as stack:
        stack.callback(hostile.stop)
        hostile.start()
        peers = stack.enter_context(HealthPeers(lab.namespace("TestWeb01"), GOOD, folder))
        hostile.wait()
        all_kinds = kinds(folder / "ca.pem")
        weir = stack.enter_context(Weir(lab, tmp_path_factory.mktemp("weir"), config(lab, all_kinds)))
        yield Kinds(lab, weir, peers, all_kinds)


def test_registration_to_healthy(running: Kinds) -> None:
    """One success is enough at first, and the first probe leaves within 100 ms."""
    running.measure("registered", running.register,
                 {pool: ("healthy", "", kind.well) for pool, kind in running.all_kinds.items()}, 0.0, 0.1 + TIMEOUT + SLACK)


def test_bad_backends(running: Kinds, say: Callable[[str], None]) -> None:
    """Each is `initial` until its verdict, then shown with the reason and words of its kind."""
    wanted = {(pool, name): shown for pool, kind in running.all_kinds.items() for name, (_, _, shown) in kind.bad.items()}
    wanted[("nobody", "nobody")] = ("unhealthy", TIMED_OUT, "no ARP answer: host down?")

    def all_judged() -> bool:
        rows = running.rows()
        return all(rows[key]["state"] == state for key, (state, _, _) in wanted.items())
    assert wait_until(all_judged, UNHEALTHY * INTERVAL + 4.5 + SLACK + 5), running.rows()
    rows = running.rows()
    for key in wanted:
        say("{:15} {:15} {:10} {:30} {}".format(*key, *as_shown(rows[key])))
    assert not {key: (as_shown(rows[key]), shown) for key, shown in wanted.items() if not matches(as_shown(rows[key]), shown)}
    # None of them has ever been healthy, but for whom nobody has verified.
    assert {key for key in wanted if f"pool {key[0]}: backend {key[1]} is healthy" in running.weir.log()} == {
        ("https", "stranger")}


def test_wrong_answers_and_recovery(running: Kinds) -> None:
    wrong = {pool: ("unhealthy", *kind.wrong) for pool, kind in running.all_kinds.items() if kind.wrong}
    assert len(wrong) == 5
    running.measure("wrong", lambda: running.peers.answer_wrongly(True), wrong, (UNHEALTHY - 1) * INTERVAL - TIMEOUT,
                 UNHEALTHY * INTERVAL + TIMEOUT + SLACK)
    for pool in ("tcp", "icmp"):
        assert running.shown(pool) == ("healthy", "", running.all_kinds[pool].well), "they ask for no more"
    running.measure("righted", lambda: running.peers.answer_wrongly(False),
                 {pool: ("healthy", "", running.all_kinds[pool].well) for pool in wrong}, (HEALTHY - 1) * INTERVAL - TIMEOUT,
                 HEALTHY * INTERVAL + TIMEOUT + SLACK)


def test_death_and_recovery(running: Kinds) -> None:
    def off() -> None:
        running.peers.stop()
        drop(running.lab, "TestWeb01", "icmp type echo-request drop")

    def on() -> None:
        drop(running.lab, "TestWeb01", "")
        running.peers.start()
    running.measure("off", off, {pool: ("unhealthy", *kind.off) for pool, kind in running.all_kinds.items()},
                 (UNHEALTHY - 1) * INTERVAL - TIMEOUT, UNHEALTHY * INTERVAL + TIMEOUT + SLACK)
    running.measure("on", on, {pool: ("healthy", "", kind.well) for pool, kind in running.all_kinds.items()},
                 (HEALTHY - 1) * INTERVAL - TIMEOUT, HEALTHY * INTERVAL + TIMEOUT + SLACK)


def test_times(running: Kinds, say: Callable[[str], None]) -> None:
    """The table; each of its figures has been judged where it was taken."""
    permitted = {"registered": 0.1 + TIMEOUT, "wrong": UNHEALTHY * INTERVAL + TIMEOUT, "righted": HEALTHY * INTERVAL + TIMEOUT,
                 "off": UNHEALTHY * INTERVAL + TIMEOUT, "on": HEALTHY * INTERVAL + TIMEOUT}
    say("{:15}".format("seconds to") + "".join(f"{text:>12}" for text in (
        "healthy", "unhealthy", "healthy", "unhealthy", "healthy")))
    say("{:15}".format("after") + "".join(f"{what:>12}" for what in permitted))
    for pool, times in running.times.items():
        say(f"{pool:15}" + "".join(f"{times[what]:12.2f}" if what in times else f"{'-':>12}" for what in permitted))
    say("{:15}".format("permitted") + "".join(f"{most:12.2f}" for most in permitted.values()))
    assert all(len(times) == (3 if running.all_kinds[pool].wrong is None else 5) for pool, times in running.times.items())


def test_workers_follow_a_verdict_at_once(running: Kinds, say: Callable[[str], None]) -> None:
    """From a result to every worker, though they sleep; no more than one in a hundred takes 100 ms."""
    name = "health_reaction_duration_seconds"
    now = running.weir.metrics()
    below = {have["le"]: int(value) for sample, have, value in now.samples if sample == f"weir_{name}_bucket"}
    count = int(now.sum(f"{name}_count"))
    say(f"{count} verdicts in every worker after {1000 * now.sum(f'{name}_sum') / count:.2f} ms on average; within "
        + ", ".join(f"{float(bound) * 1000:g} ms: {number}" for bound, number in below.items() if bound != "+Inf"))
    assert count >= 40 and below["+Inf"] == count
    assert count - below["0.1"] <= math.ceil(count / 100)
    # They were slept through: a worker that polls follows within microseconds.
    assert 'idle = "sleep"' in running.weir.config_file.read_text()
