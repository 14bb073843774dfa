"""The lab's network.

One arm (the default): everybody on one segment, as in a rack.

      client          weir            TestWeb01       TestWeb02
    10.1.0.100      10.1.0.2        10.1.0.11       10.1.0.12       fd00:1::/64 with the same last numbers
        |         `edge`, no           | VIPs on lo     | VIPs on lo
        |         kernel address       |                |
    ====+==============+===============+================+====  bridge in a namespace of its own

Two arms: the servers stand on a second segment (10.1.1.0/24, fd00:2::/64) and weir has a leg in each, `edge` and
`inside`. In DSR the servers answer the client directly, so there the client has a second leg too (10.1.1.100).

The client reaches the VIPs on-link: whoever answers its ARP and ND for them gets the packets. Servers hold the
VIPs on lo and are silent about them (arp_ignore, arp_announce; ND never answers for another device's address).

weir's legs are silenced: no address, no IPv6, and nftables drops all that the kernel would receive on them; packet
sockets see frames before that hook. `prove_silence` in tests/e2e shows it. Offloads are off everywhere: a packet
socket gets checksum-partial and 64 KB super-frames from a veth otherwise.
"""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass, field

from lab.shell import CommandFailed, run

PREFIX = "weir-"
VIP4 = "203.0.113.10"
VIP6 = "2001:db8:203::10"


@dataclass(frozen=True)
class Leg:
    """One network interface of a host, joined to a segment."""
    device: str
    segment: str
    mac: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Host:
    name: str
    legs: tuple[Leg, ...]
    vips: tuple[str, ...] = ()              # held on lo
    routes: tuple[tuple[str, ...], ...] = ()  # arguments of `ip route add`
    kernel_is_silent: bool = False


@dataclass(frozen=True)
class Backend:
    name: str
    address4: str
    address6: str
    mac: str


@dataclass(frozen=True)
class Network:
    segments: tuple[str, ...]
    hosts: tuple[Host, ...]
    backends: tuple[Backend, ...]
    backend_port: str  # the port of weir that faces the backends
    weir_addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)  # port -> its own addresses


def backends_on(subnet4: str, subnet6: str) -> tuple[Backend, ...]:
    return tuple(Backend(f"TestWeb{n:02}", f"{subnet4}.{10 + n}", f"{subnet6}::{10 + n}", f"02:00:00:00:00:{10 + n}")
                 for n in (1, 2))


def on_link_vips(device: str) -> tuple[tuple[str, ...], ...]:
    return (VIP4 + "/32", "dev", device), (VIP6 + "/128", "dev", device)


def servers(backends: tuple[Backend, ...], segment: str,
            routes: tuple[tuple[str, ...], ...] = ()) -> tuple[Host, ...]:
    return tuple(Host(b.name, (Leg("eth0", segment, b.mac, (b.address4 + "/24", b.address6 + "/64")),),
                      vips=(VIP4, VIP6), routes=routes) for b in backends)


def one_arm() -> Network:
    backends = backends_on("10.1.0", "fd00:1")
    client = Host("client", (Leg("eth0", "net", "02:00:00:00:01:00", ("10.1.0.100/24", "fd00:1::100/64")),),
                  routes=on_link_vips("eth0"))
    weir = Host("weir", (Leg("edge", "net", "02:00:00:00:00:01"),), kernel_is_silent=True)
    return Network(("net",), (client, weir, *servers(backends, "net")), backends, "edge",
                   {"edge": ("10.1.0.2/24", "fd00:1::2/64")})


def two_arms() -> Network:
    backends = backends_on("10.1.1", "fd00:2")
    client = Host("client", (Leg("eth0", "outer", "02:00:00:00:01:00", ("10.1.0.100/24", "fd00:1::100/64")),
                             Leg("eth1", "inner", "02:00:00:00:01:01", ("10.1.1.100/24", "fd00:2::100/64"))),
                  routes=on_link_vips("eth0"))
    weir = Host("weir", (Leg("edge", "outer", "02:00:00:00:00:01"), Leg("inside", "inner", "02:00:00:00:00:02")),
                kernel_is_silent=True)
    back = (("10.1.0.0/24", "via", "10.1.1.100"), ("fd00:1::/64", "via", "fd00:2::100"))
    return Network(("outer", "inner"), (client, weir, *servers(backends, "inner", back)), backends, "inside",
                   {"edge": ("10.1.0.2/24", "fd00:1::2/64"), "inside": ("10.1.1.2/24", "fd00:2::2/64")})


class Lab:
    """A network brought to life; a context manager that removes all of it again."""

    _numbers = itertools.count()

    def __init__(self, network: Network | None = None) -> None:
        self.network = network or one_arm()
        self.prefix = f"{PREFIX}{os.getpid()}-{next(self._numbers)}-"

    def namespace(self, host: str) -> str:
        return self.prefix + host

    def __enter__(self) -> "Lab":
        remove_orphans()
        try:
            for segment in self.network.segments:
                self._add_segment(segment)
            for host in self.network.hosts:
                self._add_host(host)
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        for namespace in namespaces():
            if namespace.startswith(self.prefix):
                run("ip", "netns", "del", namespace, check=False)

    def execute(self, host: str, *command: str, check: bool = True, timeout: float = 60,
                stdin: str | None = None) -> str:
        """Runs a program on a host of the lab."""
        return run("ip", "netns", "exec", self.namespace(host), *command, check=check, timeout=timeout, stdin=stdin)

    def succeeds(self, host: str, *command: str, timeout: float = 60) -> bool:
        try:
            self.execute(host, *command, timeout=timeout)
        except CommandFailed:
            return False
        return True

    def sent_packets(self, host: str, device: str) -> int:
        """Frames that a host has sent on one of its devices so far."""
        return int(self.execute(host, "cat", f"/sys/class/net/{device}/statistics/tx_packets"))

    def _sysctl(self, host: str, **values: int) -> None:
        self.execute(host, "sysctl", "-qw", *(f"{key.replace('__', '.')}={value}" for key, value in values.items()))

    def _add_segment(self, segment: str) -> None:
        namespace = self.namespace(segment)
        run("ip", "netns", "add", namespace)
        self._sysctl(segment, net__ipv6__conf__all__disable_ipv6=1, net__ipv6__conf__default__disable_ipv6=1)
        run("ip", "-n", namespace, "link", "add", "name", "bridge", "type", "bridge", "mcast_snooping", "0",
            "stp_state", "0")
        run("ip", "-n", namespace, "link", "set", "bridge", "up")

    def _add_host(self, host: Host) -> None:
        namespace = self.namespace(host.name)
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        if host.kernel_is_silent:
            self._sysctl(host.name, net__ipv6__conf__all__disable_ipv6=1, net__ipv6__conf__default__disable_ipv6=1)
        else:
            # No duplicate address detection: addresses work at once.
            self._sysctl(host.name, net__ipv6__conf__all__accept_dad=0, net__ipv6__conf__default__accept_dad=0,
                         net__ipv4__tcp_tw_reuse=1, net__ipv4__conf__all__rp_filter=0,
                         net__ipv4__conf__default__rp_filter=0)
            self.execute(host.name, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535")
        if host.vips:
            self._sysctl(host.name, net__ipv4__conf__all__arp_ignore=1, net__ipv4__conf__all__arp_announce=2)
        for leg in host.legs:
            self._add_leg(host, leg)
        for vip in host.vips:
            run("ip", "-n", namespace, "address", "add", vip, "dev", "lo")
        for route in host.routes:
            family = "-6" if ":" in route[0] else "-4"
            run("ip", family, "-n", namespace, "route", "add", *route)

    def _add_leg(self, host: Host, leg: Leg) -> None:
        bridge, namespace = self.namespace(leg.segment), self.namespace(host.name)
        port = host.name if leg.device == "eth0" else f"{host.name}-{leg.device}"
        run("ip", "-n", bridge, "link", "add", "name", port, "type", "veth", "peer", "name", leg.device,
            "address", leg.mac, "netns", namespace)
        run("ip", "-n", bridge, "link", "set", port, "master", "bridge", "up")
        self.execute(leg.segment, "ethtool", "-K", port, "tx", "off", "gro", "off", "tso", "off", "gso", "off")
        self.execute(host.name, "ethtool", "-K", leg.device, "tx", "off", "gro", "off", "tso", "off", "gso", "off")
        if host.kernel_is_silent:
            self._silence(host.name, leg.device)
        run("ip", "-n", namespace, "link", "set", leg.device, "up")
        for address in leg.addresses:
            run("ip", "-n", namespace, "address", "add", address, "dev", leg.device)

    def _silence(self, host: str, device: str) -> None:
        rule = f"type filter hook ingress device {device} priority 0; policy drop;"
        self.execute(host, "nft", "-f", "-",
                     stdin=f"table netdev weir_{device} {{\n chain silence {{\n {rule}\n }}\n}}\n")


def namespaces() -> list[str]:
    return [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.strip()]


def remove_orphans() -> list[str]:
    """Removes namespaces of labs whose process is gone (kill -9 leaves them)."""
    removed = []
    for namespace in namespaces():
        owner = re.match(rf"{PREFIX}(\d+)-", namespace)
        if owner and not os.path.exists(f"/proc/{owner.group(1)}"):
            run("ip", "netns", "del", namespace, check=False)
            removed.append(namespace)
    return removed
