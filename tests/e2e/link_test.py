"""Links that come and go: weir lives on, forwards again within a second, and keeps its flows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from frames import probes
from lab.blast import Blast
from lab.proofs import curl
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.watch import Capture, on_the_wire
from lab.weir import Weir

FLAPS = 20
BACK_WITHIN = 1.0  # seconds
LONG_DOWN = 3.5
PROBE = "web-probe"


@contextmanager
def probed(lab: Lab, directory: Path, seconds: float) -> Iterator[None]:
    """500 datagrams a second from the client."""
    leg = lab.network.host("client").legs[0]
    file = probes(directory / "probes.pcap", leg, lab.raw_leg("edge").mac, [lab.network.service("web")],
                  ("10.1.0.100", "fd00:1::100"))
    with Blast(lab, "client", leg.device, file, seconds, rate=500):
        yield


def forwarded(lab: Lab) -> Capture:
    leg = lab.raw_leg("edge")
    return on_the_wire(lab, "weir", leg, "udp", "and", "ether", "src", leg.mac)


def shows_link(weir: Weir, up: bool) -> bool:
    return wait_until(lambda: weir.metrics().sum("port_link_up") == up, BACK_WITHIN)


def descriptors(weir: Weir) -> int:
    assert weir.process
    return len(list(Path(f"/proc/{weir.process.pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def flows(lab: Lab, weir: Weir, servers: WebServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[float]:
    """Known flows all the while; how many they are."""
    with probed(lab, tmp_path_factory.mktemp("probes"), seconds=90):
        assert wait_until(lambda: weir.metrics().sum("service_new_flows_total", service=PROBE) == 16, 5)
        yield 16


def test_flapping_link(lab: Lab, weir: Weir, flows: float, say: Callable[[str], None]) -> None:
    took, open_before = [], descriptors(weir)
    for number in range(FLAPS):
        lab.ip("weir", "link", "set", "edge", "down")
        if number % 5 == 0:
            assert shows_link(weir, up=False), weir.log()
        with forwarded(lab) as capture:
            begun = time.time()
            lab.ip("weir", "link", "set", "edge", "up")
            assert wait_until(lambda: bool(capture.frames()), 5, step=0.01), weir.log()
            took.append(capture.frames()[0].time - begun)
        if number % 5 == 0:
            assert shows_link(weir, up=True), weir.log()
    say(f"{FLAPS} flaps: forwarding is back after {1000 * sum(took) / FLAPS:.0f} ms on average, at most "
        f"{1000 * max(took):.0f} ms")
    assert max(took) <= BACK_WITHIN
    assert not weir.ended()
    assert weir.metrics().sum("service_new_flows_total", service=PROBE) == flows, "flows were forgotten"
    assert descriptors(weir) == open_before


def test_link_that_is_down_for_long(lab: Lab, weir: Weir, flows: float, say: Callable[[str], None]) -> None:
    """The kernel has given up on all neighbours by then."""
    took = []
    for _ in range(3):
        lab.ip("weir", "link", "set", "edge", "down")
        time.sleep(LONG_DOWN)
        with forwarded(lab) as capture:
            begun = time.time()
            lab.ip("weir", "link", "set", "edge", "up")
            assert wait_until(lambda: bool(capture.frames()), 5, step=0.01), weir.log()
            took.append(capture.frames()[0].time - begun)
    say(f"after {LONG_DOWN} s without a link forwarding is back after at most {1000 * max(took):.0f} ms")
    assert max(took) <= BACK_WITHIN
    assert weir.metrics().sum("service_new_flows_total", service=PROBE) == flows, "flows were forgotten"


def test_interface_that_is_deleted_and_made_again(lab: Lab, weir: Weir, flows: float, servers: WebServers,
                                                  say: Callable[[str], None]) -> None:
    leg, took, open_before = lab.raw_leg("edge"), [], descriptors(weir)
    for _ in range(3):
        lab.ip("weir", "link", "del", "edge")
        assert shows_link(weir, up=False), weir.log()
        lab.add_leg("weir", leg)
        begun = time.time()
        with forwarded(lab) as capture:
            assert wait_until(lambda: bool(capture.frames()), 5, step=0.01), weir.log()
            took.append(max(capture.frames()[0].time - begun, 0))
        assert shows_link(weir, up=True), weir.log()
    say(f"interface made again: forwarding is back after at most {1000 * max(took):.0f} ms")
    assert max(took) <= BACK_WITHIN
    assert not weir.ended()
    assert weir.metrics().sum("service_new_flows_total", service=PROBE) == flows, "flows were forgotten"
    assert descriptors(weir) == open_before
    assert {curl(lab, lab.network.service("web").url(), seconds=5).strip() for _ in range(20)} == set(servers.by_name)
