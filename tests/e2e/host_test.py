"""The host interface: weir's kernel on the data port, for ping, services, tcpdump; never for a VIP. No static neighbour."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.proofs import curl
from lab.scenarios import VIP4, VIP6
from lab.servers import WebServers
from lab.shell import end, in_namespace, start, wait_until
from lab.topology import Lab
from lab.watch import Capture
from lab.weir import Weir

EACH_FAMILY = pytest.mark.parametrize("family", [4, 6])
SERVICE_PORT = "2222"


def own_address(lab: Lab, family: int) -> str:
    return lab.network.port("edge").own[family == 6]


@contextmanager
def netcat(lab: Lab, address: str, says: str, directory: Path) -> Iterator[None]:
    """A service of weir's kernel: it greets whoever connects."""
    greeting = directory / "greeting"
    greeting.write_text(says)
    command = ["sh", "-c", f"while nc -l -N {address} {SERVICE_PORT} < {greeting}; do :; done"]
    process = start(in_namespace(lab.namespace("weir"), command), str(directory / "nc.log"))
    try:
        assert wait_until(lambda: f":{SERVICE_PORT} " in lab.execute("weir", "ss", "-Hltn"), 5)
        yield
    finally:
        end(process)
        for listener in lab.execute("weir", "ss", "-Hltnp").splitlines():
            if f":{SERVICE_PORT} " in listener and "pid=" in listener:
                lab.execute("weir", "kill", listener.split("pid=")[1].split(",")[0], check=False)


def dial(lab: Lab, host: str, address: str) -> str:
    return lab.execute(host, "nc", "-N", "-w", "2", address, SERVICE_PORT, check=False, stdin="")


def test_config_has_no_static_neighbor(weir: Weir) -> None:
    assert "mac =" not in weir.config_file.read_text()


def test_host_interface_is_the_port_s_twin(lab: Lab, weir: Weir) -> None:
    shown = lab.ip("weir", "-o", "link", "show", "weir0")
    assert lab.raw_leg("edge").mac in shown and "mtu 1500" in shown and "LOWER_UP" in shown, shown
    addresses = lab.ip("weir", "-o", "address", "show", "weir0")
    assert all(address in addresses for address in lab.network.port("edge").addresses), addresses
    assert lab.ip("weir", "-o", "address", "show", "edge") == "", "the bare device has none"


@EACH_FAMILY
def test_ping_of_its_own_address_is_the_kernel_s(lab: Lab, weir: Weir, family: int) -> None:
    """tcpdump on the host interface sees the question and the answer."""
    address = own_address(lab, family)
    punted = weir.metrics().sum("worker_punted_packets_total")
    with Capture(lab, "weir", "weir0", "icmp or icmp6") as capture:
        said = lab.execute("client", "ping", "-c", "3", "-i", "0.2", "-W", "2", address, check=False)
        assert "3 received" in said, said
        assert wait_until(lambda: sum("echo reply" in frame.text for frame in capture.frames()) == 3, 3), capture.lines()
        assert sum("echo request" in frame.text for frame in capture.frames()) == 3
    assert weir.metrics().sum("worker_punted_packets_total") >= punted + 3


@EACH_FAMILY
def test_ping_of_a_vip_is_not_the_kernel_s(lab: Lab, weir: Weir, family: int) -> None:
    with Capture(lab, "weir", "weir0", "icmp or icmp6[0] == 128") as capture:
        said = lab.execute("client", "ping", "-c", "3", "-i", "0.2", "-W", "2", VIP4 if family == 4 else VIP6, check=False)
        assert "3 received" in said, said
        assert not capture.frames()


@EACH_FAMILY
def test_service_of_the_kernel_answers_on_weir_s_address(lab: Lab, weir: Weir, tmp_path: Path, family: int) -> None:
    address = own_address(lab, family)
    with netcat(lab, address, "SSH-2.0-weir", tmp_path), Capture(lab, "weir", "weir0", "tcp") as capture:
        assert dial(lab, "client", address) == "SSH-2.0-weir"
        assert wait_until(lambda: capture.first("Flags [S]") is not None, 3), capture.lines()
        assert capture.first("Flags [S.]", source=lab.raw_leg("edge").mac)


def test_service_of_the_kernel_does_not_answer_on_a_vip(lab: Lab, weir: Weir, tmp_path: Path) -> None:
    dropped = weir.metrics().sum("dropped_packets_total", reason="no_service")
    with netcat(lab, "0.0.0.0", "SSH-2.0-weir", tmp_path):
        assert dial(lab, "client", own_address(lab, 4)) == "SSH-2.0-weir"
        assert dial(lab, "client", VIP4) == ""
    assert weir.metrics().sum("dropped_packets_total", reason="no_service") > dropped


@EACH_FAMILY
def test_kernel_reaches_the_servers_by_the_port(lab: Lab, weir: Weir, servers: WebServers, family: int) -> None:
    """As probes will: out of the host interface, by the wire that the traffic takes."""
    sent = weir.metrics().sum("host_tx_packets_total")
    for backend in lab.network.backends:
        address = backend.address(family)
        url = f"http://{address}/" if family == 4 else f"http://[{address}]/"
        assert curl(lab, url, seconds=3, host="weir").strip() == backend.name
    assert weir.metrics().sum("host_tx_packets_total") >= sent + 4 * len(lab.network.backends)


def test_100_megabytes_through_the_host_interface(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path) -> None:
    """Segments of full size, checksums completed."""
    got = tmp_path / "100m"
    lab.execute("weir", "curl", "-sS", "--max-time", "30", "-o", str(got), f"http://{lab.network.backends[0].address4}/100m")
    assert got.stat().st_size == 100_000_000
    done = subprocess.run(["cmp", str(got), str(servers.files / "100m")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    got.unlink()


def test_address_that_the_operator_adds_is_weir_s_too(lab: Lab, weir: Weir) -> None:
    lab.ip("weir", "address", "add", "10.1.0.7/24", "dev", "weir0")
    assert wait_until(lambda: lab.succeeds("client", "ping", "-c", "1", "-W", "1", "10.1.0.7"), 3)
    lab.ip("weir", "address", "del", "10.1.0.7/24", "dev", "weir0")


def test_every_packet_is_accounted_for(weir: Weir) -> None:
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 3), weir.metrics().text


def test_host_interface_goes_with_weir(lab: Lab, weir: Weir) -> None:
    assert weir.stop() == 0, weir.log()
    assert not lab.succeeds("weir", "ip", "link", "show", "weir0")
