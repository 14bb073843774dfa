"""Mode nat where SNAT ports are few: those of closed connections serve new ones, also against a server's TIME_WAIT."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.nat import nat_config
from lab.scenarios import VIP4, VIP6
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.weir import Weir

URLS = {VIP4: f"http://{VIP4}/", VIP6: f"http://[{VIP6}]/"}
PORTS = range(20000, 20064)
CONNECTIONS = 4 * len(PORTS)


@pytest.fixture(scope="module")
def weir(lab: Lab, servers: WebServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    config = nat_config(lab.network, PORTS).replace("timeouts = {", 'timeouts = { nat_tcp_time_wait = "1s";')
    with Weir(lab, tmp_path_factory.mktemp("weir"), config) as running:
        assert wait_until(running.knows_its_neighbors, 10), running.log()
        yield running


@pytest.mark.parametrize("timestamps", ["1", "0"])
@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_more_connections_than_ports(lab: Lab, weir: Weir, servers: WebServers, vip: str, timestamps: str) -> None:
    """The server closes first, so each port that comes back is in its TIME_WAIT. Without timestamps
    many a new SYN looks old to it (RFC 6191): it answers with an ACK, and the client's RST and second SYN go through."""
    before = weir.metrics().sum("nat_snat_ports_taken_over_total")
    lab.execute("client", "sysctl", "-qw", f"net.ipv4.tcp_timestamps={timestamps}")
    try:
        answers = lab.execute(
            "client", "sh", "-c", f"seq {CONNECTIONS} | xargs -P 8 -I N "
            f"curl -s --max-time 8 -H 'Connection: close' -w '%{{errormsg}}\\n' '{URLS[vip]}'", check=False).split()
    finally:
        lab.execute("client", "sysctl", "-qw", "net.ipv4.tcp_timestamps=1")
    assert len(answers) == CONNECTIONS and set(answers) == set(servers.by_name), f"{answers}\n{weir.log()}"
    for host in servers.by_name:
        assert "TIME-WAIT" in lab.execute(host, "ss", "-tan"), "the server has closed first"
    metrics = weir.metrics()
    assert metrics.sum("nat_snat_ports_taken_over_total") >= before + CONNECTIONS // 4, metrics.text
    assert metrics.sum("nat_snat_ports_in_use") <= 2 * 2 * len(PORTS), "of two families, towards two servers"
