"""Real clients reach real servers through weir in dsr mode, over both families, with weir on one segment or two."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from lab.load import Wrk
from lab.proofs import curl
from lab.scenarios import VIP4, VIP6
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.weir import Weir

URLS = {VIP4: f"http://{VIP4}/", VIP6: f"http://[{VIP6}]/"}
pytestmark = pytest.mark.parametrize("layout", ["one_arm", "two_arms"], indirect=True)


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_curl_reaches_every_server(lab: Lab, weir: Weir, servers: WebServers, vip: str) -> None:
    answers = {curl(lab, URLS[vip], seconds=5).strip() for _ in range(40)}
    assert answers == set(servers.by_name), weir.log()


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_vip_answers_ping(lab: Lab, weir: Weir, vip: str) -> None:
    said = lab.execute("client", "ping", "-c", "5", "-i", "0.2", "-W", "2", vip, check=False)
    assert "5 received" in said, said


def test_own_address_answers_ping(lab: Lab, weir: Weir) -> None:
    for address in lab.network.port("edge").own:
        said = lab.execute("client", "ping", "-c", "2", "-i", "0.2", "-W", "2", address, check=False)
        assert "2 received" in said, said


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_100_megabytes_arrive_whole(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path, vip: str) -> None:
    got = tmp_path / "100m"
    lab.execute("client", "curl", "-sS", "--max-time", "60", "-o", str(got), URLS[vip] + "100m", timeout=70)
    with open(got, "rb") as content:
        assert hashlib.file_digest(content, "sha256").hexdigest() == servers.sha256
    got.unlink()


def test_port_without_service_is_dropped_and_counted(lab: Lab, weir: Weir) -> None:
    before = weir.metrics().sum("dropped_packets_total", reason="no_service")
    assert not lab.succeeds("client", "curl", "-s", "--max-time", "1", f"http://{VIP4}:8080/")
    assert weir.metrics().sum("dropped_packets_total", reason="no_service") > before


def test_load_without_failures_is_counted_per_server(lab: Lab, weir: Weir, servers: WebServers,
                                                     tmp_path: Path) -> None:
    accepted = {name: server.connections() for name, server in servers.by_name.items()}
    sent = weir.metrics().by("backend_new_flows_total", "backend")
    with Wrk(lab, tmp_path, URLS[VIP4], seconds=4) as wrk:
        result = wrk.result()
    assert result.failed == 0 and result.requests > 100, result.text
    now = weir.metrics().by("backend_new_flows_total", "backend")
    for name, server in servers.by_name.items():
        arrived = server.connections() - accepted[name]
        counted = now[name] - sent.get(name, 0)
        # A client's port that is used again while its last flow is remembered may count as that flow.
        assert 0 < counted <= arrived * 1.02 + 5, (name, arrived, counted)


def test_every_packet_is_accounted_for(lab: Lab, weir: Weir) -> None:
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 3), weir.metrics().text
    metrics = weir.metrics()
    sent = sum(lab.counted("weir", port.name, "tx_packets") for port in lab.network.ports)
    expected = sum(metrics.sum(f"{name}_packets_total")
                   for name in ("worker_forwarded", "worker_answered", "originated", "host_tx"))
    assert abs(sent - expected) <= 2, "what weir counts as sent is what left its interfaces"


def test_metrics_are_clean(weir: Weir) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=weir.metrics().text, capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
