"""weir on a trunk: clients in VLAN 100, the server in VLAN 10 of 300, one device for both. No kernel's 802.1Q is there.

      client eth0 -- c0 (100)    \\
      client eth1 -- c1 (300.10)  vlan_switch.py -- wire == edge  weir
      server eth0 -- s0 (300.10) /

The server answers the client by the client's second leg, as in the lab's layout of two arms.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.shell import end, in_namespace, run, start, wait_until
from lab.weir import METRICS_URL, Metrics, weir_binary

SWITCH = Path(__file__).resolve().parent / "vlan_switch.py"
VIP = {4: "203.0.113.10", 6: "2001:db8:203::10"}
CONFIG = """
dataplane = { workers = 1; hugepages = false; memory = "256M"; flows_per_worker = 65536; idle = "sleep"; };
ports = ( { name = "edge";    device = "net_af_packet0,iface=edge"; vlan = 100;
            addresses = [ "10.1.0.2/24", "fd00:1::2/64" ]; },
          { name = "servers"; device = "net_af_packet0,iface=edge"; vlan = [ 300, 10 ];
            addresses = [ "10.2.0.2/24", "fd00:2::2/64" ]; } );
neighbors = ( { address = "10.2.0.11";  mac = "02:00:00:00:00:11"; port = "servers"; },
              { address = "fd00:2::11"; mac = "02:00:00:00:00:11"; port = "servers"; } );
pools = ( { name = "v4"; backends = ( { name = "a"; address = "10.2.0.11"; } ); },
          { name = "v6"; backends = ( { name = "a"; address = "fd00:2::11"; } ); } );
services = ( { name = "v4"; vip = "203.0.113.10"; protocol = "tcp"; port = 80; forwarding = "dsr"; pool = "v4"; },
             { name = "v6"; vip = "2001:db8:203::10"; protocol = "tcp"; port = 80; forwarding = "dsr"; pool = "v6"; } );
"""


class Trunk:
    """The namespaces and what runs in them; a context manager that removes all of it again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.prefix = f"weir-{os.getpid()}-vlan-"
        self.running: list[object] = []

    def __enter__(self) -> "Trunk":
        try:
            for host in ("trunk", "client", "server", "weir"):
                run("ip", "netns", "add", self.prefix + host)
                self.execute(host, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
                             "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
                             f"net.ipv6.conf.default.disable_ipv6={int(host in ('trunk', 'weir'))}")
                self.execute(host, "ip", "link", "set", "lo", "up")
            self.wire("c0", "client", "eth0", "02:00:00:00:01:00", "10.1.0.100/24", "fd00:1::100/64")
            self.wire("c1", "client", "eth1", "02:00:00:00:01:01", "10.2.0.100/24", "fd00:2::100/64")
            self.wire("s0", "server", "eth0", "02:00:00:00:00:11", "10.2.0.11/24", "fd00:2::11/64")
            self.add_trunk()
            for vip in VIP.values():
                self.execute("client", "ip", "route", "add", vip, "dev", "eth0")
                self.execute("server", "ip", "address", "add", vip, "dev", "lo")
            self.execute("server", "ip", "route", "add", "10.1.0.0/24", "via", "10.2.0.100")
            self.execute("server", "ip", "route", "add", "fd00:1::/64", "via", "fd00:2::100")
            (self.directory / "index.html").write_text("the server\n")
            (self.directory / "weir.cfg").write_text(CONFIG)
            self.start_switch()
            self.start("server", "/usr/bin/python3", "-m", "http.server", "80", "--bind", "::", "--directory", str(self.directory))
            self.start("weir", weir_binary(), "run", "-c", str(self.directory / "weir.cfg"))
            assert wait_until(lambda: bool(self.scrape().samples), 30), (self.directory / "log").read_text()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.running):
            end(process)  # type: ignore[arg-type]
        for line in run("ip", "netns", "list").splitlines():
            if line.startswith(self.prefix):
                run("ip", "netns", "del", line.split()[0], check=False)

    def wire(self, port: str, host: str, device: str, mac: str, *addresses: str) -> None:
        run("ip", "-n", self.prefix + "trunk", "link", "add", port, "type", "veth", "peer", "name", device, "address",
            mac, "netns", self.prefix + host)
        for where, end_of in (("trunk", port), (host, device)):
            self.execute(where, "ethtool", "-K", end_of, "tx", "off", "gro", "off", "tso", "off", "gso", "off")
            self.execute(where, "ip", "link", "set", end_of, "up")
        for address in addresses:
            self.execute(host, "ip", "address", "add", address, "dev", device)

    def add_trunk(self) -> None:
        self.wire("wire", "weir", "edge", "02:00:00:00:00:01")
        self.execute("trunk", "ip", "link", "set", "wire", "mtu", "1508")  # full frames and two tags

    def start_switch(self) -> None:
        self.start("trunk", str(SWITCH), "wire", "c0=100", "c1=300.10", "s0=300.10")

    def execute(self, host: str, *command: str, check: bool = True) -> str:
        return run("ip", "netns", "exec", self.prefix + host, *command, check=check)

    def start(self, host: str, *command: str) -> None:
        self.running.append(start(in_namespace(self.prefix + host, command), str(self.directory / "log")))

    def scrape(self) -> Metrics:
        return Metrics(self.execute("weir", "curl", "-s", "--max-time", "5", METRICS_URL, check=False))


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trunk]:
    with Trunk(tmp_path_factory.mktemp("trunk")) as running:
        yield running


@pytest.mark.parametrize("family", [4, 6])
def test_curl_from_one_vlan_to_a_server_in_another(trunk: Trunk, family: int) -> None:
    host = VIP[4] if family == 4 else f"[{VIP[6]}]"
    before = trunk.scrape().sum("worker_forwarded_packets_total")
    for _ in range(5):
        assert trunk.execute("client", "curl", "-sS", "--max-time", "5", f"http://{host}/index.html") == "the server\n"
    assert trunk.scrape().sum("worker_forwarded_packets_total") >= before + 5 * 4, "SYN, ACK, request, FIN of each"


@pytest.mark.parametrize(("host", "address"), [("client", VIP[4]), ("client", VIP[6]), ("client", "10.1.0.2"),
                                               ("client", "fd00:1::2"), ("server", "10.2.0.2"), ("server", "fd00:2::2")])
def test_ping_at_full_length_in_both_vlans(trunk: Trunk, host: str, address: str) -> None:
    size = "1452" if ":" in address else "1472"
    said = trunk.execute(host, "ping", "-c", "3", "-i", "0.2", "-W", "2", "-M", "do", "-s", size, address, check=False)
    assert "3 received" in said, said


def test_frames_of_no_vlan_of_weirs_are_counted(trunk: Trunk) -> None:
    before = trunk.scrape().sum("dropped_packets_total", reason="vlan_tag")
    frames = ["0200000000010200000001008100006408004500", "ffffffffffff0200000001000806", "0200000000010200000001008100000708004500"]
    program = "import json, socket, sys\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\ns.bind(('wire', 0))\n" \
              "[s.send(bytes.fromhex(text).ljust(60, b'\\0')) for text in json.loads(sys.argv[1])]"
    trunk.execute("trunk", "/usr/bin/python3", "-c", program, json.dumps(frames))
    # The first is of VLAN 100; the second untagged, the third of VLAN 7.
    assert wait_until(lambda: trunk.scrape().sum("dropped_packets_total", reason="vlan_tag") == before + 2, 3)


def test_the_device_of_both_vlans_is_deleted_and_made_again(trunk: Trunk) -> None:
    """One device is made anew, and both ports serve by it; the switch is started again with its trunk."""
    for again in (1, 2):
        trunk.execute("weir", "ip", "link", "del", "edge")
        assert wait_until(lambda: trunk.scrape().sum("port_link_up") == 0, 3), (trunk.directory / "log").read_text()
        trunk.add_trunk()
        trunk.start_switch()
        assert wait_until(lambda: trunk.scrape().sum("port_link_up") == 2, 3), (trunk.directory / "log").read_text()
        for vip in (VIP[4], f"[{VIP[6]}]"):
            said = trunk.execute("client", "curl", "-sS", "--max-time", "5", "--retry", "2", "--retry-all-errors",
                                 f"http://{vip}/index.html")
            assert said == "the server\n"
        for host, address in (("client", "10.1.0.2"), ("server", "10.2.0.2"), ("client", "fd00:1::2"), ("server", "fd00:2::2")):
            said = trunk.execute(host, "ping", "-c", "3", "-i", "0.2", "-W", "2", address, check=False)
            assert " 0% packet loss" in said, said
        assert trunk.scrape().by("port_resets_total", "port") == {"edge": again}, "the device's count, under its first port"


def test_every_packet_is_accounted_for(trunk: Trunk) -> None:
    assert wait_until(lambda: trunk.scrape().unaccounted() == 0, 3), trunk.scrape().text
    metrics = trunk.scrape()
    assert metrics.sum("port_link_up") == 2
    assert set(metrics.by("port_rx_packets_total", "port")) == {"edge"}, "the device's numbers stand under its first port"
