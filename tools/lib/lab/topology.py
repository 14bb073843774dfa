"""Brings a network of scenarios.py to life: one namespace a host, one bridge (in a namespace of its own) a segment.

weir's legs are raw: no address, no IPv6, and nftables drops all that the kernel would receive on them; packet sockets see
frames before that hook. proofs.py shows it. The kernel's side of them is weir's host interfaces, which weir makes. Offloads
are off everywhere: a packet socket gets checksum-partial and 64 KB super-frames from a veth otherwise.
"""

from __future__ import annotations

import itertools
import os
import re

from lab.network import Host, Leg, Network
from lab.scenarios import one_arm
from lab.shell import CommandFailed, run

PREFIX = "weir-"
TUNNEL_MSS = 1360  # 1500 less IPv6, UDP and GUE outside, IPv6 and TCP with options inside

END_HOST = {"net.ipv6.conf.all.accept_dad": 0, "net.ipv6.conf.default.accept_dad": 0,  # addresses work at once
            "net.ipv6.conf.all.keep_addr_on_down": 1, "net.ipv6.conf.default.keep_addr_on_down": 1,
            "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0,
            "net.ipv4.tcp_tw_reuse": 1, "net.ipv4.ip_local_port_range": "1024 65535"}
ROUTER = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1,
          "net.ipv4.fib_multipath_hash_policy": 1, "net.ipv6.fib_multipath_hash_policy": 1}  # by 5-tuple
VIP_HOLDER = {"net.ipv4.conf.all.arp_ignore": 1, "net.ipv4.conf.all.arp_announce": 2}
NO_IPV6 = {"net.ipv6.conf.all.disable_ipv6": 1, "net.ipv6.conf.default.disable_ipv6": 1}


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

    def ip(self, host: str, *arguments: str, check: bool = True) -> str:
        """`ip` with these arguments, on a host of the lab."""
        return run("ip", "-n", self.namespace(host), *arguments, check=check)

    def counted(self, host: str, device: str, counter: str) -> int:
        """One of the kernel's counters of a device: tx_packets, rx_packets, rx_dropped, ..."""
        return int(self.execute(host, "cat", f"/sys/class/net/{device}/statistics/{counter}"))

    def raw_leg(self, port: str) -> Leg:
        """The device of one of weir's ports."""
        return next(leg for leg in self.network.host("weir").legs if leg.device == port)

    def bridge_port(self, host: str, leg: Leg) -> str:
        """The other end of a leg, in its segment's namespace: what is captured there was on the wire."""
        return host if leg.device == "eth0" else f"{host}-{leg.device}"

    def silence(self, device: str) -> None:
        """Keeps the kernel from receiving on a leg of weir's."""
        rule = f"type filter hook ingress device {device} priority 0; policy drop;"
        self.execute("weir", "nft", "-f", "-",
                     stdin=f"table netdev lab_{device} {{\n chain silence {{\n {rule}\n }}\n}}\n")

    def lift_silence(self, device: str) -> None:
        self.execute("weir", "nft", "delete", "table", "netdev", f"lab_{device}")

    def add_leg(self, host: str, leg: Leg) -> None:
        """Also for one that was deleted on purpose."""
        port = self.bridge_port(host, leg)
        self.ip(leg.segment, "link", "add", "name", port, "type", "veth", "peer", "name", leg.device, "address", leg.mac,
                "netns", self.namespace(host))
        self.ip(leg.segment, "link", "set", port, "master", "bridge", "up")
        for where, device in ((leg.segment, port), (host, leg.device)):
            self.execute(where, "ethtool", "-K", device, "tx", "off", "gro", "off", "tso", "off", "gso", "off")
        if leg.raw:
            self._set_sysctls(host, {f"net.ipv6.conf.{leg.device}.disable_ipv6": 1})
            self.silence(leg.device)
        self.ip(host, "link", "set", leg.device, "up")
        for address in leg.addresses:
            self.ip(host, "address", "add", address, "dev", leg.device)

    def restore_routes(self, host: str) -> None:
        """A device that goes down takes them along."""
        for route in self.network.host(host).routes:
            self.ip(host, route.family, "route", "replace", *route.arguments())

    def _set_sysctls(self, host: str, values: dict[str, int] | dict[str, int | str]) -> None:
        self.execute(host, "sysctl", "-qw", *(f"{key}={value}" for key, value in values.items()))

    def _add_segment(self, segment: str) -> None:
        run("ip", "netns", "add", self.namespace(segment))
        self._set_sysctls(segment, NO_IPV6)
        self.ip(segment, "link", "add", "name", "bridge", "type", "bridge", "mcast_snooping", "0", "stp_state", "0")
        self.ip(segment, "link", "set", "bridge", "up")

    def _add_host(self, host: Host) -> None:
        run("ip", "netns", "add", self.namespace(host.name))
        self.ip(host.name, "link", "set", "lo", "up")
        if not any(leg.raw for leg in host.legs):
            self._set_sysctls(host.name, END_HOST | (ROUTER if host.is_router else {}) | (VIP_HOLDER if host.vips else {}))
        for leg in host.legs:
            self.add_leg(host.name, leg)
        for vip in host.vips:
            self.ip(host.name, "address", "add", vip, "dev", "lo")
        self.restore_routes(host.name)
        if host.is_tunnel_end:
            rule = f"tcp flags syn tcp option maxseg size set {TUNNEL_MSS}"
            self.execute(host.name, "nft", "-f", "-", stdin="table inet lab {\n chain fits_tunnel {\n type filter hook "
                                                            f"output priority 0;\n {rule}\n }}\n}}\n")


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
