"""NAT64: clients with IPv6 reach servers that have IPv4 only, by curl, wrk and iperf3, and the servers are told whose
packets they get."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from iperf_test import PORT as IPERF_PORT
from iperf_test import IperfServer, assert_all_judged, iperf

from lab.built import ROOT
from lab.load import Wrk
from lab.nat import with_snat
from lab.network import Network
from lab.proofs import curl
from lab.scenarios import VIP6
from lab.servers import PROXIED_PORT, WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.watch import Listener
from lab.weir import Weir, world_text

CLIENT6, URL = "fd00:1::100", f"http://[{VIP6}]/"
ECHO_PORT = 8003
# Service: its L4 port, protocols, the servers' port, and what else its pool has.
SERVICES = {"web": (80, '"tcp"', 80, ""), "told": (81, '"tcp"', PROXIED_PORT, 'client_address = "proxy_v2";'),
            "echo": (83, '"udp"', ECHO_PORT, 'client_address = "proxy_v2";'),
            "iperf": (IPERF_PORT, '[ "tcp", "udp" ]', IPERF_PORT, 'hash = "source_ip";')}
pytestmark = pytest.mark.parametrize("layout", ["one_arm", "two_arms"], indirect=True)


def nat64_config(network: Network) -> str:
    pools, services = [], []
    for name, (port, protocols, server_port, more) in SERVICES.items():
        backends = ", ".join(f'{{ name = "{one.name}"; address = "{one.address4}"; port = {server_port}; }}'
                             for one in network.backends)
        pools.append(f'name = "{name}"; {more} backends = ( {backends} );')
        services.append(f'name = "{name}"; vip = "{VIP6}"; protocol = {protocols}; port = {port}; '
                        f'forwarding = "nat"; pool = "{name}";')
    return with_snat(world_text(network, pools, services)).replace(",qpairs=2", ",qpairs=2,framecnt=8192")


@pytest.fixture(scope="module")
def weir(lab: Lab, servers: WebServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    directory = tmp_path_factory.mktemp("weir")
    echo = str(ROOT / "tests" / "support" / "python" / "identity_server.py")
    with ExitStack() as stack:
        for backend in lab.network.backends:
            stack.enter_context(closing(IperfServer(lab, backend.name, directory)))
            stack.enter_context(Listener(lab.namespace(backend.name), [sys.executable, echo, "udp", str(ECHO_PORT)],
                                         "ready"))
        running = stack.enter_context(Weir(lab, directory, nat64_config(lab.network)))
        assert wait_until(running.knows_its_neighbors, 10), running.log()
        yield running


def test_curl_reaches_every_server(lab: Lab, weir: Weir, servers: WebServers) -> None:
    answers = {curl(lab, URL, seconds=5).strip() for _ in range(40)}
    assert answers == set(servers.by_name), weir.log()


def test_100_megabytes_arrive_whole_each_way(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path) -> None:
    assert servers.download_whole(URL, tmp_path)
    assert servers.upload_whole(URL, "nat64")


def test_nginx_logs_the_clients_ipv6_address(lab: Lab, weir: Weir, servers: WebServers) -> None:
    logs = [server.directory / "proxied.log" for server in servers.by_name.values()]
    before = sum(len(log.read_text().splitlines()) for log in logs)
    ports = [lab.execute("client", "curl", "-s", "--max-time", "5", "-o", "/dev/null", "-w", "%{local_port}",
                         f"http://[{VIP6}]:81/") for _ in range(20)]
    lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    assert len(lines) == before + len(ports)
    for port in ports:
        assert [CLIENT6, port, VIP6, "81", "200", "/"] in lines


DATAGRAMS = """
import socket, sys
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as endpoint:
    endpoint.settimeout(5)
    endpoint.connect((sys.argv[1], 83))
    for payload in (b"", b"x", b"y" * 700, b"z" * 1300):
        endpoint.send(payload)
        answer, own = endpoint.recv(65536), endpoint.getsockname()
        expected = f"{own[0]} {own[1]} {sys.argv[1]} 83 2 ".encode() + payload
        assert answer == expected, (answer, expected)
        print("told")
"""


def test_each_datagram_names_its_client(lab: Lab, weir: Weir) -> None:
    for _ in range(5):
        assert lab.execute("client", sys.executable, "-c", DATAGRAMS, VIP6).count("told") == 4


def test_load_without_failures(lab: Lab, weir: Weir, tmp_path: Path) -> None:
    with Wrk(lab, tmp_path, URL, seconds=4) as wrk:
        result = wrk.result()
    assert result.failed == 0 and result.requests > 100, result.text


@pytest.mark.parametrize(("way", "options"), [("to the server", []), ("from the server", ["-R"])])
def test_iperf(lab: Lab, weir: Weir, way: str, options: list[str], say: Callable[[str], None]) -> None:
    stream = iperf(lab, weir, VIP6, *options)["sum_received"]
    assert stream["bytes"] > 1_000_000
    datagrams = iperf(lab, weir, VIP6, "-u", "-b", "20M", *options)["sum"]
    assert datagrams["lost_packets"] <= 0.05 * datagrams["packets"]
    say(f"{way}: tcp {stream['bits_per_second'] / 1e6:.0f} Mbit/s; of {datagrams['packets']} datagrams "
        f"{datagrams['lost_packets']} lost")


def test_every_packet_is_accounted_for(lab: Lab, weir: Weir) -> None:
    assert_all_judged(weir)
    metrics = weir.metrics()
    assert metrics.sum("dropped_packets_total", reason="reply_too_big") == 0, metrics.text
