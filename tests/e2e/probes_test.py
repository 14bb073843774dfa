"""Probes against real peers: nginx with and without TLS, gRPC's own server, OpenSSL, a kernel without routes and with
a firewall. One network namespace of the file's own; `prober` (tests/support) probes and prints its verdicts."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from health_peers import ECHO, EXPIRED, GRPC, HTTP, HTTPS, OTHER_CA, HealthPeers
from lab.shell import end, in_namespace, run, start, wait_until

SPACE = "weir-probes"
PROBER = os.environ.get("WEIR_PROBER", "")


def in_space(*command: str) -> list[str]:
    return in_namespace(SPACE, command)


@pytest.fixture(scope="module")
def space() -> Iterator[None]:
    """A namespace with a loopback and one wire to nowhere: 10.7.0.0/24 is on-link, and nobody is there."""
    subprocess.run(["ip", "netns", "del", SPACE], check=False, capture_output=True)
    run("ip", "netns", "add", SPACE)
    try:
        for command in ("ip link set lo up", "ip link add wire0 type veth peer name wire1", "ip link set wire0 up",
                        "ip link set wire1 up", "ip addr add 10.7.0.1/24 dev wire0",
                        "ip addr add fd07::1/64 dev wire0 nodad"):
            run(*in_space(*command.split()))
        yield
    finally:
        run("ip", "netns", "del", SPACE)


@pytest.fixture(scope="module")
def peers(space: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with HealthPeers(SPACE, "127.0.0.1", tmp_path_factory.mktemp("peers")) as running:
        yield running.folder


def probe(protocol: str, address: str = "127.0.0.1", *options: str, times: int = 1) -> Any:
    said = run(*in_space(PROBER, "--protocol", protocol, "--address", address, "--times", str(times), *options))
    results = [json.loads(line) for line in said.splitlines()]
    assert len(results) == times
    return results[0] if times == 1 else results


def expect(result: dict[str, Any], outcome: str, answer: str) -> None:
    assert (result["outcome"], result["answer"]) == (outcome, answer)
    assert result["reason"] == {"success": "", "timeout": "Target.Timeout", "mismatch": "Target.ResponseCodeMismatch",
                                "failed": "Target.FailedHealthChecks"}[outcome]


def expect_of_kernel(outcome: str, answer: str, protocol: str, *arguments: str) -> None:
    """Of what a kernel answers itself (RST, ICMP): it does so by one socket a CPU for all namespaces, and leaves it
    when that is busy, as in a flood test next door. One of a few answers must be the right one."""
    for _ in range(3):
        result = probe(protocol, *arguments)
        if result["answer"] == answer:
            break
    expect(result, outcome, answer)


def test_nginx(peers: Path) -> None:
    port = ("--port", str(HTTP))
    expect(probe("tcp", "127.0.0.1", *port), "success", "connected")
    expect(probe("tcp", "::1", *port), "success", "connected")
    for address in ("127.0.0.1", "::1"):
        expect(probe("http", address, *port), "success", "HTTP 200")
    expect(probe("http", "127.0.0.1", *port, "--method", "HEAD"), "success", "HTTP 200")
    expect(probe("http", "127.0.0.1", *port, "--path", "/busy"), "mismatch", "HTTP 503")
    expect(probe("http", "127.0.0.1", *port, "--path", "/nowhere"), "mismatch", "HTTP 404")
    expect(probe("http", "127.0.0.1", *port, "--path", "/nowhere", "--matcher", "200,404"), "success", "HTTP 404")
    expect(probe("http", "127.0.0.1", *port, "--path", "/moved"), "success", "HTTP 302")
    expect(probe("http", "127.0.0.1", *port, "--host", "www.example.com"), "success", "HTTP 204")
    expect(probe("http", "127.0.0.1", *port, "--body", "is well"), "success", "HTTP 200")
    expect(probe("http", "127.0.0.1", *port, "--body", "OK"), "mismatch", 'HTTP 200, but body lacks "OK"')
    expect(probe("http", "127.0.0.1", "--port", str(HTTPS)), "mismatch", "HTTP 400")  # plain HTTP to a TLS port


def test_nginx_leaves_nothing_behind(peers: Path) -> None:
    for protocol, port in (("http", HTTP), ("https", HTTPS), ("tcp", HTTP)):
        probe(protocol, "127.0.0.1", "--port", str(port), "--interval", "100", times=20)
    left = run(*in_space("ss", "-Htan", "state", "time-wait"))
    assert left == "", "connections in TIME_WAIT"


def test_tls(peers: Path) -> None:
    verify = ("--verify", "--ca-file", str(peers / "ca.pem"))
    name = ("--host", "www.example.com")
    good, expired, stranger = (("--port", str(port)) for port in (HTTPS, EXPIRED, OTHER_CA))
    for port in (good, expired, stranger):  # unverified, whatever it shows will do
        expect(probe("https", "127.0.0.1", *port), "success", "HTTP 200")
    expect(probe("https", "127.0.0.1", *good, *verify), "success", "HTTP 200")
    expect(probe("https", "127.0.0.1", *good, *verify, *name), "success", "HTTP 200")
    expect(probe("https", "127.0.0.1", *good, *name, "--body", "name=www.example.com;host=www.example.com;"),
           "success", "HTTP 200")
    expect(probe("https", "127.0.0.1", *good, "--body", "name=;host=127.0.0.1;"), "success", "HTTP 200")
    expect(probe("https", "127.0.0.1", *good, *verify, "--host", "api.example.com"), "failed",
           'certificate is not for "api.example.com"')
    expect(probe("https", "127.0.0.2", *good, *verify), "failed", 'certificate is not for "127.0.0.2"')
    expect(probe("https", "127.0.0.1", *expired, *verify), "failed", "certificate has expired")
    expect(probe("https", "127.0.0.1", *stranger, *verify), "failed", "unable to get local issuer certificate")
    expect(probe("https", "127.0.0.1", *good, "--verify"), "failed", "unable to get local issuer certificate")
    expect(probe("https", "127.0.0.1", *good, "--verify", "--ca-file", "/nonexistent/ca.pem"), "failed",
           'ca_file "/nonexistent/ca.pem" cannot be read')
    plain = probe("https", "127.0.0.1", "--port", str(HTTP))
    assert plain["outcome"] == "failed" and plain["answer"].startswith("TLS: "), plain


def test_grpc(peers: Path) -> None:
    port = ("--port", str(GRPC))
    expect(probe("grpc", "127.0.0.1", *port), "success", "gRPC status SERVING")
    expect(probe("grpc", "127.0.0.1", *port, "--service", "tired"), "mismatch", "gRPC status NOT_SERVING")
    expect(probe("grpc", "127.0.0.1", *port, "--service", "unheard-of"), "mismatch", "gRPC code 5 NOT_FOUND")
    expect(probe("grpc", "127.0.0.1", *port, "--path", "/weir.Test/None"), "mismatch", "gRPC code 12 UNIMPLEMENTED")
    expect(probe("grpc", "127.0.0.1", *port, "--path", "/weir.Test/None", "--matcher", "0,12"), "success",
           "gRPC code 12 UNIMPLEMENTED")
    expect(probe("grpc", "127.0.0.1", *port, "--service", "slow", "--timeout", "500"), "timeout",
           "connected, but no answer within 500ms")
    for protocol in ("tcp", "http", "https", "grpc", "udp"):
        expect_of_kernel("failed", "connection refused", protocol, "127.0.0.1", "--port", "1", "--send", "x")
    nginx = probe("grpc", "127.0.0.1", "--port", str(HTTP))
    assert nginx["outcome"] in ("failed", "mismatch") and "HTTP" in nginx["answer"], nginx


def test_datagrams(peers: Path) -> None:
    port = ("--port", str(ECHO), "--send", "ping")
    expect(probe("udp", "127.0.0.1", *port), "success", "answered 4 bytes")
    expect(probe("udp", "127.0.0.1", *port, "--expect", "pi"), "success", "answered 4 bytes")
    expect(probe("udp", "127.0.0.1", *port, "--expect", "pong"), "mismatch", 'answered "ping", expected "pong"')


def test_nobody_there(space: None) -> None:
    """The kernel says so after three seconds, one for each of its three requests."""
    for address, answer in (("10.7.0.9", "no ARP answer: host down?"), ("fd07::9", "no ND answer: host down?")):
        for protocol in ("tcp", "http", "udp", "icmp"):
            expect_of_kernel("timeout", answer, protocol, address, "--port", "80", "--timeout", "4500", "--send", "x")
    expect(probe("icmp", "10.7.0.9", "--timeout", "500"), "timeout", "no echo reply within 500ms")
    expect(probe("tcp", "192.0.2.1", "--port", "80"), "failed", "network unreachable: no route?")
    expect(probe("icmp", "2001:db8::1"), "failed", "network unreachable: no route?")


@pytest.fixture
def firewall(space: None) -> Iterator[Callable[[str], None]]:
    def rule(text: str) -> None:
        chain = f"chain c {{\n type filter hook input priority 0\n {text}\n }}"
        run(*in_space("nft", "-f", "-"), stdin=f"flush ruleset\ntable inet t {{\n {chain}\n }}\n")
    yield rule
    run(*in_space("nft", "flush", "ruleset"))


def test_black_hole(peers: Path, firewall: Callable[[str], None]) -> None:
    firewall("ip daddr 127.0.0.66 drop")
    for protocol, words in (("tcp", "no answer"), ("http", "no answer"), ("https", "no answer"), ("udp", "no answer"),
                            ("grpc", "no answer"), ("icmp", "no echo reply")):
        result = probe(protocol, "127.0.0.66", "--port", "80", "--timeout", "600", "--send", "x")
        expect(result, "timeout", f"{words} within 600ms")
        assert 0.6 <= result["took"] < 0.9
    firewall("ip daddr 127.0.0.66 reject with icmp type host-unreachable")
    for protocol in ("tcp", "http", "udp", "icmp"):
        expect_of_kernel("timeout", "no ARP answer: host down?", protocol, "127.0.0.66", "--port", "80", "--send", "x")


def test_ping_sockets_and_raw_ones(space: None) -> None:
    for allowed in ("1 0", "0 2147483647"):
        run(*in_space("sysctl", "-qw", f"net.ipv4.ping_group_range={allowed}"))
        for address in ("127.0.0.1", "10.7.0.1", "::1", "fd07::1"):
            expect_of_kernel("success", "echo reply", "icmp", address)


def test_openssl_that_never_finishes(space: None, tmp_path: Path) -> None:
    """A server that accepts, and whose TLS says nothing."""
    server = start(in_space("nc", "-lk", "127.0.0.1", "4433"), str(tmp_path / "log"))
    try:
        assert wait_until(lambda: ":4433 " in run(*in_space("ss", "-Hltn")), 5)
        began = time.monotonic()
        expect(probe("https", "127.0.0.1", "--port", "4433", "--timeout", "700"), "timeout",
               "connected, but no TLS handshake within 700ms")
        assert time.monotonic() - began < 2
    finally:
        end(server)
