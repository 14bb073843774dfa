#!/usr/bin/python3
"""The demo's first part: real servers of every kind, real clients, weir between them over net_af_packet.

Nothing in weir's configuration says where a server is: the kernel finds out, on the host interface.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from lab.load import Wrk  # noqa: E402
from lab.network import Service  # noqa: E402
from lab.proofs import curl, prove_silence  # noqa: E402
from lab.scenarios import VIP4, VIP6, tunnels  # noqa: E402
from lab.servers import WebServers  # noqa: E402
from lab.shell import end, in_namespace, need_root, raise_on_signals, wait_until  # noqa: E402
from lab.topology import Lab  # noqa: E402
from lab.watch import Capture, KernelEvents, on_the_wire  # noqa: E402
from lab.weir import PROBE_PORT, Weir, config_text  # noqa: E402
from picture import Picture, Verdicts, accounts, bold, count, drops, heading, red  # noqa: E402

LOAD_SECONDS = 26
REMOVE_AT, ADD_AT = 6, 15
SETTLE = 1.0  # a SYN that was on its way when weir took the new configuration
LEAVER = "TestWeb02"


class Downloads:
    """Slow downloads that live through the reload: known flows."""

    def __init__(self, lab: Lab, directory: Path, number: int) -> None:
        self.files = [directory / f"download-{n}" for n in range(number)]
        self.processes = [subprocess.Popen(in_namespace(lab.namespace("client"), [
            "curl", "-s", "--max-time", "60", "-o", str(file), f"http://{VIP4}/slow"]), start_new_session=True)
            for file in self.files]

    def __enter__(self) -> "Downloads":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            end(process)

    def intact(self, sha256: str) -> int:
        """How many arrived whole; removes them."""
        good = 0
        for process, file in zip(self.processes, self.files):
            process.wait(60)
            with open(file, "rb") as content:
                good += hashlib.file_digest(content, "sha256").hexdigest() == sha256
            file.unlink()
        return good


def came_through(lab: Lab, servers: WebServers, service: Service) -> int:
    """Packets that came out of a service's tunnel, by the count of the servers' kernels."""
    return sum(servers.tunnels[one.name].received(service.tunnel_device or "") for one in lab.network.behind(service)
               if one.name in servers.tunnels)


def show_modes(lab: Lab, servers: WebServers, verdicts: Verdicts) -> None:
    heading("curl to every VIP, eight times: each mode, each family of VIP over each family of server")
    for service in lab.network.services:
        before = came_through(lab, servers, service)
        answers = [curl(lab, service.url(), seconds=5).strip() for _ in range(8)]
        proof = f"; {came_through(lab, servers, service) - before} packets out of {service.tunnel_device}" \
            if service.tunnel_device else ""
        by_server = ", ".join(f"{name or 'NOBODY'} {answers.count(name)}" for name in sorted(set(answers)))
        verdicts.claim("" not in answers, f"{service.name:10} {service.url():28} {by_server}{proof}")


def show_neighbors(lab: Lab, weir: Weir, verdicts: Verdicts) -> None:
    heading("who told weir where they are? the kernel: `ip neigh show dev weir0` in weir's namespace")
    known = [line for line in lab.ip("weir", "neigh", "show", "dev", "weir0").splitlines() if "lladdr" in line]
    for line in sorted(known):
        print(f"  {line.strip()}")
    verdicts.claim("mac =" not in weir.config_file.read_text(), "weir's configuration has no static neighbour")


def show_host(lab: Lab, verdicts: Verdicts) -> None:
    own = lab.network.port("edge").own
    heading("weir's own addresses are the kernel's, on the host interface weir0; the VIPs are weir's")
    with Capture(lab, "weir", "weir0", "icmp or icmp6 or tcp port 2222") as capture:
        for address in (VIP4, VIP6, *own):
            said = lab.execute("client", "ping", "-c", "3", "-i", "0.2", "-W", "2", address, check=False)
            verdicts.claim("3 received" in said, f"ping {address}: {said.splitlines()[-1]}")
        service = subprocess.Popen(in_namespace(lab.namespace("weir"), ["nc", "-l", "-N", own[0], "2222"]),
                                   stdin=subprocess.PIPE, start_new_session=True)
        try:
            assert service.stdin
            service.stdin.write(b"SSH-2.0-weir\n")
            service.stdin.close()
            wait_until(lambda: ":2222 " in lab.execute("weir", "ss", "-Hltn"), 5)
            heard = lab.execute("client", "nc", "-N", "-w", "3", own[0], "2222", check=False, stdin="").strip()
        finally:
            end(service)
        verdicts.claim(heard == "SSH-2.0-weir", f"nc {own[0]} 2222, a service of weir's kernel, says: {heard}")
        print("  tcpdump -i weir0 saw that, and nothing of the VIPs:")
        frames = [frame.text for frame in capture.frames()]
    for text in [text for text in frames if "echo" in text][:2] + [text for text in frames if ".2222" in text][:3]:
        print(f"    {re.sub('^.*?length [0-9]+: ', '', text)[:110]}")
    verdicts.claim(not any(vip in text for text in frames for vip in (VIP4, VIP6)), "no packet of a VIP on weir0")


def show_replaced_machine(lab: Lab, verdicts: Verdicts) -> None:
    backend, mac = lab.network.backends[0], "02:00:00:99:00:11"
    heading(f"{backend.name} is replaced by a machine with another MAC; the client sends a datagram every millisecond")
    lab.execute(backend.name, "sysctl", "-qw", "net.ipv4.conf.all.arp_notify=1")
    sender = ("import socket, time\nfor n in range(4000):\n"
              "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              f"    s.bind(('', 30000 + n % 16)); s.sendto(b'probe', ('{VIP4}', {PROBE_PORT})); s.close()\n"
              "    time.sleep(0.001)\n")
    with on_the_wire(lab, "weir", lab.raw_leg("edge"), "udp") as capture, KernelEvents(lab, "weir", "neigh") as events:
        load = subprocess.Popen(in_namespace(lab.namespace("client"), [sys.executable, "-c", sender]), start_new_session=True)
        try:
            time.sleep(1)
            lab.ip(backend.name, "link", "set", "eth0", "address", mac)
            time.sleep(1)
        finally:
            end(load)
        known, frame = events.time_of(backend.address4, mac), capture.first(destination=mac)
    took = frame.time - known if frame and known else None
    verdicts.claim(took is not None and took <= 0.05, "the first datagram to the new machine left "
                   + (f"{1000 * took:.1f} ms after the kernel knew" if took is not None else "NEVER"))


def show_load(lab: Lab, directory: Path, servers: WebServers, weir: Weir, verdicts: Verdicts) -> None:
    heading(f"wrk for {LOAD_SECONDS} s, a new connection for each request; meanwhile {LEAVER} leaves by SIGHUP and returns")
    names = [one.name for one in lab.network.backends if one.kind == "dsr"]
    picture, leaver = Picture(servers, weir, names), servers.by_name[LEAVER]
    note, during = f"both servers serve; {LEAVER} leaves at {REMOVE_AT} s", 0
    with Wrk(lab, directory, f"http://{VIP4}/", LOAD_SECONDS) as wrk, Downloads(lab, directory, 6) as downloads:
        begun, removed, added = time.monotonic(), None, False
        while wrk.running():
            elapsed = time.monotonic() - begun
            if removed is None and elapsed > REMOVE_AT:
                verdicts_note = weir.reload(config_text(lab.network, without=[LEAVER]))
                time.sleep(SETTLE)
                removed = leaver.connections()
                note = f"{LEAVER} is out ({'reloaded' if verdicts_note else 'REFUSED'}): its downloads go on"
            if removed is not None and not added and elapsed > ADD_AT:
                during = leaver.connections() - removed
                added = weir.reload(config_text(lab.network))
                note = f"{LEAVER} is back" if added else "the reload was REFUSED"
            picture.draw(note)
            time.sleep(1)
        result = wrk.result()
        intact = downloads.intact(servers.sha256)
    back = leaver.connections() - (removed or 0) - during
    print()
    verdicts.claim(result.failed == 0, f"{count(result.requests)} requests, {result.failed} failed")
    verdicts.claim(removed is not None and during == 0, f"new flows to {LEAVER} while it was out: {during}")
    verdicts.claim(intact == 6, f"{intact} of 6 downloads of 100 MB that were under way came through whole (SHA-256)")
    verdicts.claim(added and back > 0, f"new flows to {LEAVER} since it is back: {count(back)}")


def show_accounts(weir: Weir, verdicts: Verdicts) -> None:
    heading("every packet is accounted for")
    time.sleep(0.5)
    metrics = weir.metrics()
    print(f"  {accounts(metrics)}\n  dropped: {drops(metrics)}")
    verdicts.claim(metrics.unaccounted() == 0, f"{count(metrics.unaccounted())} unaccounted")
    verdicts.claim(weir.stop() == 0, "SIGTERM: weir ended with exit code 0")


def demonstrate(directory: Path) -> bool:
    verdicts = Verdicts()
    network = tunnels()
    heading("a client, seven web servers and weir's namespace on one segment")
    print(network.drawing.rstrip())
    with Lab(network) as lab, WebServers(lab, directory, slow_rate="4m") as servers:
        heading("before weir runs: who answers for the VIPs?")
        for sentence in prove_silence(lab):
            print(f"  {sentence}", flush=True)
        with Weir(lab, directory) as weir:
            heading("weir runs, metrics at http://127.0.0.1:9101/metrics in its namespace")
            verdicts.claim(wait_until(weir.knows_its_neighbors, 10), "the kernel has told it every server's MAC")
            show_modes(lab, servers, verdicts)
            show_neighbors(lab, weir, verdicts)
            show_host(lab, verdicts)
            show_replaced_machine(lab, verdicts)
            show_load(lab, directory, servers, weir, verdicts)
            show_accounts(weir, verdicts)
    return verdicts.all_true


def main() -> int:
    if reason := need_root():
        print(f"tools/demo: the live part {reason}", file=sys.stderr)
        return 1
    raise_on_signals()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weir-demo-") as name:
        try:
            good = demonstrate(Path(name))
        except KeyboardInterrupt:
            print("\ninterrupted; everything is taken down again")
            return 130
        except RuntimeError as error:
            print(f"\n{red('the demo failed')}: {error}", file=sys.stderr)
            return 1
    print(f"\n{bold('live part')}: {'all claims hold' if good else red('not every claim holds')}, "
          f"{time.monotonic() - begun:.0f} s, everything taken down")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
