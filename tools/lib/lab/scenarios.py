"""The lab's networks, as data: whoever reads a scenario can draw it, and its drawing stands beside it.

Last numbers of addresses are the same in both families: 10.1.0.11 is also fd00:1::11. In every scenario the client
reaches weir by its port `edge`, which is 10.1.0.2 and fd00:1::2 and whose device is raw: the kernel neither receives nor
sends there (topology.py). Servers hold the VIPs on lo and are silent about them; their answers go to the client directly.
"""

from __future__ import annotations

from collections.abc import Callable

from lab.network import TUNNELS, Backend, Host, Leg, Network, Port, Route, Service

VIP4 = "203.0.113.10"
VIP6 = "2001:db8:203::10"

DSR_SERVICES = (Service(VIP4, "dsr", 4), Service(VIP6, "dsr", 6))
# Every pair of families: the VIP's in the backend's.
TUNNEL_SERVICES = (
    Service("203.0.113.20", "ipip", 4), Service("2001:db8:203::20", "ipip", 4),
    Service("203.0.113.26", "ipip", 6), Service("2001:db8:203::26", "ipip", 6),
    Service("203.0.113.40", "gue", 4), Service("2001:db8:203::40", "gue", 4),
    Service("203.0.113.46", "gue", 6), Service("2001:db8:203::46", "gue", 6),
)
KINDS_OF_RACK = ("dsr", "dsr", "ipip", "ipip", "gue", "gue", "plain")


def both(subnet: int, number: int, prefix_lengths: bool = True) -> tuple[str, str]:
    """10.1.<subnet>.<number> and fd00:<subnet + 1>::<number>."""
    lengths = ("/24", "/64") if prefix_lengths else ("", "")
    return f"10.1.{subnet}.{number}{lengths[0]}", f"fd00:{subnet + 1}::{number}{lengths[1]}"


def leg(segment: str, subnet: int, number: int, device: str = "eth0") -> Leg:
    return Leg(device, segment, f"02:00:00:00:{subnet:02x}:{number % 100:02}", both(subnet, number))


def by_way_of(subnets: list[int], *gateways: tuple[str, str]) -> tuple[Route, ...]:
    """Routes of both families to these subnets, over gateways that are given as (IPv4, IPv6)."""
    return tuple(Route(both(subnet, 0)[family], tuple(gateway[family] for gateway in gateways))
                 for subnet in subnets for family in (0, 1))


def vips_by(services: tuple[Service, ...], *, device: str | None = None,
            gateway: tuple[str, str] | None = None) -> tuple[Route, ...]:
    """How the VIPs are reached: on-link at a device, or over a gateway."""
    return tuple(Route(f"{one.vip}/{32 if one.vip_family == 4 else 128}",
                       (gateway[one.vip_family == 6],) if gateway else (), device) for one in services)


def backend(number: int, kind: str, subnet: int) -> Backend:
    address4, address6 = both(subnet, 10 + number, prefix_lengths=False)
    return Backend(f"TestWeb{number:02}", kind, address4, address6, f"02:00:00:00:{subnet:02x}:{10 + number:02}")


def server(one: Backend, segment: str, services: tuple[Service, ...], routes: tuple[Route, ...] = ()) -> Host:
    subnet, number = (int(part) for part in one.address4.split(".")[2:])
    vips = tuple(service.vip for service in services if service.kind == one.kind)
    return Host(one.name, (leg(segment, subnet, number),), vips, routes, is_tunnel_end=one.kind in TUNNELS)


def raw_leg(device: str, segment: str, number: int) -> Leg:
    return Leg(device, segment, f"02:00:00:00:ff:{number:02}", raw=True)


def one_segment(name: str, drawing: str, kinds: tuple[str, ...], services: tuple[Service, ...]) -> Network:
    backends = tuple(backend(number, kind, 0) for number, kind in enumerate(kinds, 1))
    client = Host("client", (leg("net", 0, 100),), routes=vips_by(services, device="eth0"))
    weir = Host("weir", (raw_leg("edge", "net", 1),))
    return Network(name, drawing, ("net",), (client, weir, *(server(one, "net", services) for one in backends)),
                   (Port("edge", both(0, 2)),), backends, "edge", services)


def one_arm() -> Network:
    """Everybody on one segment, as in a rack."""
    return one_segment("one_arm", r"""
      client          weir         TestWeb01      TestWeb02
    10.1.0.100      10.1.0.2       10.1.0.11      10.1.0.12
        |            `edge`            | dsr          | dsr
    ====+===============+==============+==============+====  net
""", ("dsr", "dsr"), DSR_SERVICES)


def tunnels() -> Network:
    """Servers of every kind on one segment."""
    return one_segment("tunnels", r"""
      client          weir         TestWeb01,02    TestWeb03,04    TestWeb05,06    TestWeb07
    10.1.0.100      10.1.0.2       10.1.0.11,12    10.1.0.13,14    10.1.0.15,16    10.1.0.17
        |            `edge`            | dsr           | ipip          | gue           | plain
    ====+===============+==============+===============+===============+===============+====  net
""", KINDS_OF_RACK, DSR_SERVICES + TUNNEL_SERVICES)


def two_arms() -> Network:
    """weir stands between the client's segment and the servers'; their answers pass it by, over the client's second leg."""
    backends = tuple(backend(number, "dsr", 1) for number in (1, 2))
    client = Host("client", (leg("outer", 0, 100), leg("inner", 1, 100, "eth1")),
                  routes=vips_by(DSR_SERVICES, device="eth0"))
    weir = Host("weir", (raw_leg("edge", "outer", 1), raw_leg("inside", "inner", 2)))
    back = by_way_of([0], both(1, 100, prefix_lengths=False))
    return Network("two_arms", r"""
                 weir
      client   10.1.0.2
    10.1.0.100  `edge` `inside`
        |          |    | 10.1.1.2
    ====+==========+=== | ====  outer
        |               |   TestWeb01   TestWeb02
    10.1.1.100          |   10.1.1.11   10.1.1.12
        |               |       | dsr       | dsr
    ====+===============+=======+===========+====  inner
""", ("outer", "inner"), (client, weir, *(server(one, "inner", DSR_SERVICES, back) for one in backends)),
                   (Port("edge", both(0, 2)), Port("inside", both(1, 2))), backends, "inside", DSR_SERVICES)


def routed() -> Network:
    """The client behind a router, tunnel servers behind two gateways of equal cost; weir's first route is by gate1."""
    services = DSR_SERVICES + TUNNEL_SERVICES
    near, far = backend(1, "dsr", 0), (backend(2, "ipip", 2), backend(3, "gue", 2))
    router, weir_, gate1, gate2 = (both(0, number, prefix_lengths=False) for number in (1, 2, 21, 22))
    farm = both(2, 21, prefix_lengths=False), both(2, 22, prefix_lengths=False)
    outer = both(9, 1, prefix_lengths=False)
    gates = tuple(Host(f"gate{number}", (leg("net", 0, 20 + number), leg("farm", 2, 20 + number, "eth1")),
                       routes=by_way_of([9], router), is_router=True) for number in (1, 2))
    hosts = (
        Host("client", (leg("outer", 9, 100),), routes=(*vips_by(services, gateway=outer), *by_way_of([0, 2], outer))),
        Host("router", (leg("outer", 9, 1), leg("net", 0, 1, "eth1")), is_router=True,
             routes=(*vips_by(services, gateway=weir_), *by_way_of([2], gate1, gate2))),
        *gates,
        Host("weir", (raw_leg("edge", "net", 1),)),
        server(near, "net", services, by_way_of([9], router)),
        *(server(one, "farm", services, by_way_of([0, 9], *farm)) for one in far),
    )
    return Network("routed", r"""
      client         router
    10.1.9.100      10.1.9.1
        |               |
    ====+===============+====  outer
                        |            weir       TestWeb01
                    10.1.0.1       10.1.0.2     10.1.0.11
                        |           `edge`          | dsr
                    ====+==============+============+=======+=============+====  net
                          VIPs by weir                  10.1.0.21     10.1.0.22
                          farm by both gates              gate1         gate2
                                                        10.1.2.21     10.1.2.22
                        TestWeb02   TestWeb03               |             |
                    ipip 10.1.2.12  10.1.2.13 gue           |             |
                    ========+===========+===================+=============+====  farm
""", ("outer", "net", "farm"), hosts, (Port("edge", both(0, 2), by_way_of([2], gate1)),), (near, *far), "edge",
                   services)


ZONES = {"TestWeb01": "ap-northeast-2a", "TestWeb02": "ap-northeast-2c"}  # of two_zones


def two_zones() -> Network:
    """A server in each of two zones, behind a router; the client's zone is weir's."""
    services = (Service(VIP4, "gue", 4),)
    backends = (backend(1, "gue", 1), backend(2, "gue", 2))
    router = both(0, 1, prefix_lengths=False)
    hosts = (
        Host("client", (leg("net", 0, 100),), routes=(*vips_by(services, device="eth0"), *by_way_of([1, 2], router))),
        Host("router", (leg("net", 0, 1), leg("zone-a", 1, 1, "eth1"), leg("zone-c", 2, 1, "eth2")), is_router=True),
        Host("weir", (raw_leg("edge", "net", 1),)),
        server(backends[0], "zone-a", services, by_way_of([0, 2], both(1, 1, prefix_lengths=False))),
        server(backends[1], "zone-c", services, by_way_of([0, 1], both(2, 1, prefix_lengths=False))),
    )
    return Network("two_zones", r"""
      client          weir              router
    10.1.0.100      10.1.0.2           10.1.0.1
        |            `edge`           |    |    |
    ====+===============+=============+==  |    |    net
                                           |    |
         TestWeb01  10.1.1.11  gue         |    |
             ====+=========================+==  |    zone-a  ap-northeast-2a
                                                |
         TestWeb02  10.1.2.12  gue              |
             ====+==============================+==  zone-c  ap-northeast-2c
""", ("net", "zone-a", "zone-c"), hosts, (Port("edge", both(0, 2), by_way_of([1, 2], router)),), backends, "edge", services)


SCENARIOS: dict[str, Callable[[], Network]] = {"one_arm": one_arm, "two_arms": two_arms, "tunnels": tunnels,
                                               "routed": routed, "two_zones": two_zones}
