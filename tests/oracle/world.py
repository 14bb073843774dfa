"""The world as a configuration describes it: ports, neighbours, pools, services. Values only."""
from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from oracle.read_config import read_config

TCP, UDP = 6, 17
TUNNEL_OVERHEAD = {"dsr": 0, "ipip": 0, "gue": 12}  # behind the outer IP header


def address_bytes(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def seconds(text: str) -> float:
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * factor
    raise ValueError(f"no duration: {text}")


@dataclass
class Port:
    name: str
    mac: bytes
    mtu: int
    networks: list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]
    device: str
    vlan: tuple[int, ...]  # the outer id first; empty: untagged
    has_host: bool = False  # the kernel has a twin of the port

    @property
    def own_addresses(self) -> frozenset[bytes]:
        return frozenset(n.ip.packed for n in self.networks)

    def own_address(self, family: int) -> bytes | None:
        return next((n.ip.packed for n in self.networks if n.version == family), None)


@dataclass(eq=False)
class Backend:
    name: str
    pool: str
    address: bytes
    weight: int
    mode: str | None  # overrides pool and service
    outages: list[tuple[float, float]]  # from, to: seconds after the first packet
    egress: Port
    next_hop: bytes
    next_hop_mac: bytes | None  # None: weir derives one, see LoadBalancer.next_hop_mac
    start: int = 0  # when the first packet came, in nanoseconds

    @property
    def eligible(self) -> bool:
        """At any time."""
        return self.weight > 0 and (0.0, inf) not in self.outages

    def is_down(self, time: int) -> bool:
        return any(begin <= (time - self.start) / 1e9 < end for begin, end in self.outages)

    def is_eligible(self, time: int) -> bool:
        return self.weight > 0 and not self.is_down(time)

    def was_down_since(self, last: int, time: int) -> bool:
        """Dead at some time in between: its flows are forgotten."""
        return any((last - self.start) / 1e9 < end and begin <= (time - self.start) / 1e9 for begin, end in self.outages)

    @property
    def family(self) -> int:
        return 4 if len(self.address) == 4 else 6


class Stickiness(NamedTuple):
    duration: float
    prefixes: dict[int, int]  # by bytes of an address


@dataclass
class Pool:
    name: str
    mode: str | None
    hash: str
    backends: list[Backend]
    stickiness: Stickiness | None = None

    def prefix(self, source: bytes) -> bytes:
        """What counts of a client's address, as a pool's stickiness has it."""
        assert self.stickiness is not None
        length = self.stickiness.prefixes[len(source)]
        return ipaddress.ip_network((source, length), strict=False).network_address.packed

    @property
    def eligible(self) -> list[Backend]:
        return [backend for backend in self.backends if backend.eligible]


@dataclass(eq=False)
class Service:
    name: str
    vip: bytes
    protocols: frozenset[int]
    ports: list[tuple[int, int]]  # closed ranges
    any_port: bool
    mode: str
    pool: Pool
    # Filled in once: eligible backends with the mode that this service reaches them in.
    targets: list[tuple[Backend, str]] = field(default_factory=list)


@dataclass
class World:
    ports: dict[str, Port]
    pools: dict[str, Pool]
    services: list[Service]
    timeouts: dict[str, float]
    vips: frozenset[bytes] = frozenset()
    own_addresses: frozenset[bytes] = frozenset()
    _cache: dict[tuple[bytes, int, int], Service | None] = field(default_factory=dict)

    def start(self, time: int) -> None:
        """The first packet has come: from now on outages are counted."""
        for pool in self.pools.values():
            for backend in pool.backends:
                backend.start = time

    def ports_beside(self, name: str) -> list[Port]:
        """All ports on the device of the port `name`, itself included, in the file's order."""
        return [port for port in self.ports.values() if port.device == self.ports[name].device]

    @property
    def captures(self) -> list[str]:
        """One port of each device: its captures hold the frames of all of them."""
        return [name for name in self.ports if self.ports_beside(name)[0].name == name]
    def weirs_on(self, port: Port) -> frozenset[bytes]:
        """The addresses that weir itself speaks for there."""
        return self.vips - port.own_addresses if port.has_host else self.vips | port.own_addresses

    def find_service(self, vip: bytes, protocol: int, port: int) -> Service | None:
        """An exact port beats a range, a range beats "any"."""
        key = (vip, protocol, port)
        if key not in self._cache:
            self._cache[key] = self._search_service(vip, protocol, port)
        return self._cache[key]

    def _search_service(self, vip: bytes, protocol: int, port: int) -> Service | None:
        best: tuple[int, Service] | None = None
        for service in self.services:
            if service.vip != vip or protocol not in service.protocols:
                continue
            ranks = [0 if first == last else 1 for first, last in service.ports if first <= port <= last]
            if service.any_port:
                ranks.append(2)
            if ranks and (best is None or min(ranks) < best[0]):
                best = (min(ranks), service)
        return best[1] if best else None


def load_world(path: Path, down: frozenset[str] = frozenset()) -> World:
    """`down` holds POOL/NAME of the backends that count as dead, or POOL/NAME@FROM-TO."""
    config = read_config(path)
    ports = {entry["name"]: _port(entry, config["ports"]) for entry in config["ports"]}
    pools = {}
    for entry in config.get("pools", []):
        backends = [_backend(entry["name"], b, config, ports, down) for b in entry.get("backends", [])]
        pools[entry["name"]] = Pool(entry["name"], entry.get("forwarding"),
                                    entry.get("hash", "five_tuple"), backends, _stickiness(entry))
    services = [_service(entry, pools) for entry in config.get("services", [])]
    timeouts = {"tcp_opening": 10.0, "tcp_established": 350.0, "tcp_closing": 10.0, "udp": 120.0}
    timeouts.update({key: seconds(value) for key, value in config.get("timeouts", {}).items()})
    return World(ports, pools, services, timeouts,
                 vips=frozenset(service.vip for service in services),
                 own_addresses=frozenset(n.ip.packed for p in ports.values() for n in p.networks))


def _stickiness(pool: dict[str, Any]) -> Stickiness | None:
    if "stickiness" not in pool:
        return None
    entry = pool["stickiness"]
    return Stickiness(seconds(entry.get("duration", "10m")),
                      {4: entry.get("prefix_v4", 32), 16: entry.get("prefix_v6", 64)})


def _outages(name: str, down: frozenset[str]) -> list[tuple[float, float]]:
    outages = []
    for text in down:
        backend, _, times = text.partition("@")
        begin, _, end = times.partition("-")
        if backend == name:
            outages.append((seconds(begin), seconds(end)) if times else (0.0, inf))
    return outages


def _port(entry: dict[str, Any], all_ports: list[dict[str, Any]]) -> Port:
    networks = [ipaddress.ip_interface(text) for text in entry.get("addresses", [])]
    mac = next(port["mac"] for port in all_ports if port["device"] == entry["device"] and "mac" in port)
    vlan = entry.get("vlan", 0)
    ids = tuple(vlan) if isinstance(vlan, list) else (vlan,) if vlan else ()
    return Port(entry["name"], mac_bytes(mac), entry.get("mtu", 1500), networks, entry["device"], ids, _has_host(entry))


def _has_host(entry: dict[str, Any]) -> bool:
    """By default where the device is a network's, and not one of DPDK's virtual ones."""
    default = "none" if entry["device"].startswith("net_") else "weirN"
    return bool(entry.get("host_interface", default) != "none")


def _backend(pool: str, entry: dict[str, Any], config: dict[str, Any], ports: dict[str, Port],
             down: frozenset[str]) -> Backend:
    address = ipaddress.ip_address(entry["address"])
    next_hop, port = _next_hop(address, config, ports)
    macs = {ipaddress.ip_address(n["address"]): mac_bytes(n["mac"]) for n in config.get("neighbors", [])}
    return Backend(entry["name"], pool, address.packed, entry.get("weight", 1), entry.get("forwarding"),
                   _outages(f"{pool}/{entry['name']}", down), port, next_hop.packed, macs.get(next_hop))


def _next_hop(address: Any, config: dict[str, Any], ports: dict[str, Port]) -> tuple[Any, Port]:
    """On-link addresses are their own next hop; else the longest route's gateway."""
    for port in ports.values():
        if any(address in interface.network for interface in port.networks if interface.version == address.version):
            return address, port
    best: tuple[int, Any, Port] | None = None
    for route in config.get("routes", []):
        prefix = ipaddress.ip_network(route["prefix"])
        if prefix.version == address.version and address in prefix and (best is None or prefix.prefixlen > best[0]):
            best = (prefix.prefixlen, ipaddress.ip_address(route["via"]), ports[route["port"]])
    if best is None:
        raise ValueError(f"no route to backend {address}")
    return best[1], best[2]


def _service(entry: dict[str, Any], pools: dict[str, Pool]) -> Service:
    wanted = entry["protocol"] if isinstance(entry["protocol"], list) else [entry["protocol"]]
    ports, any_port = [], False
    for part in str(entry["port"]).split(","):
        part = part.strip()
        if part == "any":
            any_port = True
        else:
            first, _, last = part.partition("-")
            ports.append((int(first), int(last or first)))
    pool = pools[entry["pool"]]
    mode = entry.get("forwarding", "nat")
    service = Service(entry["name"], address_bytes(entry["vip"]),
                      frozenset({"tcp": TCP, "udp": UDP}[name] for name in wanted), ports, any_port, mode, pool)
    service.targets = [(b, b.mode or pool.mode or mode) for b in pool.eligible]
    return service
