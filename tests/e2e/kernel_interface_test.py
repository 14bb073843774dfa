"""`device = "edge"`: weir takes the interface from the kernel by AF_XDP, serves on it, and gives it back, however it ends."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from frames import probes
from lab.blast import Blast
from lab.proofs import curl
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.watch import on_the_wire
from lab.weir import Weir, config_text

FLAPS, DOWN = 5, 3.5  # seconds
BACK_WITHIN = 0.3


def alone(lab: Lab) -> str:
    return config_text(lab.network).replace('"net_af_packet0,iface=edge"', '"edge"')


def what_is_left(lab: Lab) -> list[str]:
    """Of weir, on its interface."""
    link, rules = lab.ip("weir", "-d", "link", "show", "edge"), lab.execute("weir", "nft", "list", "tables")
    return [word for word, where in (("prog/xdp", link), ("PROMISC", link), ("weir_edge", rules)) if word in where]


@pytest.fixture(scope="module")
def weir(lab: Lab, servers: WebServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    assert not what_is_left(lab)
    with Weir(lab, tmp_path_factory.mktemp("weir"), alone(lab)) as running:
        assert wait_until(running.knows_its_neighbors, 10), running.log()
        yield running
    assert not what_is_left(lab)


def served_by_all(lab: Lab, servers: WebServers) -> None:
    for name in ("web", "web6"):
        url = lab.network.service(name).url()
        assert {curl(lab, url, seconds=5).strip() for _ in range(20)} == set(servers.by_name)


def test_clients_are_served(lab: Lab, weir: Weir, servers: WebServers) -> None:
    assert "edge is served by net_af_xdp" in weir.log()
    assert what_is_left(lab) == ["prog/xdp", "PROMISC", "weir_edge"]
    served_by_all(lab, servers)
    said = lab.execute("client", "ping", "-c", "3", "-i", "0.2", "-W", "2", lab.network.port("edge").own[0], check=False)
    assert "3 received" in said, "the kernel answers, by the host interface"
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 5), weir.metrics().text
    noise = [line for line in weir.log().splitlines() if not line.startswith("20")]
    assert not noise, "only weir's own sentences stand in its log"


def test_a_flap_costs_nothing(lab: Lab, weir: Weir, tmp_path: Path, say: Callable[[str], None]) -> None:
    """The device stays, so that nothing has to be made anew."""
    leg, own = lab.network.host("client").legs[0], lab.raw_leg("edge")
    file = probes(tmp_path / "probes.pcap", leg, own.mac, [lab.network.service("web")], ("10.1.0.100", "fd00:1::100"))
    took = []
    with Blast(lab, "client", leg.device, file, seconds=FLAPS * (DOWN + 2), rate=1000):
        for _ in range(FLAPS):
            lab.ip("weir", "link", "set", "edge", "down")
            time.sleep(DOWN)
            with on_the_wire(lab, "weir", own, "udp", "and", "ether", "src", own.mac) as capture:
                begun = time.time()
                lab.ip("weir", "link", "set", "edge", "up")
                assert wait_until(lambda: bool(capture.frames()), 5, step=0.01), weir.log()
                took.append(capture.frames()[0].time - begun)
    say(f"{FLAPS} times {DOWN} s without a link: forwarding is back after at most {1000 * max(took):.0f} ms")
    assert max(took) <= BACK_WITHIN
    assert weir.metrics().sum("port_resets_total") == 0


def test_an_interface_that_is_made_again(lab: Lab, weir: Weir, servers: WebServers) -> None:
    def descriptors() -> Counter[str]:
        assert weir.process
        return Counter(re.sub(r"\d+", "", os.readlink(one)) for one in Path(f"/proc/{weir.process.pid}/fd").iterdir())

    before = descriptors()
    lab.ip("weir", "link", "del", "edge")
    assert wait_until(lambda: weir.metrics().sum("port_link_up") == 0, 3), weir.log()
    lab.add_leg("weir", lab.raw_leg("edge"))
    assert wait_until(lambda: weir.metrics().sum("port_link_up") == 1, 3), weir.log()
    served_by_all(lab, servers)
    assert wait_until(lambda: descriptors() == before, 3), descriptors() - before


def test_what_a_killed_weir_leaves_is_taken_over_and_undone(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path) -> None:
    lab.ip("weir", "link", "set", "edge", "up")
    assert weir.process
    weir.process.send_signal(signal.SIGKILL)
    weir.process.wait(10)
    assert what_is_left(lab) == ["prog/xdp", "PROMISC", "weir_edge"]
    with Weir(lab, tmp_path, alone(lab)) as next_one:
        assert wait_until(next_one.knows_its_neighbors, 10), next_one.log()
        assert "edge was left silenced by a weir that was killed" in next_one.log()
        assert "edge is served by net_af_xdp" in next_one.log()
        served_by_all(lab, servers)
    assert not what_is_left(lab)
