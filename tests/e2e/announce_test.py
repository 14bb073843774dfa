"""What the network hears of the VIPs: announcements when they become active, routes for BGP speakers, silence when
they are withdrawn."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.utils import rdpcap

from lab.scenarios import VIP4, VIP6
from lab.shell import end, in_namespace, start, wait_until
from lab.topology import Lab
from lab.weir import Weir, config_text

OTHER = {VIP4: "203.0.113.77", VIP6: "2001:db8:203::77"}
FORGED_MAC = "02:00:00:00:00:99"


class Heard:
    """What the client hears of ARP and ND; a context manager."""

    def __init__(self, lab: Lab, file: Path) -> None:
        self.lab, self.file = lab, file
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Heard":
        log = self.file.with_suffix(".log")
        self.process = start(in_namespace(self.lab.namespace("client"), [
            "tcpdump", "-i", "eth0", "-U", "-w", str(self.file), "arp or icmp6"]), str(log))
        assert wait_until(lambda: "listening on" in log.read_text(), 10), log.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            end(self.process)

    def announcements(self, vip: str) -> list[float]:
        """Seconds of each, in order."""
        return [float(frame.time) for frame in rdpcap(str(self.file)) if is_announcement(frame, vip)]


def is_announcement(frame: Ether, vip: str) -> bool:
    if ARP in frame:
        return bool(frame[ARP].op == 1 and frame[ARP].psrc == frame[ARP].pdst == vip)
    return bool(ICMPv6ND_NA in frame and frame[IPv6].dst == "ff02::1" and frame[ICMPv6ND_NA].tgt == vip
                and frame[ICMPv6ND_NA].O and not frame[ICMPv6ND_NA].S and frame[IPv6].hlim == 255)


def gaps(times: list[float]) -> list[float]:
    return [round(later - earlier, 1) for earlier, later in zip(times, times[1:])]


def other_vips(lab: Lab) -> str:
    text = config_text(lab.network)
    for old, new in OTHER.items():
        text = text.replace(f'vip = "{old}"', f'vip = "{new}"')
    return text


def vip_routes(lab: Lab) -> set[str]:
    """The VIPs that the kernel has routes of weir's to."""
    routes = "".join(lab.execute("weir", "ip", family, "route", "show", "proto", "87") for family in ("-4", "-6"))
    return {line.split()[0] for line in routes.splitlines() if "/" not in line.split()[0]} - {"default"}


@pytest.fixture(scope="module")
def heard(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    with Heard(lab, tmp_path_factory.mktemp("heard") / "client.pcap") as listening:
        yield listening


@pytest.fixture(scope="module")
def announcing(heard: Heard, weir: Weir) -> Weir:
    """weir, started while somebody listens."""
    time.sleep(3)
    return weir


def test_vips_are_announced_when_weir_starts(lab: Lab, heard: Heard, announcing: Weir) -> None:
    assert gaps(heard.announcements(VIP4)) == [2.0]
    assert gaps(heard.announcements(VIP6)) == [1.0, 1.0]
    metrics = announcing.metrics()
    vips = {service.vip for service in lab.network.services}
    assert metrics.sum("originated_packets_total", kind="garp") == 2 * sum("." in vip for vip in vips)
    assert metrics.sum("originated_packets_total", kind="neighbor_advertisement") == 3 * sum(":" in vip for vip in vips)


def test_vips_have_routes(lab: Lab, announcing: Weir) -> None:
    assert {VIP4, VIP6} <= vip_routes(lab)
    assert not lab.succeeds("weir", "ping", "-c", "1", "-W", "1", VIP4), "the VIP is not the kernel's"


def test_a_link_that_comes_back_takes_the_vips_over(lab: Lab, announcing: Weir) -> None:
    for vip in (VIP4, VIP6):
        lab.execute("client", "ip", "neighbor", "replace", vip, "dev", "eth0", "lladdr", FORGED_MAC, "nud", "stale")
    for state, told in (("down", "interface edge is down"), ("up", "serves again")):
        lab.execute("weir", "ip", "link", "set", "edge", state)
        assert wait_until(lambda: told in announcing.log(), 5), announcing.log()
    assert wait_until(lambda: FORGED_MAC not in lab.execute("client", "ip", "neighbor"), 3), \
        lab.execute("client", "ip", "neighbor")


def answers(lab: Lab, vip: str) -> bool:
    """Whether anybody answers ARP or ND for it."""
    if ":" not in vip:
        return lab.succeeds("client", "arping", "-q", "-f", "-c", "3", "-w", "2", "-I", "eth0", vip)
    lab.execute("client", "ip", "neighbor", "flush", "to", vip)
    return lab.succeeds("client", "ping", "-6", "-c", "1", "-W", "2", vip)


def test_a_withdrawn_vip_is_answered_for_no_more(lab: Lab, weir: Weir) -> None:
    assert answers(lab, VIP4) and answers(lab, VIP6)
    assert weir.reload(other_vips(lab)), weir.log()
    assert not answers(lab, VIP4) and not answers(lab, VIP6)
    assert weir.reload(config_text(lab.network)), weir.log()
    assert answers(lab, VIP4) and answers(lab, VIP6)


def test_a_reload_withdraws_and_announces(lab: Lab, heard: Heard, announcing: Weir) -> None:
    time.sleep(3)  # what is still to be said of the test before
    begun = time.time()
    assert announcing.reload(other_vips(lab)), announcing.log()
    reloaded = time.time()

    def since(vip: str, then: float = begun) -> list[float]:
        return [at for at in heard.announcements(vip) if at > then]
    assert wait_until(lambda: len(since(OTHER[VIP4])) == 2 and len(since(OTHER[VIP6])) == 3, 5)
    assert all(since(vip)[0] < reloaded + 0.5 for vip in OTHER.values())
    assert not any(since(vip, reloaded) for vip in OTHER), "announced after it was withdrawn"
    assert all(vip not in vip_routes(lab) and OTHER[vip] in vip_routes(lab) for vip in OTHER)
    again = time.time()
    assert announcing.reload(config_text(lab.network)), announcing.log()
    assert wait_until(lambda: len(since(VIP4, again)) == 2, 5), "active again"


def test_routes_end_with_weir(lab: Lab, announcing: Weir) -> None:
    assert announcing.process
    announcing.process.kill()
    announcing.process.wait()
    assert wait_until(lambda: not vip_routes(lab), 2)
