"""The words in which a network of the lab is described (scenarios.py); topology.py brings it to life."""

from __future__ import annotations

from dataclasses import dataclass, field

TUNNELS = ("ipip", "gue")


@dataclass(frozen=True)
class Leg:
    """One network interface of a host, joined to a segment."""
    device: str
    segment: str
    mac: str
    addresses: tuple[str, ...] = ()  # with their prefix lengths
    raw: bool = False                # weir's: the kernel neither receives nor sends on it


@dataclass(frozen=True)
class Route:
    """A kernel route; several gateways: equal cost, spread by the kernel over the flows' hash."""
    prefix: str
    gateways: tuple[str, ...] = ()
    device: str | None = None  # for a prefix that is on-link there

    @property
    def family(self) -> str:
        return "-6" if ":" in self.prefix else "-4"

    def arguments(self) -> list[str]:
        """What follows `ip route add`."""
        if self.device:
            return [self.prefix, "dev", self.device]
        if len(self.gateways) == 1:
            return [self.prefix, "via", self.gateways[0]]
        return [self.prefix, *(word for gateway in self.gateways for word in ("nexthop", "via", gateway))]


@dataclass(frozen=True)
class Host:
    name: str
    legs: tuple[Leg, ...]
    vips: tuple[str, ...] = ()  # held on lo
    routes: tuple[Route, ...] = ()
    is_router: bool = False
    is_tunnel_end: bool = False  # runs tests/support/decapsulator, and asks for segments that fit a tunnel


@dataclass(frozen=True)
class Backend:
    """A web server. `kind`: the mode by which it gets traffic (dsr, ipip, gue), or plain: it does nothing for weir."""
    name: str
    kind: str
    address4: str
    address6: str
    mac: str

    def address(self, family: int) -> str:
        return self.address4 if family == 4 else self.address6


@dataclass(frozen=True)
class Service:
    """One VIP in front of all backends of a kind, over which they are reached at their address of one family."""
    vip: str
    kind: str
    reached_over: int  # 4 or 6

    @property
    def vip_family(self) -> int:
        return 6 if ":" in self.vip else 4

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.vip_family}in{self.reached_over}" if self.kind in TUNNELS else self.pool

    @property
    def pool(self) -> str:
        return (self.kind if self.kind in TUNNELS else "web") + ("6" if self.reached_over == 6 else "")

    @property
    def tunnel_device(self) -> str | None:
        """The decapsulator's device by which its packets come out."""
        if self.kind not in TUNNELS:
            return None
        return f"gue{self.reached_over}" if self.kind == "gue" else f"{self.vip_family}in{self.reached_over}"

    def url(self, path: str = "") -> str:
        return f"http://{self.vip}/{path}" if self.vip_family == 4 else f"http://[{self.vip}]/{path}"


@dataclass(frozen=True)
class Port:
    """A port of weir: the raw leg of that name, its own addresses and routes."""
    name: str
    addresses: tuple[str, ...]
    routes: tuple[Route, ...] = ()

    @property
    def own(self) -> list[str]:
        """Its addresses without prefix lengths."""
        return [address.split("/")[0] for address in self.addresses]


@dataclass(frozen=True)
class Network:
    name: str
    drawing: str
    segments: tuple[str, ...]
    hosts: tuple[Host, ...]
    ports: tuple[Port, ...]
    backends: tuple[Backend, ...]
    backend_port: str  # the port of weir that faces the backends
    services: tuple[Service, ...] = field(default_factory=tuple)

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def port(self, name: str) -> Port:
        return next(port for port in self.ports if port.name == name)

    def behind(self, service: Service) -> list[Backend]:
        return [one for one in self.backends if one.kind == service.kind]

    def service(self, name: str) -> Service:
        return next(service for service in self.services if service.name == name)
