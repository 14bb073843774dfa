"""Mode nat: clients reach servers that know nothing of weir, and the answers come back through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.load import Wrk
from lab.nat import nat_config
from lab.proofs import curl
from lab.scenarios import VIP4, VIP6
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.weir import Weir

URLS = {VIP4: f"http://{VIP4}/", VIP6: f"http://[{VIP6}]/"}
pytestmark = pytest.mark.parametrize("layout", ["one_arm", "two_arms"], indirect=True)
EACH_VIP = pytest.mark.parametrize("vip", [VIP4, VIP6])


@pytest.fixture(scope="module")
def weir(lab: Lab, servers: WebServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    with Weir(lab, tmp_path_factory.mktemp("weir"), nat_config(lab.network)) as running:
        assert wait_until(running.knows_its_neighbors, 10), running.log()
        yield running


@EACH_VIP
def test_curl_reaches_every_server(lab: Lab, weir: Weir, servers: WebServers, vip: str) -> None:
    answers = {curl(lab, URLS[vip], seconds=5).strip() for _ in range(40)}
    assert answers == set(servers.by_name), weir.log()


@EACH_VIP
def test_100_megabytes_arrive_whole_each_way(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path,
                                             vip: str) -> None:
    assert servers.download_whole(URLS[vip], tmp_path)
    assert servers.upload_whole(URLS[vip], f"nat-{'v6' if ':' in vip else 'v4'}")


def test_load_without_failures(lab: Lab, weir: Weir, tmp_path: Path) -> None:
    with Wrk(lab, tmp_path, URLS[VIP4], seconds=4) as wrk:
        result = wrk.result()
    assert result.failed == 0 and result.requests > 100, result.text
    metrics = weir.metrics()
    assert metrics.sum("nat_replies_total") > result.requests
    assert metrics.sum("nat_sessions") > 0
    by_address = metrics.by("nat_snat_ports_in_use", "address")
    assert sum(by_address.values()) == metrics.sum("nat_sessions"), metrics.text
    assert set(by_address) == {own for port in lab.network.ports for own in port.own}
    assert metrics.sum("dropped_packets_total", reason="unsolicited") == 0, metrics.text


@contextmanager
def a_client_too(lab: Lab, host: str, vip: str) -> Iterator[None]:
    """A server without the VIP on lo, which it has for mode dsr and which keeps its packets at home."""
    prefix = f"{vip}/{128 if ':' in vip else 32}"
    lab.ip(host, "address", "del", prefix, "dev", "lo")
    own = lab.network.port(lab.network.backend_port).own
    lab.ip(host, "route", "replace", prefix, "via", own[":" in vip])
    try:
        yield
    finally:
        lab.ip(host, "route", "del", prefix)
        lab.ip(host, "address", "add", prefix, "dev", "lo")


@EACH_VIP
def test_a_server_reaches_the_service_that_it_is_part_of(lab: Lab, weir: Weir, servers: WebServers, vip: str) -> None:
    for host in servers.by_name:
        with a_client_too(lab, host, vip):
            answers = [curl(lab, URLS[vip], seconds=5, host=host).strip() for _ in range(20)]
        assert set(answers) == set(servers.by_name), f"{host}, chosen itself or not: {answers}\n{weir.log()}"


def test_forged_packets_to_snat_ports_are_dropped(lab: Lab, weir: Weir) -> None:
    before = weir.metrics().sum("dropped_packets_total", reason="unsolicited")
    own = lab.network.port("edge").own[0]
    for port in (20000, 25000, 29999):
        assert not lab.succeeds("client", "nc", "-z", "-w", "1", own, str(port))
    assert weir.metrics().sum("dropped_packets_total", reason="unsolicited") >= before + 3


def test_every_packet_is_accounted_for(lab: Lab, weir: Weir) -> None:
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 3), weir.metrics().text
