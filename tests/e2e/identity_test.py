"""client_address: servers behind mode nat, which see weir's address, are told of the client's."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from scapy.layers.inet import TCP
from scapy.utils import rdpcap

from lab.built import ROOT
from lab.nat import SNAT_PORTS, with_snat
from lab.network import Network
from lab.scenarios import VIP4, VIP6
from lab.servers import PROXIED_PORT, WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.watch import Listener
from lab.weir import Weir, world_text

CLIENT4, CLIENT6 = "10.1.0.100", "fd00:1::100"
EACH_VIP = pytest.mark.parametrize("vip", [VIP4, VIP6])
SERVER_PORTS = {"greeting": 8002, "udp": 8003, "toa": 8004}
# Service: its L4 port, protocol, client_address, the servers' port.
SERVICES = {"v2": (80, "tcp", "proxy_v2", PROXIED_PORT), "v1": (81, "tcp", "proxy_v1", PROXIED_PORT),
            "greeting": (82, "tcp", "proxy_v2", SERVER_PORTS["greeting"]),
            "udp": (83, "udp", "proxy_v2", SERVER_PORTS["udp"]), "toa": (84, "tcp", "toa", SERVER_PORTS["toa"])}


def identity_config(network: Network, checked: str = "") -> str:
    """`checked`: more keys of the health checks, which ask nginx at the port that takes the PROXY header."""
    pools, services = [], []
    for name, (port, protocol, identity, server_port) in SERVICES.items():
        for family, vip in ((4, VIP4), (6, VIP6)):
            backends = ", ".join(f'{{ name = "{one.name}"; address = "{one.address(family)}"; port = {server_port}; }}'
                                 for one in network.backends)
            check = f'health_check = {{ protocol = "http"; {checked}interval = "300ms"; timeout = "250ms"; }};'
            pools.append(f'name = "{name}-{family}"; client_address = "{identity}"; backends = ( {backends} ); '
                         f'{check if server_port == PROXIED_PORT else ""}')
            services.append(f'name = "{name}-{family}"; vip = "{vip}"; protocol = "{protocol}"; port = {port}; '
                            f'forwarding = "nat"; pool = "{name}-{family}";')
    return with_snat(world_text(network, pools, services))


@pytest.fixture(scope="module")
def weir(lab: Lab, servers: WebServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    with Weir(lab, tmp_path_factory.mktemp("weir"), identity_config(lab.network)) as running:
        assert wait_until(running.knows_its_neighbors, 10), running.log()
        yield running


@pytest.fixture(scope="module")
def identity_servers(lab: Lab) -> Iterator[None]:
    """On every backend."""
    program = str(ROOT / "tests" / "support" / "python" / "identity_server.py")
    with ExitStack() as running:
        for backend in lab.network.backends:
            for kind, name in (("tcp", "greeting"), ("udp", "udp")):
                running.enter_context(Listener(lab.namespace(backend.name), [
                    sys.executable, program, kind, str(SERVER_PORTS[name])], "ready"))
            running.enter_context(Listener(lab.namespace(backend.name), [
                sys.executable, "-c", TOA_SERVER, str(SERVER_PORTS["toa"])], "ready"))
        yield


def url(vip: str, port: int, path: str = "") -> str:
    return f"http://[{vip}]:{port}/{path}" if ":" in vip else f"http://{vip}:{port}/{path}"


def client_of(vip: str) -> str:
    return CLIENT6 if ":" in vip else CLIENT4


def logged(servers: WebServers) -> Counter[tuple[str, ...]]:
    """Client, port, VIP, port, status and path of each request but those of health checks. The text form has IPv6 addresses in full, and nginx logs
    them as they stand."""
    lines = (line.split() for server in servers.by_name.values()
             for line in (server.directory / "proxied.log").read_text().splitlines())
    return Counter((str(ip_address(client)), port, str(ip_address(vip)), *rest) for client, port, vip, *rest in lines
                   if str(ip_address(vip)) in (VIP4, VIP6))


@EACH_VIP
@pytest.mark.parametrize("name", ["v2", "v1"])
def test_nginx_logs_the_clients_own_address_and_port(lab: Lab, weir: Weir, servers: WebServers, vip: str,
                                                     name: str) -> None:
    port, before, expected = SERVICES[name][0], logged(servers), Counter[tuple[str, ...]]()
    for _ in range(40):
        local, status = lab.execute("client", "curl", "-s", "--max-time", "5", "-o", "/dev/null", "-w",
                                    "%{local_port} %{http_code}", url(vip, port)).split()
        assert status == "200", weir.log()
        expected[client_of(vip), local, vip, str(port), "200", "/"] += 1
    assert logged(servers) - before == expected
    assert all((server.directory / "proxied.log").stat().st_size for server in servers.by_name.values())


@EACH_VIP
@pytest.mark.parametrize("name", ["v2", "v1"])
def test_100_megabytes_arrive_whole(lab: Lab, weir: Weir, servers: WebServers, vip: str, name: str) -> None:
    assert servers.upload_whole(url(vip, SERVICES[name][0]), f"{name}-{'v6' if ':' in vip else 'v4'}")


@contextmanager
def loss(lab: Lab, segment: str, *ports: str) -> Iterator[None]:
    """One frame of thirty that comes into the segment by these ports is lost."""
    chains = "".join(f" chain {port.replace('-', '_')} {{\n  type filter hook ingress device {port} priority 0;\n"
                     "  numgen random mod 30 == 7 drop\n }\n" for port in ports)
    lab.execute(segment, "nft", "-f", "-", stdin=f"table netdev lab_loss {{\n{chains}}}\n")
    try:
        yield
    finally:
        lab.execute(segment, "nft", "delete", "table", "netdev", "lab_loss")


def test_uploads_arrive_over_a_network_that_loses(lab: Lab, weir: Weir, servers: WebServers) -> None:
    sent = Path("/bin/true").read_bytes() * 8
    (servers.files / "lossy").write_bytes(sent)
    edge = lab.bridge_port("weir", lab.raw_leg("edge"))
    with loss(lab, "net", "client", edge):
        for number in range(20):
            lab.execute("client", "curl", "-sS", "--fail", "--max-time", "60", "-T", str(servers.files / "lossy"),
                        url(VIP4, SERVICES["v1" if number % 2 else "v2"][0], f"put/lossy-{number}"), timeout=70)
    kept = [place for server in servers.by_name.values() for place in (server.directory / "put").glob("lossy-*")]
    assert len(kept) == 20
    assert {place.read_bytes() for place in kept} == {sent}


GREETED = """
import socket, sys
vip, port = sys.argv[1], int(sys.argv[2])
for n in range(50):
    with socket.create_connection((vip, port), timeout=5) as connection:
        stream = connection.makefile("rwb")
        print(connection.getsockname()[1], stream.readline().decode().strip(), flush=True)
        payload = bytes(n * 251 % 256 for n in range(1 + n * 700))
        stream.write(payload), stream.flush()
        assert stream.read(len(payload)) == payload
"""


@EACH_VIP
def test_a_server_that_speaks_first_knows_to_whom(lab: Lab, weir: Weir, identity_servers: None, vip: str) -> None:
    port = SERVICES["greeting"][0]
    said = lab.execute("client", sys.executable, "-c", GREETED, vip, str(port)).splitlines()
    assert len(said) == 50
    for line in said:
        own, hello = line.split(" ", 1)
        assert hello == f"hello {client_of(vip)} {own} {vip} {port} 1"


DATAGRAMS = """
import socket, sys
vip, port = sys.argv[1], int(sys.argv[2])
for n in range(20):
    with socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(5)
        endpoint.connect((vip, port))
        for payload in (b"", b"x", b"y" * n, b"z" * 1300):
            endpoint.send(payload)
            answer = endpoint.recv(65536)
            own = endpoint.getsockname()
            expected = f"{own[0]} {own[1]} {vip} {port} 2 ".encode() + payload
            assert answer == expected, (answer, expected)
            print("told")
"""


@EACH_VIP
def test_each_datagram_names_its_client(lab: Lab, weir: Weir, identity_servers: None, vip: str) -> None:
    assert lab.execute("client", sys.executable, "-c", DATAGRAMS, vip, str(SERVICES["udp"][0])).count("told") == 80


TOA_SERVER = """
import socket, sys
listener = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    connection = listener.accept()[0]
    if data := connection.recv(65536):
        connection.sendall(data)
    connection.close()
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as connection:
    connection.sendall(b"are you there?")
    assert connection.recv(100) == b"are you there?"
    print(connection.getsockname()[1])
"""
# Its kernel, which knows of no such connection, must not reset it: nftables sees to that.
FORGE = """
import logging, sys
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import IP, TCP, Raw, AsyncSniffer, send
import time
vip, port, own = sys.argv[1], int(sys.argv[2]), 40123
forged = [(254, bytes.fromhex("123401020304"))]
sniffer = AsyncSniffer(iface="eth0", lfilter=lambda p: TCP in p and p[TCP].sport == port and p[TCP].dport == own, count=1, timeout=5)
sniffer.start()
time.sleep(0.5)
send(IP(dst=vip) / TCP(sport=own, dport=port, flags="S", seq=1000, options=[("MSS", 1460)] + forged), verbose=0)
sniffer.join()
answer = sniffer.results[0][TCP]
assert answer.flags == "SA" and answer.ack == 1001, answer
print("mss", dict(answer.options)["MSS"])
echo = AsyncSniffer(iface="eth0", lfilter=lambda p: TCP in p and p[TCP].dport == own and len(p[TCP].payload) >= 5 and Raw in p and b"hello" in p[Raw].load, count=1, timeout=5)
echo.start()
time.sleep(0.5)
send(IP(dst=vip) / TCP(sport=own, dport=port, flags="PA", seq=1001, ack=answer.seq + 1, options=forged) / b"hello", verbose=0)
echo.join()
print("echoed", len(echo.results))
"""


def option(client: str, port: int) -> bytes:
    return port.to_bytes(2, "big") + ip_address(client).packed


class Recorder:
    """What TCP segments come to the backends' toa servers."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.files = [directory / f"{backend.name}.pcap" for backend in lab.network.backends]
        self._running = ExitStack()
        for backend, file in zip(lab.network.backends, self.files):
            self._running.enter_context(Listener(lab.namespace(backend.name), [
                "tcpdump", "-i", "eth0", "-U", "--immediate-mode", "-w", str(file), f"tcp dst port {SERVER_PORTS['toa']}"],
                "listening on"))

    def segments(self) -> list[TCP]:
        return [packet[TCP] for file in self.files for packet in rdpcap(str(file))]

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()


def toa_in(segment: TCP) -> bytes | None:
    found = [value for kind, value in segment.options if kind == 254]
    assert len(found) < 2
    return found[0] if found else None


@EACH_VIP
def test_toa_options_hold_the_clients_address_and_port(lab: Lab, weir: Weir, identity_servers: None, tmp_path: Path,
                                                       vip: str) -> None:
    with Recorder(lab, tmp_path) as recorder:
        port = int(lab.execute("client", sys.executable, "-c", ASK, vip, str(SERVICES["toa"][0])))
        assert wait_until(lambda: any("F" in segment.flags for segment in recorder.segments()), 5)
        segments = recorder.segments()
    by_kind = {(str(segment.flags), bytes(segment.payload)): toa_in(segment) for segment in segments}
    assert by_kind["S", b""] is None
    assert by_kind["PA", b"are you there?"] == option(client_of(vip), port)
    assert {value for value in by_kind.values() if value is not None} == {option(client_of(vip), port)}
    assert toa_in(segments[1]) == option(client_of(vip), port), "the handshake's last ACK"
    assert by_kind["FA", b""] is None, "data have been acknowledged"


def test_forged_toa_options_do_not_arrive(lab: Lab, weir: Weir, identity_servers: None, tmp_path: Path) -> None:
    before = weir.metrics().sum("nat_toa_removed_total")
    lab.execute("client", "nft", "-f", "-", stdin="table inet lab_forger {\n chain silent {\n type filter hook output priority "
                                                  "0;\n tcp sport 40123 tcp flags rst drop\n }\n}\n")
    try:
        with Recorder(lab, tmp_path) as recorder:
            said = lab.execute("client", "/usr/bin/python3", "-c", FORGE, VIP4, str(SERVICES["toa"][0]))
            assert "echoed 1" in said and "mss 1452" in said, said
            assert wait_until(lambda: any(bytes(segment.payload) == b"hello" for segment in recorder.segments()), 5)
            segments = recorder.segments()
    finally:
        lab.execute("client", "nft", "delete", "table", "inet", "lab_forger")
    syn = next(segment for segment in segments if segment.flags == "S")
    assert [kind for kind, _ in syn.options] == ["MSS"] + ["NOP"] * 8
    hello = next(segment for segment in segments if bytes(segment.payload) == b"hello")
    assert toa_in(hello) == option(CLIENT4, 40123)
    assert all(toa_in(segment) in (None, option(CLIENT4, 40123)) for segment in segments)
    assert weir.metrics().sum("nat_toa_removed_total") >= before + 2


def test_what_was_told_is_counted_and_every_packet_accounted_for(lab: Lab, weir: Weir) -> None:
    metrics = weir.metrics()
    assert metrics.sum("nat_identities_sent_total") >= 4 * 40
    assert metrics.sum("nat_toa_left_out_total") == 0
    assert SNAT_PORTS.start >= 1024 and metrics.sum("dropped_packets_total", reason="too_big") == 0, metrics.text
    assert wait_until(lambda: weir.metrics().unaccounted() == 0, 3), weir.metrics().text


def test_health_checks_of_the_clients_port_bring_a_header_and_others_none(lab: Lab, weir: Weir) -> None:
    def states(*names: str) -> set[tuple[str, str]]:
        return {(row["state"], row["reason"]) for name in names for family in (4, 6)
                for row in weir.backends(f"{name}-{family}").values()}
    assert wait_until(lambda: states("v1", "v2") == {("healthy", "")}, 5), states("v1", "v2")
    assert weir.reload(identity_config(lab.network, f"port = {PROXIED_PORT}; "))
    assert wait_until(lambda: states("v1", "v2") == {("unhealthy", "Target.FailedHealthChecks")}, 5), states("v1", "v2")
    assert weir.reload(identity_config(lab.network))
    assert wait_until(lambda: states("v1", "v2") == {("healthy", "")}, 5), states("v1", "v2")
