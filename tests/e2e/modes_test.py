"""Servers of every kind: each mode, each pair of families, on weir's own segment and behind gateways."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lab.network import Service
from lab.proofs import curl
from lab.scenarios import DSR_SERVICES, TUNNEL_SERVICES
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.weir import Weir

pytestmark = pytest.mark.parametrize("layout", ["tunnels", "routed"], indirect=True)
EACH_SERVICE = pytest.mark.parametrize("service", DSR_SERVICES + TUNNEL_SERVICES, ids=lambda one: one.name)
EACH_TUNNEL = pytest.mark.parametrize("service", TUNNEL_SERVICES, ids=lambda one: one.name)


def came_through(lab: Lab, servers: WebServers, service: Service) -> int:
    """Packets that came out of the tunnel of that service, at all of its servers."""
    assert service.tunnel_device
    return sum(servers.tunnels[one.name].received(service.tunnel_device) for one in lab.network.behind(service))


@EACH_SERVICE
def test_curl_reaches_every_server(lab: Lab, weir: Weir, servers: WebServers, service: Service) -> None:
    expected = {one.name for one in lab.network.behind(service)}
    answers = {curl(lab, service.url(), seconds=5).strip() for _ in range(20 * len(expected))}
    assert answers == expected, weir.log()


@EACH_TUNNEL
def test_packets_come_through_the_tunnel(lab: Lab, weir: Weir, servers: WebServers, service: Service) -> None:
    before = came_through(lab, servers, service)
    for _ in range(10):
        assert curl(lab, service.url(), seconds=5)
    assert came_through(lab, servers, service) >= before + 10 * 4, "SYN, ACK, request and FIN of each"
    assert all(end.refused(str(service.tunnel_device)) == 0 for end in servers.tunnels.values())


@EACH_TUNNEL
def test_100_megabytes_arrive_whole(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path,
                                    service: Service) -> None:
    """Down past weir, as with dsr, and up through the tunnel."""
    got = tmp_path / "100m"
    if service.vip_family == service.reached_over:
        lab.execute("client", "curl", "-sS", "--max-time", "30", "-o", str(got), service.url("100m"), timeout=40)
        with open(got, "rb") as content:
            assert hashlib.file_digest(content, "sha256").hexdigest() == servers.sha256
        got.unlink()
    lab.execute("client", "curl", "-sS", "--fail", "--max-time", "30", "-T", str(servers.files / "100m"),
                service.url(f"put/{service.name}"), timeout=40)
    kept = [file for one in lab.network.behind(service)
            if (file := servers.by_name[one.name].directory / "put" / service.name).exists()]
    assert len(kept) == 1
    with open(kept[0], "rb") as content:
        assert hashlib.file_digest(content, "sha256").hexdigest() == servers.sha256
    kept[0].unlink()


def test_every_packet_is_accounted_for(weir: Weir) -> None:
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 3), weir.metrics().text
