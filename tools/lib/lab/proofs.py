"""What must hold of the lab before weir runs in it; otherwise a test of weir could pass by accident."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab.network import Leg, Service
from lab.topology import Lab


class Disproved(AssertionError):
    """The lab is not what it says."""


def curl(lab: Lab, url: str, *options: str, seconds: float = 1, host: str = "client") -> str:
    """The body, or an empty string."""
    return lab.execute(host, "curl", "-s", "--max-time", str(seconds), *options, url, check=False)


def leg_on(lab: Lab, host: str, segment: str) -> Leg | None:
    return next((leg for leg in lab.network.host(host).legs if leg.segment == segment), None)


@contextmanager
def neighbor(lab: Lab, host: str, device: str, address: str, mac: str) -> Iterator[None]:
    """A host believes that an address is at this MAC, without asking."""
    lab.ip(host, "neigh", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent")
    try:
        yield
    finally:
        lab.ip(host, "neigh", "del", address, "dev", device)


@contextmanager
def on_link(lab: Lab, host: str, device: str, service: Service) -> Iterator[None]:
    """A host has the VIP's route by one of its devices, and gets back the one it had."""
    family = f"-{service.vip_family}"
    before = lab.ip(host, family, "route", "show", service.vip).split()
    lab.ip(host, family, "route", "replace", service.vip, "dev", device)
    try:
        yield
    finally:
        lab.ip(host, family, "route", "del", service.vip, "dev", device)
        lab.ip(host, family, "route", "replace", *(word for word in before if word != "linkdown"))


def prove_servers_answer(lab: Lab) -> Iterator[str]:
    """The wiring is sound: every server is there under its own address, and without any ARP as the VIP's holder."""
    segments = {host.name: host.legs[0].segment for host in lab.network.hosts}
    for backend in lab.network.backends:
        for address in (backend.address4, f"[{backend.address6}]"):
            if curl(lab, f"http://{address}/", seconds=3).strip() != backend.name:
                raise Disproved(f"{backend.name} does not answer at {address}")
        yield f"{backend.name} answers at its own addresses"
        leg = leg_on(lab, "client", segments[backend.name])
        for service in lab.network.services:
            if not leg or service.kind != backend.kind:
                continue
            with on_link(lab, "client", leg.device, service), \
                    neighbor(lab, "client", leg.device, service.vip, backend.mac):
                if curl(lab, service.url(), seconds=3).strip() != backend.name:
                    raise Disproved(f"{backend.name} does not answer as {service.vip}")
            yield f"{backend.name} answers, to frames sent to its MAC, as {service.vip}"


@contextmanager
def kernel_owns_addresses(lab: Lab) -> Iterator[None]:
    """weir's kernel holds its addresses on TAPs, as it does on the host interfaces while weir runs."""
    names = [f"weir{number}" for number in range(len(lab.network.ports))]
    try:
        for name, port in zip(names, lab.network.ports):
            lab.ip("weir", "tuntap", "add", "name", name, "mode", "tap")
            lab.ip("weir", "link", "set", name, "up")
            for address in port.addresses:
                lab.ip("weir", "address", "add", address, "dev", name, *(("nodad",) if ":" in address else ()))
        yield
    finally:
        for name in names:
            lab.ip("weir", "link", "del", name, check=False)


class Witness:
    """A host on the segment of weir's port `edge`, and how it reaches the VIPs."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        segment = lab.raw_leg("edge").segment
        self.host = next(name for name in ("client", "router") if self._stands_on(name, segment))
        leg = leg_on(lab, self.host, segment)
        assert leg
        self.device = leg.device

    def _stands_on(self, name: str, segment: str) -> bool:
        return any(host.name == name for host in self.lab.network.hosts) and leg_on(self.lab, name, segment) is not None

    def hears_arp(self, address: str) -> bool:
        return self.lab.succeeds(self.host, "arping", "-c", "2", "-w", "1", "-f", "-I", self.device, address)

    def hears_ping(self, address: str) -> bool:
        return self.lab.succeeds(self.host, "ping", "-c", "1", "-W", "1", address)

    def next_hop(self, service: Service) -> str:
        """The address for whose MAC the witness asks before it sends to the VIP."""
        return service.vip if self.host == "client" else self.lab.network.port("edge").own[service.vip_family == 6]


def prove_silence(lab: Lab) -> Iterator[str]:
    """Nobody but weir can answer for the VIPs: neither the servers nor weir's kernel, which holds its addresses."""
    witness, vips = Witness(lab), [service.vip for service in lab.network.services[:2]]
    own = lab.network.port("edge").own
    with kernel_owns_addresses(lab):
        for address in (vips[0], own[0]):
            if witness.hears_arp(address):
                raise Disproved(f"somebody answers ARP for {address} without weir")
        for address in (*vips, *own):
            if witness.hears_ping(address):
                raise Disproved(f"somebody answers ping of {address} without weir")
        yield f"no answer to ARP, ND and ping of {', '.join((*vips, *own))}"
        yield from prove_no_tcp(lab, witness)
        for port in lab.network.ports:
            if lab.counted("weir", port.name, "tx_packets") != 0:
                raise Disproved(f"the kernel sent frames on weir's port {port.name}")
        yield "the kernel sent not one frame on weir's interfaces"


def prove_no_tcp(lab: Lab, witness: Witness) -> Iterator[str]:
    """Frames that do arrive at weir's MAC: no RST, no ICMP, nothing."""
    mac = lab.raw_leg("edge").mac
    for service in lab.network.services[:2]:
        with neighbor(lab, witness.host, witness.device, witness.next_hop(service), mac):
            body = curl(lab, service.url(), "-w", "%{errormsg}", host=witness.host)
        if "timed out" not in body:
            raise Disproved(f"TCP to {service.vip} did not simply time out without weir: {body}")
    yield "TCP to the VIPs at weir's MAC times out: no answer, no RST, no ICMP"


def prove_silencing_matters(lab: Lab) -> Iterator[str]:
    """Without it the kernel does answer: for an address that it holds elsewhere, on an interface that has none."""
    witness, own = Witness(lab), lab.network.port("edge").own[0]
    with kernel_owns_addresses(lab):
        lab.lift_silence("edge")
        try:
            if not witness.hears_arp(own):
                raise Disproved(f"the kernel does not answer ARP for {own}, silenced or not: the proof of silence is none")
        finally:
            lab.silence("edge")
    yield f"left to itself, the kernel answers ARP for {own} on weir's bare interface"


def prove_network(lab: Lab) -> Iterator[str]:
    yield from prove_silence(lab)
    yield from prove_silencing_matters(lab)
    yield from prove_servers_answer(lab)
