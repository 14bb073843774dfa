"""`weir backend-setup`: what it prints is run in a network namespace, twice, and taken back.

A server and a peer at the two ends of a veth. The peer sends to the VIP by the server's MAC address, as weir's dsr
does. Where this kernel lacks a kind of device, the script must end at that very command; the rest is then run
over stand-ins, and the test says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.shell import end, in_namespace, run, start, wait_until
from lab.built import weir_binary

SERVER_MAC = "02:00:00:00:00:11"
SERVER = {4: "10.1.0.11", 6: "fd00:1::11"}
VIP = {4: "203.0.113.10", 6: "2001:db8:203::10"}
DEVICES = {(4, 4): "weir-ipip", (4, 6): "weir-sit", (6, 4): "weir-ip6tnl", (6, 6): "weir-ip6tnl"}  # outer, inner
KINDS = {"weir-ipip": "ipip", "weir-sit": "sit", "weir-ip6tnl": "ip6tnl"}
CONFIG = """
dataplane = {{ workers = 1; }};
ports = ( {{ name = "edge"; device = "net_null0"; addresses = [ "10.1.0.2/24", "fd00:1::2/64" ]; mtu = 1500; }} );
pools = ( {{ name = "web"; backends = ( {{ name = "v4"; address = "10.1.0.11"; }},
                                        {{ name = "v6"; address = "fd00:1::11"; }} ); }} );
services = ( {{ name = "web4"; vip = "203.0.113.10"; protocol = "tcp"; port = 80; forwarding = "{0}"; pool = "web"; }},
             {{ name = "web6"; vip = "2001:db8:203::10"; protocol = "tcp"; port = 80; forwarding = "{0}";
                pool = "web"; }} );
"""


class Pair:
    """A server and a peer on one wire."""

    def __init__(self) -> None:
        self.names = {host: f"weir-{os.getpid()}-setup-{host}" for host in ("server", "peer")}

    def __enter__(self) -> "Pair":
        try:
            for host in self.names:
                run("ip", "netns", "add", self.names[host])
                run("ip", "-n", self.names[host], "link", "set", "lo", "up")
                self.execute(host, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0",
                             "net.ipv6.conf.default.accept_dad=0", "net.ipv4.tcp_timestamps=0")
            run("ip", "-n", self.names["server"], "link", "add", "name", "eth0", "address", SERVER_MAC, "type", "veth",
                "peer", "name", "eth0", "netns", self.names["peer"])
            for host, last in (("server", "11"), ("peer", "100")):
                run("ip", "-n", self.names[host], "link", "set", "eth0", "up")
                for address in (f"10.1.0.{last}/24", f"fd00:1::{last}/64"):
                    run("ip", "-n", self.names[host], "address", "add", address, "dev", "eth0")
            for vip in VIP.values():
                run("ip", "-n", self.names["peer"], "route", "add", vip, "dev", "eth0")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in self.names.values():
            run("ip", "netns", "del", namespace, check=False)

    def execute(self, host: str, *command: str, check: bool = True) -> str:
        return run(*in_namespace(self.names[host], command), check=check)

    def succeeds(self, host: str, *command: str) -> bool:
        return subprocess.run(in_namespace(self.names[host], command), capture_output=True, check=False).returncode == 0

    def know_vips(self) -> None:
        """From here on the peer sends to the VIPs by the server's MAC address, as weir does."""
        for vip in VIP.values():
            run("ip", "-n", self.names["peer"], "neighbor", "replace", vip, "lladdr", SERVER_MAC, "dev", "eth0")

    def arp_answers(self, address: str) -> bool:
        return self.succeeds("peer", "arping", "-q", "-f", "-c", "2", "-w", "2", "-I", "eth0", address)

    def nd_answers(self, address: str) -> bool:
        return self.succeeds("peer", "ping", "-6", "-c", "1", "-W", "2", address)

    def run_script(self, script: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
        """On the server, as `ssh server sh -x` would; the trace is in stderr."""
        environment = dict(os.environ, **({"PATH": f"{path}:{os.environ['PATH']}"} if path else {}))
        return subprocess.run(in_namespace(self.names["server"], ["sh", "-x"]), input=script, capture_output=True,
                              text=True, timeout=30, env=environment, check=False)

    def vips_on(self, device: str) -> set[str]:
        found = run("ip", "-n", self.names["server"], "-o", "address", "show", "dev", device, check=False)
        return {vip for vip in VIP.values() if f" {vip}/" in found}


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as both:
        yield both


def script(directory: Path, mode: str, backend: str, *options: str) -> str:
    file = directory / "weir.cfg"
    file.write_text(CONFIG.format(mode))
    return run(weir_binary(), "backend-setup", "-c", str(file), f"web/{backend}", *options)


def last_command(trace: str) -> str:
    return [line for line in trace.splitlines() if line.startswith("+ ")][-1][2:]


def test_dsr_takes_the_vip_and_stays_silent(pair: Pair, tmp_path: Path) -> None:
    assert pair.arp_answers(SERVER[4]) and pair.nd_answers(SERVER[6]), "the wire works"
    run("ip", "-n", pair.names["server"], "address", "add", VIP[4] + "/32", "dev", "lo")
    assert pair.arp_answers(VIP[4]), "Linux answers for what is on lo, unless told not to"
    run("ip", "-n", pair.names["peer"], "neighbor", "flush", "dev", "eth0")

    text = script(tmp_path, "dsr", "v4")
    for _ in range(2):
        done = pair.run_script(text)
        assert done.returncode == 0, done.stderr
    assert not pair.arp_answers(VIP[4]) and pair.arp_answers(SERVER[4])
    assert not pair.nd_answers(VIP[6]) and pair.nd_answers(SERVER[6])

    serve = [sys.executable, "-m", "http.server", "80", "--bind", "::", "--directory", str(tmp_path)]
    web = start(in_namespace(pair.names["server"], serve), str(tmp_path / "web.log"))
    try:
        assert wait_until(lambda: ":80 " in pair.execute("server", "ss", "-Hltn"), 10)
        pair.know_vips()
        for url in (f"http://{VIP[4]}/weir.cfg", f"http://[{VIP[6]}]/weir.cfg"):
            assert pair.succeeds("peer", "curl", "-sf", "--max-time", "5", url), url
    finally:
        end(web)

    for _ in range(2):
        done = pair.run_script(script(tmp_path, "dsr", "v4", "--undo"))
        assert done.returncode == 0, done.stderr
    assert not pair.vips_on("lo")


def test_own_connections_never_have_the_vip_as_source(pair: Pair, tmp_path: Path) -> None:
    assert pair.run_script(script(tmp_path, "dsr", "v4")).returncode == 0
    for address in ("10.1.0.100", "fd00:1::100"):
        route = pair.execute("server", "ip", "route", "get", address)
        assert not any(vip in route for vip in VIP.values()), route


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("mode", ["ipip", "gue"])
def test_tunnels(pair: Pair, tmp_path: Path, mode: str, outer: int) -> None:
    text = script(tmp_path, mode, f"v{outer}")
    devices = sorted({device for (family, _), device in DEVICES.items() if family == outer})
    for device in devices:
        # No VIP yet, and the kernel's sentence is the last that is said.
        done = pair.run_script(text)
        if done.returncode == 0 or KINDS[device] not in last_command(done.stderr):
            continue  # this kernel has it
        warnings.warn(f"this kernel has no {KINDS[device]} devices: {device} is a stand-in", stacklevel=1)
        wanted = f"ip link add name {device} type {KINDS[device]}"
        assert last_command(done.stderr).startswith(wanted) and "Unknown device type" in done.stderr, done.stderr
        # ip has understood the command: it says something else where it does not.
        wrong = pair.run_script(last_command(done.stderr).replace(" local ", " lokal "))
        assert wrong.returncode != 0 and "Unknown device type" not in wrong.stderr, wrong.stderr
        run("ip", "-n", pair.names["server"], "link", "add", "name", device, "type", "bridge")

    tools = fou_stand_in(pair, tmp_path) if mode == "gue" else None
    if tools:
        done = pair.run_script(text)
        assert done.returncode != 0 and last_command(done.stderr) == "modprobe fou", done.stderr
    for _ in range(2):
        done = pair.run_script(text, tools)
        assert done.returncode == 0, done.stderr
    for (family, inner), device in DEVICES.items():
        assert (VIP[inner] in pair.vips_on(device)) == (family == outer)
    device4 = DEVICES[outer, 4]
    assert pair.execute("server", "sysctl", "-n", f"net.ipv4.conf.{device4}.rp_filter").strip() == "2"
    assert not pair.arp_answers(VIP[4])
    if tools:
        assert (tmp_path / "fou").read_text() == f"port 6080 gue{' -6' if outer == 6 else ''}\n", "added once"
    check_segments(pair, 1500 - {4: 20, 6: 40}[outer] - (12 if mode == "gue" else 0))

    for _ in range(2):
        done = pair.run_script(script(tmp_path, mode, f"v{outer}", "--undo"), tools)
        assert done.returncode == 0, done.stderr
    assert not any(device in pair.execute("server", "ip", "link") for device in devices)
    assert "weir_" not in pair.execute("server", "nft", "list", "tables")
    if tools:
        assert (tmp_path / "fou").read_text() == ""


def check_segments(pair: Pair, room: int) -> None:
    """The largest segment that the peer sends to a VIP, as its kernel reckons it; `room` is for an IP packet."""
    pair.know_vips()
    serve = "import socket; s = socket.create_server(('', 80), family=socket.AF_INET6, dualstack_ipv6=True)\n" \
            "while True: s.accept()"
    ask = "import socket, sys; s = socket.create_connection((sys.argv[1], 80), 5); " \
          "print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))"
    server = subprocess.Popen(in_namespace(pair.names["server"], [sys.executable, "-c", serve]))
    try:
        assert wait_until(lambda: ":80 " in pair.execute("server", "ss", "-Hltn"), 10)
        for family, headers in ((4, 40), (6, 60)):
            said = pair.execute("peer", sys.executable, "-c", ask, VIP[family])
            assert int(said) == room - headers, f"IPv{family}: segments of {said} for packets of {room}"
    finally:
        end(server)


def fou_stand_in(pair: Pair, directory: Path) -> str | None:
    """A folder with an `ip` that keeps its list of FOU ports in a file, or None where the kernel has one."""
    if pair.succeeds("server", "ip", "fou", "show"):
        return None
    warnings.warn("this kernel has no fou: `ip fou` is a stand-in, its syntax is not checked", stacklevel=1)
    tools = directory / "tools"
    tools.mkdir()
    (directory / "fou").touch()
    (tools / "ip").write_text(f"""#!/bin/sh
list={directory}/fou
family=
case "$1 $2" in "-6 fou") family=" -6"; shift;; esac
case "$1 $2" in
"fou show") exec cat "$list";;
"fou add") shift 2; echo "$*$family" >> "$list";;
"fou del") : > "$list";;
*) exec {run("sh", "-c", "command -v ip").strip()} "$@";;
esac
""")
    (tools / "ip").chmod(0o755)
    return str(tools)


@pytest.mark.parametrize(("backend", "words"), [("web", "POOL/NAME"), ("wbe/v4", "web"), ("web/v5", "v4, v6")])
def test_unknown_backend_says_what_there_is(tmp_path: Path, backend: str, words: str) -> None:
    file = tmp_path / "weir.cfg"
    file.write_text(CONFIG.format("dsr"))
    done = subprocess.run([weir_binary(), "backend-setup", "-c", str(file), backend], capture_output=True, text=True,
                          timeout=10, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr.splitlines()[-1]


def test_mode_that_is_not_built_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weir.cfg"
    file.write_text(CONFIG.format("geneve"))
    done = subprocess.run([weir_binary(), "backend-setup", "-c", str(file), "web/v4"], capture_output=True, text=True,
                          timeout=10, check=False)
    assert done.returncode == 1 and "geneve" in done.stderr
