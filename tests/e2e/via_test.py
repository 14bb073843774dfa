"""Health checks through the VIP, in the mode of the traffic: they see what a direct probe cannot. Every service of the
network has a pool of its own that is checked through its VIP; the pool "direct" has all their servers as well, and is
checked at their own addresses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.network import Service
from lab.servers import TunnelEnd, WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.weir import Weir, config_text, listed

pytestmark = pytest.mark.parametrize("layout", ["tunnels"], indirect=True)
CHECK = ('health_check = { protocol = "%s"; via = "%s"; interval = "1s"; timeout = "500ms"; healthy_threshold = 2; '
         'unhealthy_threshold = 2; };')
RULE = "fwmark 0x57454952 lookup 87"
FAMILIES = ("-4", "-6")


def pool_entry(name: str, check: str, backends: list[tuple[str, str]]) -> str:
    members = ", ".join(f'{{ name = "{one}"; address = "{address}"; port = 80; }}' for one, address in backends)
    return f'name = "{name}"; {check} backends = ( {members} );'


def checked_config(lab: Lab, via: str = "vip") -> str:
    network = lab.network
    before, after = config_text(network).split("pools = (")
    pools, services = [], []
    for one in network.services:
        # Of a tcp probe nothing but a SYN and a RST comes from weir.
        check = CHECK % ("tcp" if one.name == "web6" else "http", via)
        pools.append(pool_entry(one.name, check,
                                [(behind.name, behind.address(one.reached_over)) for behind in network.behind(one)]))
        services.append(f'name = "{one.name}"; vip = "{one.vip}"; protocol = "tcp"; port = 80; '
                        f'forwarding = "{one.kind}"; pool = "{one.name}";')
    pools.append(pool_entry("direct", CHECK % ("http", "direct"),
                            [(one.name, one.address4) for one in network.backends if one.kind != "plain"]))
    services.append(f'name = "direct"; vip = "{network.services[0].vip}"; protocol = "tcp"; port = 81; '
                    f'forwarding = "dsr"; pool = "direct";')
    return (f"{before}pools = (\n{listed(pools)}\n);\nservices = (\n{listed(services)}\n);\n"
            f"{after[after.index('metrics = '):]}")


def rules(lab: Lab) -> int:
    return sum(lab.ip("weir", family, "rule", "show").count(RULE) for family in FAMILIES)


def led(lab: Lab) -> int:
    return sum(lab.ip("weir", family, "route", "show", "table", "87", check=False).count("dev weir0") for family in FAMILIES)


@pytest.fixture(scope="module")
def weir(lab: Lab, servers: WebServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    with Weir(lab, tmp_path_factory.mktemp("weir"), checked_config(lab)) as running:
        yield running
    assert rules(lab) == 0, "weir leaves rules behind"


def status(weir: Weir, pool: str, backend: str) -> str:
    row = weir.backends(pool)[backend]
    return f"{row['state']} {row['reason'] or ''}".strip()


def all_states(weir: Weir) -> set[str]:
    return {f"{row['state']} {row['reason'] or ''}".strip() for row in weir.asked("show", "backends")}


def becomes(weir: Weir, pools: list[str], backend: str, wanted: str, seconds: float = 10) -> float:
    """Seconds until the backend is that in all the pools. What is checked directly stays healthy meanwhile."""
    begun = time.monotonic()

    def is_it() -> bool:
        assert status(weir, "direct", backend) == "healthy", weir.log()
        return all(status(weir, pool, backend) == wanted for pool in pools)
    assert wait_until(is_it, seconds, step=0.1), f"{[status(weir, pool, backend) for pool in pools]}\n{weir.log()}"
    return time.monotonic() - begun


def all_healthy(weir: Weir, seconds: float = 15) -> None:
    assert wait_until(lambda: all_states(weir) == {"healthy"}, seconds, step=0.2), f"{all_states(weir)}\n{weir.log()}"


def test_the_next_weir_cleans_up_after_a_killed_one(lab: Lab, servers: WebServers, tmp_path: Path) -> None:
    for number, via in enumerate(("direct", "vip")):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Weir(lab, folder, checked_config(lab)) as killed:
            all_healthy(killed)
            assert (rules(lab), led(lab)) == (2, 2)
            assert killed.process
            killed.process.kill()
            killed.process.wait()
        assert rules(lab) == 2, "nobody could remove them"
        assert led(lab) == 0, "and they lead nowhere"
        with Weir(lab, folder, checked_config(lab, via)) as following:
            all_healthy(following)
            assert (rules(lab), led(lab)) == ((0, 0) if via == "direct" else (2, 2))
        assert (rules(lab), led(lab)) == (0, 0)


@pytest.mark.parametrize("rp_filter", [0, 1])
def test_whole_ways_are_healthy_in_every_mode(lab: Lab, weir: Weir, rp_filter: int) -> None:
    lab.execute("weir", "sysctl", "-qw", f"net.ipv4.conf.all.rp_filter={rp_filter}")
    try:
        time.sleep(3)  # two failures would show
        all_healthy(weir)
    finally:
        lab.execute("weir", "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")


@pytest.mark.parametrize("kind", ["ipip", "gue"])
def test_a_dead_tunnel_before_a_live_server(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path, kind: str,
                                            say: Callable[[str], None]) -> None:
    """The tunnels' devices go, all pairs of families at once; the server answers at its own address as ever."""
    all_healthy(weir)
    backend = next(one.name for one in lab.network.backends if one.kind == kind)
    ways = [one for one in lab.network.services if one.kind == kind]
    pools = [one.name for one in ways]
    assert len(pools) == 4, "of both families, over both"
    servers.tunnels[backend].stop()
    try:
        for one in ways:
            assert one.tunnel_device and not lab.succeeds(backend, "ip", "link", "show", one.tunnel_device)
        dead = becomes(weir, pools, backend, "unhealthy Target.Timeout")
        say(f"{kind}, {', '.join(pools)}: unhealthy Target.Timeout {dead:.1f} s after the tunnel device is gone")
        assert all(status(weir, pool, other.name) == "healthy" for pool in pools for other in lab.network.behind(ways[0])
                   if other.name != backend), "its neighbours"
    finally:
        servers.tunnels[backend] = TunnelEnd(lab, backend, tmp_path)
    say(f"{kind}: healthy {becomes(weir, pools, backend, 'healthy'):.1f} s after it is back")


@pytest.mark.parametrize("name,reason", [("web", "Target.Timeout"), ("web6", "Target.FailedHealthChecks")])
def test_a_server_without_the_vip(lab: Lab, weir: Weir, name: str, reason: str, say: Callable[[str], None]) -> None:
    """Of IPv4 a kernel that does not forward drops what is not its own in silence; of IPv6 it says that it has no route."""
    all_healthy(weir)
    service: Service = lab.network.service(name)
    backend = lab.network.behind(service)[0].name
    prefix = f"{service.vip}/{32 if service.vip_family == 4 else 128}"
    lab.ip(backend, "address", "del", prefix, "dev", "lo")
    try:
        dead = becomes(weir, [service.name], backend, f"unhealthy {reason}")
    finally:
        lab.ip(backend, "address", "add", prefix, "dev", "lo")
    back = becomes(weir, [service.name], backend, "healthy")
    say(f"dsr, {name}: unhealthy {reason} {dead:.1f} s after the VIP is gone, healthy {back:.1f} s after it is back")


def test_rules_that_somebody_deletes_come_back(lab: Lab, weir: Weir) -> None:
    all_healthy(weir)
    for family in FAMILIES:
        lab.ip("weir", family, "rule", "del", "priority", "870")
    assert wait_until(lambda: rules(lab) == 2, 3, step=0.1), "as systemd-networkd would at its start"
    all_healthy(weir)


def test_a_reload_changes_the_way(lab: Lab, weir: Weir) -> None:
    all_healthy(weir)
    before = weir.metrics().sum("backend_health_transitions_total")
    for via, expected in (("direct", 0), ("vip", 2)):
        assert weir.reload(checked_config(lab, via)), weir.log()
        assert (rules(lab), led(lab)) == (expected, expected)
        time.sleep(3)
        all_healthy(weir)
    assert weir.metrics().sum("backend_health_transitions_total") == before, "the states hold meanwhile"


def test_probes_leave_no_trace(lab: Lab, weir: Weir) -> None:
    """Nobody but weir has sent anything to a VIP."""
    all_healthy(weir)
    before = weir.metrics()
    assert wait_until(lambda: weir.metrics().sum("originated_packets_total", kind="probe")
                      > before.sum("originated_packets_total", kind="probe") + 20, 10)
    now = weir.metrics()
    for name in ("flow_table_entries", "worker_forwarded_packets_total", "service_packets_total"):
        assert now.sum(name) == 0, now.text
    assert now.unaccounted() == 0
    assert now.sum("host_tx_refused_packets_total") == before.sum("host_tx_refused_packets_total")
