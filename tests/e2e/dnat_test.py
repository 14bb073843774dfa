"""Mode dnat: servers see their clients' own addresses, and answer by way of weir."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.load import Wrk
from lab.network import Network
from lab.proofs import curl
from lab.scenarios import VIP4, VIP6, both
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.watch import Capture
from lab.weir import Weir, config_text

URLS = {VIP4: f"http://{VIP4}/", VIP6: f"http://[{VIP6}]/"}
CLIENTS = {VIP4: "10.1.0.100", VIP6: "fd00:1::100"}
EACH_VIP = pytest.mark.parametrize("vip", [VIP4, VIP6])
pytestmark = pytest.mark.parametrize("layout", ["two_arms"], indirect=True)


def dnat_config(network: Network) -> str:
    """The scenario's, with two workers and queues; nothing is set at the ports."""
    text = config_text(network).replace('forwarding = "dsr"', 'forwarding = "dnat"')
    return text.replace("workers = 1;", "workers = 2;").replace('"; addresses', ',qpairs=2,framecnt=8192"; addresses')


def route_by_weir(lab: Lab) -> None:
    """Servers answer clients by way of weir, and their kernels have no VIP."""
    gateways = lab.network.port(lab.network.backend_port).own
    for backend in lab.network.backends:
        for prefix, gateway, vip in zip(both(0, 0), gateways, (VIP4, VIP6), strict=True):
            lab.ip(backend.name, "route", "replace", prefix, "via", gateway)
            lab.ip(backend.name, "address", "del", f"{vip}/{128 if ':' in vip else 32}", "dev", "lo")


@pytest.fixture(scope="module")
def weir(lab: Lab, servers: WebServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    route_by_weir(lab)
    with Weir(lab, tmp_path_factory.mktemp("weir"), dnat_config(lab.network)) as running:
        assert wait_until(running.knows_its_neighbors, 10), running.log()
        yield running


@EACH_VIP
def test_curl_reaches_every_server_which_sees_the_client(lab: Lab, weir: Weir, servers: WebServers, vip: str) -> None:
    with ExitStack() as watching:
        captures = [watching.enter_context(Capture(lab, name, "eth0", "tcp dst port 80")) for name in servers.by_name]
        answers = {curl(lab, URLS[vip], seconds=5).strip() for _ in range(40)}
        assert answers == set(servers.by_name), weir.log()
        for capture, backend in zip(captures, lab.network.backends, strict=True):
            seen = f" {CLIENTS[vip]}."
            assert wait_until(lambda: any(seen in frame.text for frame in capture.frames()), 5)
            own = f"> {backend.address(6 if ':' in vip else 4)}.80: "
            assert all(seen in f" {frame.text}" and own in frame.text for frame in capture.frames())


@EACH_VIP
def test_100_megabytes_arrive_whole_each_way(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path,
                                             vip: str) -> None:
    assert servers.download_whole(URLS[vip], tmp_path)
    assert servers.upload_whole(URLS[vip], f"dnat-{'v6' if ':' in vip else 'v4'}")


def test_load_and_what_of_it_travels(lab: Lab, weir: Weir, tmp_path: Path, say: Callable[[str], None]) -> None:
    with Wrk(lab, tmp_path, URLS[VIP4], seconds=4) as wrk:
        result = wrk.result()
    assert result.failed == 0 and result.requests > 100, result.text
    metrics = weir.metrics()
    forwarded = metrics.sum("worker_forwarded_packets_total")
    requests, replies = (metrics.sum(f"nat_{which}_handed_over_total") for which in ("requests", "replies"))
    say(f"{result.requests} requests; of {forwarded:.0f} packets {requests:.0f} of clients and {replies:.0f} of servers "
        f"travelled by ring (the kernel's fanout is not RSS)")
    assert requests > 0


def test_weir_is_no_router(lab: Lab, weir: Weir) -> None:
    before = weir.metrics().sum("dropped_packets_total", reason="not_vip")
    for backend in lab.network.backends:
        assert not lab.succeeds(backend.name, "nc", "-z", "-w", "1", CLIENTS[VIP4], "4711")
    assert weir.metrics().sum("dropped_packets_total", reason="not_vip") >= before + 2


def test_every_packet_is_accounted_for(lab: Lab, weir: Weir) -> None:
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 3), weir.metrics().text
