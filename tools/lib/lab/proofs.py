"""What must hold of the lab before weir runs in it; otherwise a test of weir could pass by accident."""

from __future__ import annotations

from collections.abc import Iterator

from lab.servers import WebServers
from lab.topology import VIP4, VIP6, Lab


class Disproved(AssertionError):
    """The lab is not what it says."""


def curl(lab: Lab, url: str, *options: str, seconds: float = 1) -> str:
    """The body, or an empty string."""
    return lab.execute("client", "curl", "-s", "--max-time", str(seconds), *options, url, check=False)


def prove_servers_answer(lab: Lab) -> Iterator[str]:
    """The wiring is sound: every server is there under its own address, and without any ARP as the VIP's holder."""
    device = "eth0" if len(lab.network.segments) == 1 else "eth1"
    for backend in lab.network.backends:
        for address in (backend.address4, f"[{backend.address6}]"):
            if curl(lab, f"http://{address}/", seconds=3).strip() != backend.name:
                raise Disproved(f"{backend.name} does not answer at {address}")
        for vip, url in ((VIP4, VIP4), (VIP6, f"[{VIP6}]")):
            lab.execute("client", "ip", "route", "replace", vip, "dev", device)
            lab.execute("client", "ip", "neigh", "replace", vip, "lladdr", backend.mac, "dev", device, "nud",
                        "permanent")
            answer = curl(lab, f"http://{url}/", seconds=3).strip()
            lab.execute("client", "ip", "neigh", "del", vip, "dev", device)
            lab.execute("client", "ip", "route", "replace", vip, "dev", "eth0")
            if answer != backend.name:
                raise Disproved(f"{backend.name} does not answer as {vip}")
        yield f"{backend.name} answers at its own addresses and, to frames sent to its MAC, as {VIP4} and {VIP6}"


def prove_silence(lab: Lab) -> Iterator[str]:
    """Nobody but weir can answer for the VIPs: neither the servers nor the kernel on weir's interfaces."""
    ports = lab.network.weir_addresses
    own = [address.split("/")[0] for address in ports["edge"]]
    if lab.succeeds("client", "arping", "-c", "2", "-w", "1", "-f", "-I", "eth0", VIP4):
        raise Disproved(f"somebody answers ARP for {VIP4} without weir")
    yield f"no answer to ARP for {VIP4}"
    for address in (VIP4, VIP6, *own):
        if lab.succeeds("client", "ping", "-c", "1", "-W", "1", address):
            raise Disproved(f"somebody answers ping of {address} without weir")
    yield f"no answer to ARP, ND and ping of {VIP4}, {VIP6}, {', '.join(own)}"
    yield from prove_no_tcp(lab)
    for port in ports:
        if lab.sent_packets("weir", port) != 0:
            raise Disproved(f"the kernel sent frames on weir's port {port}")
    yield "the kernel sent not one frame on weir's interfaces"


def prove_no_tcp(lab: Lab) -> Iterator[str]:
    """Frames that do arrive at weir's MAC: no RST, no ICMP, nothing."""
    mac = next(host for host in lab.network.hosts if host.name == "weir").legs[0].mac
    for vip, url in ((VIP4, VIP4), (VIP6, f"[{VIP6}]")):
        lab.execute("client", "ip", "neigh", "replace", vip, "lladdr", mac, "dev", "eth0", "nud", "permanent")
        body = lab.execute("client", "curl", "-s", "--max-time", "1", "-w", "%{errormsg}", f"http://{url}/",
                           check=False)
        lab.execute("client", "ip", "neigh", "del", vip, "dev", "eth0")
        if "timed out" not in body:
            raise Disproved(f"TCP to {vip} did not simply time out without weir: {body}")
    yield "TCP to the VIPs at weir's MAC times out: no answer, no RST, no ICMP"


def prove_network(lab: Lab, _servers: WebServers) -> Iterator[str]:
    yield from prove_silence(lab)
    yield from prove_servers_answer(lab)
