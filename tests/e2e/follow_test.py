"""weir follows the kernel: a replaced machine, a changed route, in at most 50 ms after the kernel knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from frames import probes
from lab.blast import Blast
from lab.network import Service
from lab.proofs import Witness, curl
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.watch import Capture, KernelEvents, on_the_wire
from lab.weir import Weir

IN_FORCE = 0.050  # seconds from the kernel's event to the first frame that obeys it
EACH_FAMILY = pytest.mark.parametrize("family", [4, 6])


@contextmanager
def probed(lab: Lab, services: list[Service], directory: Path) -> Iterator[Capture]:
    """2,000 datagrams a second through weir, and what leaves weir."""
    witness = Witness(lab)
    sender = next(leg for leg in lab.network.host(witness.host).legs if leg.device == witness.device)
    weir_leg = lab.raw_leg("edge")
    file = probes(directory / "probes.pcap", sender, weir_leg.mac, services, ("10.1.9.100", "fd00:10::100"))
    with on_the_wire(lab, "weir", weir_leg, "ether", "src", weir_leg.mac) as capture, \
            Blast(lab, witness.host, witness.device, file, seconds=20, rate=2000):
        yield capture


def follows(capture: Capture, events: KernelEvents, mac: str, words: list[str], change: Callable[[], object]) -> float:
    """Makes the change; returns the seconds from the kernel's event with these words to the first frame to that MAC."""
    change()
    assert wait_until(lambda: events.time_of(*words) is not None, 5), events.lines()
    assert wait_until(lambda: capture.first("length", destination=mac) is not None, 5), f"nothing to {mac}"
    known, frame = events.time_of(*words), capture.first("length", destination=mac)
    assert known and frame
    return frame.time - known


@EACH_FAMILY
@pytest.mark.parametrize("layout", ["one_arm"], indirect=True)
def test_replaced_machine(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path, say: Callable[[str], None],
                          family: int) -> None:
    backend, mac = lab.network.backends[0], f"02:00:00:99:00:{family:02}"
    lab.execute(backend.name, "sysctl", "-qw", "net.ipv4.conf.all.arp_notify=1", "net.ipv6.conf.all.ndisc_notify=1")
    services = [one for one in lab.network.services if one.reached_over == family]
    assert wait_until(lambda: curl(lab, services[0].url()) != "", 5)
    with probed(lab, services, tmp_path) as capture, KernelEvents(lab, "weir", "neigh") as events:
        assert wait_until(lambda: capture.first("length") is not None, 5), "no probe comes through"
        took = follows(capture, events, mac, [backend.address(family), mac],
                       lambda: lab.ip(backend.name, "link", "set", "eth0", "address", mac))
    say(f"IPv{family}: first frame to the new machine {1000 * took:.1f} ms after the kernel's event")
    assert took <= IN_FORCE
    assert {curl(lab, services[0].url(), seconds=5).strip() for _ in range(20)} == set(servers.by_name)


@pytest.mark.parametrize("layout", ["routed"], indirect=True)
class TestGateways:
    @EACH_FAMILY
    def test_changed_route(self, lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path, say: Callable[[str], None],
                           family: int) -> None:
        route = lab.network.port("edge").routes[family == 6]
        gates = [lab.network.host(name).legs[0] for name in ("gate1", "gate2")]
        old, new = (gate.addresses[family == 6].split("/")[0] for gate in gates)
        services = [one for one in lab.network.services if one.kind == "gue" and one.reached_over == family]
        assert route.gateways == (old,)
        assert curl(lab, services[0].url(), seconds=5).strip() == "TestWeb03"
        lab.ip("weir", "neigh", "get", new, "dev", "weir0", check=False)
        lab.succeeds("weir", "ping", "-c", "1", "-W", "2", new)
        with probed(lab, services, tmp_path) as capture, KernelEvents(lab, "weir", "route") as events:
            assert wait_until(lambda: capture.first("length", destination=gates[0].mac) is not None, 5)
            assert capture.first("length", destination=gates[1].mac) is None
            took = follows(capture, events, gates[1].mac, [str(ip_network(route.prefix)), new],
                           lambda: lab.ip("weir", route.family, "route", "replace", route.prefix, "via", new, "dev", "weir0",
                                          "proto", "87"))
        say(f"IPv{family}: first frame to the new gateway {1000 * took:.1f} ms after the kernel's event")
        assert took <= IN_FORCE
        assert curl(lab, services[0].url(), seconds=5).strip() == "TestWeb03"

    def test_gateway_that_is_replaced(self, lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path) -> None:
        """Backends behind a gateway follow its MAC."""
        mac, gate = "02:00:00:99:00:22", lab.network.host("gate2")
        services = [lab.network.service("ipip-4in4")]
        lab.execute("gate2", "sysctl", "-qw", "net.ipv4.conf.all.arp_notify=1")
        with probed(lab, services, tmp_path) as capture, KernelEvents(lab, "weir", "neigh") as events:
            assert wait_until(lambda: capture.first("length", destination=gate.legs[0].mac) is not None, 5)
            assert follows(capture, events, mac, ["10.1.0.22", mac],
                           lambda: lab.ip("gate2", "link", "set", "eth0", "address", mac)) <= IN_FORCE

    def test_route_with_two_gateways(self, lab: Lab, weir: Weir, servers: WebServers) -> None:
        """Equal-cost paths: every backend is reached by one of them; when a gateway goes, by the other."""
        lab.ip("weir", "route", "replace", "10.1.2.0/24", "proto", "87", "nexthop", "via", "10.1.0.21", "dev", "weir0",
               "nexthop", "via", "10.1.0.22", "dev", "weir0")
        both = [lab.network.service(name) for name in ("ipip-4in4", "gue-4in4")]
        assert all(wait_until(lambda: curl(lab, one.url(), seconds=2) != "", 5) for one in both)
        for remaining in ("10.1.0.21", "10.1.0.22"):
            lab.ip("weir", "route", "replace", "10.1.2.0/24", "proto", "87", "via", remaining, "dev", "weir0")
            assert all(wait_until(lambda: curl(lab, one.url(), seconds=2) != "", 5) for one in both)
