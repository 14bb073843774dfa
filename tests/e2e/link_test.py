"""Links that come and go: weir lives on, forwards again within a second, and keeps its flows."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from frames import probes
from lab.blast import Blast
from lab.proofs import curl, neighbor
from lab.servers import WebServers
from lab.shell import in_namespace, wait_until
from lab.topology import Lab
from lab.watch import Capture, on_the_wire
from lab.weir import Weir

FLAPS = 20
BACK_WITHIN = 1.0  # seconds
LONG_DOWN = 3.5
FAMILIES = {"IPv4": "web", "IPv6": "web6"}  # and the service of each
FIRST_RTO = 1.0  # seconds; RFC 6298 2.1: a SYN that is lost is sent again after that
ONCE_BACK = 0.3  # an answer is there when weir forwards, on a busy machine


@contextmanager
def probed(lab: Lab, directory: Path, seconds: float) -> Iterator[None]:
    """500 datagrams a second of each family from the client."""
    leg = lab.network.host("client").legs[0]
    file = probes(directory / "probes.pcap", leg, lab.raw_leg("edge").mac,
                  [lab.network.service(name) for name in FAMILIES.values()], ("10.1.0.100", "fd00:1::100"))
    with Blast(lab, "client", leg.device, file, seconds, rate=1000):
        yield


def forwarded(lab: Lab) -> Capture:
    leg = lab.raw_leg("edge")
    return on_the_wire(lab, "weir", leg, "udp", "and", "ether", "src", leg.mac)


def times_of(capture: Capture, family: str) -> list[float]:
    return [frame.time for frame in capture.frames() if f"ethertype {family} " in frame.text]


def back_in_both_families(capture: Capture) -> float | None:
    """When the later of the two was forwarded first."""
    firsts = [times[0] for family in FAMILIES if (times := times_of(capture, family))]
    return max(firsts) if len(firsts) == len(FAMILIES) else None


def time_until_back(capture: Capture, begun: float, weir: Weir) -> float:
    assert wait_until(lambda: back_in_both_families(capture) is not None, 5, step=0.01), weir.log()
    back = back_in_both_families(capture)
    assert back
    return max(back - begun, 0)


def new_flows(weir: Weir) -> float:
    return sum(weir.metrics().sum("service_new_flows_total", service=f"{name}-probe") for name in FAMILIES.values())


def shows_link(weir: Weir, up: bool) -> bool:
    return wait_until(lambda: weir.metrics().sum("port_link_up") == up, BACK_WITHIN)


def descriptors(weir: Weir) -> int:
    assert weir.process
    return len(list(Path(f"/proc/{weir.process.pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def flows(lab: Lab, weir: Weir, servers: WebServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[float]:
    """Known flows all the while; how many they are."""
    with probed(lab, tmp_path_factory.mktemp("probes"), seconds=150):
        assert wait_until(lambda: new_flows(weir) == 32, 5)
        yield 32


def test_flapping_link(lab: Lab, weir: Weir, flows: float, say: Callable[[str], None]) -> None:
    took, open_before = [], descriptors(weir)
    for number in range(FLAPS):
        lab.ip("weir", "link", "set", "edge", "down")
        if number % 5 == 0:
            assert shows_link(weir, up=False), weir.log()
        with forwarded(lab) as capture:
            begun = time.time()
            lab.ip("weir", "link", "set", "edge", "up")
            took.append(time_until_back(capture, begun, weir))
        if number % 5 == 0:
            assert shows_link(weir, up=True), weir.log()
    say(f"{FLAPS} flaps: forwarding is back after {1000 * sum(took) / FLAPS:.0f} ms on average, at most "
        f"{1000 * max(took):.0f} ms")
    assert max(took) <= BACK_WITHIN
    assert not weir.ended()
    assert new_flows(weir) == flows, "flows were forgotten"
    assert descriptors(weir) == open_before


def test_link_that_is_down_for_long(lab: Lab, weir: Weir, flows: float, say: Callable[[str], None]) -> None:
    """The kernel has given up on all neighbours by then, or is about to: weir forwards all the same, and goes on."""
    for pause in (0.0, 0.2, 0.5, 1.0):  # since the link was up: the kernel's neighbours are at another step each time
        time.sleep(pause)
        lab.ip("weir", "link", "set", "edge", "down")
        time.sleep(LONG_DOWN)
        before = weir.metrics().sum("dropped_packets_total", reason="no_neighbor")
        with forwarded(lab) as capture:
            begun = time.time()
            lab.ip("weir", "link", "set", "edge", "up")
            took = time_until_back(capture, begun, weir)
            time.sleep(2)
            times = {family: times_of(capture, family) for family in FAMILIES}
        gaps = {family: max(later - sooner for sooner, later in pairwise(seen)) for family, seen in times.items()}
        say(f"after {LONG_DOWN} s without a link both families are forwarded after {1000 * took:.0f} ms; longest gap after "
            "that: " + ", ".join(f"{family} {1000 * gap:.0f} ms" for family, gap in gaps.items()))
        assert took <= BACK_WITHIN
        assert weir.metrics().sum("dropped_packets_total", reason="no_neighbor") == before
        assert max(gaps.values()) <= ONCE_BACK
    assert new_flows(weir) == flows, "flows were forgotten"


@contextmanager
def request(lab: Lab, url: str) -> Iterator[subprocess.Popen[str]]:
    """A client that asks now and says at the end who has answered."""
    process = subprocess.Popen(in_namespace(lab.namespace("client"), ["curl", "-s", "--max-time", "10", url]),
                               stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answered(process: subprocess.Popen[str], servers: WebServers) -> float:
    assert process.communicate(timeout=15)[0].strip() in servers.by_name
    return time.time()


@pytest.mark.parametrize("family", FAMILIES)
class TestClientAfterALinkThatWasDownForLong:
    """Whoever asks when weir forwards is answered at once; what waits longer waits for a timer of its own."""

    @pytest.fixture(autouse=True)
    def down(self, lab: Lab, weir: Weir, flows: float) -> None:
        lab.ip("weir", "link", "set", "edge", "down")
        time.sleep(LONG_DOWN)

    @pytest.fixture
    def weir_sends(self, lab: Lab, down: None) -> Iterator[Capture]:
        with forwarded(lab) as capture:
            yield capture

    @pytest.fixture
    def client_sends(self, lab: Lab) -> Iterator[Callable[[], list[float]]]:
        """The times of its SYNs."""
        leg = lab.network.host("client").legs[0]
        with on_the_wire(lab, "client", leg, "tcp", "and", "ether", "src", leg.mac) as capture:
            yield lambda: [frame.time for frame in capture.frames() if "Flags [S]" in frame.text]

    def test_a_request_that_comes_when_weir_is_back(self, lab: Lab, weir: Weir, servers: WebServers, family: str,
                                                    weir_sends: Capture, say: Callable[[str], None]) -> None:
        begun = time.time()
        lab.ip("weir", "link", "set", "edge", "up")
        back = begun + time_until_back(weir_sends, begun, weir)
        with request(lab, lab.network.service(FAMILIES[family]).url()) as client:
            took = answered(client, servers) - back
        say(f"{family}: asked when weir was back, answered {1000 * took:.0f} ms after that")
        assert took <= ONCE_BACK

    def test_a_client_that_looks_for_the_vip_hears_the_announcement(
            self, lab: Lab, weir: Weir, servers: WebServers, family: str, weir_sends: Capture,
            client_sends: Callable[[], list[float]], say: Callable[[str], None]) -> None:
        """It asks for the MAC once a second: the announcement spares it the rest of that."""
        service = lab.network.service(FAMILIES[family])
        lab.ip("client", "neigh", "flush", "to", service.vip, check=False)
        with request(lab, service.url()) as client:
            time.sleep(0.3)
            assert not client_sends(), "the client knows the VIP's MAC, this shows nothing"
            begun = time.time()
            lab.ip("weir", "link", "set", "edge", "up")
            back = begun + time_until_back(weir_sends, begun, weir)
            took = answered(client, servers) - back
        say(f"{family}: asked for the VIP's MAC before, answered {1000 * took:.0f} ms after weir was back")
        assert took <= ONCE_BACK

    def test_a_request_that_was_lost_waits_for_the_clients_tcp(
            self, lab: Lab, weir: Weir, servers: WebServers, family: str, weir_sends: Capture,
            client_sends: Callable[[], list[float]], say: Callable[[str], None]) -> None:
        service, port = lab.network.service(FAMILIES[family]), lab.raw_leg("edge")
        with neighbor(lab, "client", "eth0", service.vip, port.mac), request(lab, service.url()) as client:
            assert wait_until(lambda: bool(client_sends()), 5, step=0.005)
            begun = time.time()
            lab.ip("weir", "link", "set", "edge", "up")
            back = begun + time_until_back(weir_sends, begun, weir)
            done = answered(client, servers)
        lost, *again = client_sends()
        say(f"{family}: SYNs {', '.join(f'{1000 * (one - back):+.0f}' for one in (lost, *again))} ms from when weir was back, "
            f"answered at {1000 * (done - back):+.0f} ms")
        assert lost < back and len(again) == 1, "one is lost, the next one is answered"
        assert again[0] - lost >= 0.95 * FIRST_RTO, "something else than the client's TCP made it wait"
        assert done - again[0] <= ONCE_BACK


def test_interface_that_is_deleted_and_made_again(lab: Lab, weir: Weir, flows: float, servers: WebServers,
                                                  say: Callable[[str], None]) -> None:
    leg, took, open_before = lab.raw_leg("edge"), [], descriptors(weir)
    for _ in range(3):
        lab.ip("weir", "link", "del", "edge")
        assert shows_link(weir, up=False), weir.log()
        lab.add_leg("weir", leg)
        begun = time.time()
        with forwarded(lab) as capture:
            took.append(time_until_back(capture, begun, weir))
        assert shows_link(weir, up=True), weir.log()
    say(f"interface made again: forwarding is back after at most {1000 * max(took):.0f} ms")
    assert max(took) <= BACK_WITHIN
    assert not weir.ended()
    assert new_flows(weir) == flows, "flows were forgotten"
    assert descriptors(weir) == open_before
    assert {curl(lab, lab.network.service("web").url(), seconds=5).strip() for _ in range(20)} == set(servers.by_name)
