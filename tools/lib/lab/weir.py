"""weir in the lab: its configuration, the process, its metrics."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from string import Template
from typing import Any

from lab.built import weir_binary, weirctl_binary
from lab.network import Network
from lab.shell import end, in_namespace, start, wait_until
from lab.topology import Lab

PORT_MTU = 1500
PROBE_PORT = 9
METRICS_URL = "http://127.0.0.1:9101/metrics"
SAMPLE = re.compile(r"^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? ([^ ]+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def listed(entries: Iterable[str]) -> str:
    return ",\n".join(f"    {{ {entry} }}" for entry in entries)


def port_entries(network: Network) -> Iterator[str]:
    for number, port in enumerate(network.ports):
        own = ", ".join(f'"{address}"' for address in port.addresses)
        yield (f'name = "{port.name}"; device = "net_af_packet{number},iface={port.name}"; addresses = [ {own} ]; '
               f'mtu = {PORT_MTU};')


def neighbor_entries(network: Network) -> Iterator[str]:
    """Everybody who stands on a segment of weir's, for tests of static neighbours; else the kernel finds them."""
    segments = {leg.segment: leg.device for leg in network.host("weir").legs}
    legs = (leg for host in network.hosts for leg in host.legs if leg.segment in segments and not leg.raw)
    for leg in legs:
        for address in leg.addresses:
            yield f'address = "{address.split("/")[0]}"; mac = "{leg.mac}"; port = "{segments[leg.segment]}";'


def route_entries(network: Network) -> Iterator[str]:
    for port in network.ports:
        for route in port.routes:
            yield f'prefix = "{route.prefix}"; via = "{route.gateways[0]}"; port = "{port.name}";'


def pool_entries(network: Network, without: Collection[str]) -> Iterator[str]:
    for service in {service.pool: service for service in network.services}.values():
        backends = ",\n".join(f'          {{ name = "{one.name}"; address = "{one.address(service.reached_over)}"; '
                               f'port = 80; weight = 1; }}'
                              for one in network.behind(service) if one.name not in without)
        yield f'name = "{service.pool}"; deregistration_delay = "300s"; backends = (\n{backends}\n    );'


def service_entries(network: Network, pool: str | None = None) -> Iterator[str]:
    """Each VIP takes HTTP, and datagrams by which a test sees where a packet goes at this moment."""
    for one in network.services:
        for name, protocol, port in ((one.name, "tcp", 80), (f"{one.name}-probe", "udp", PROBE_PORT)):
            yield (f'name = "{name}"; vip = "{one.vip}"; protocol = "{protocol}"; port = {port}; '
                   f'forwarding = "{one.kind}"; pool = "{pool or one.pool}";')


def config_text(network: Network, without: Collection[str] = (), idle: str = "sleep",
                static_neighbors: bool = False, pool: str | None = None, zone: str = "") -> str:
    """The configuration of a scenario; `without` names backends that are not in the pools. `pool`: the entry of the one
    pool, "web", that all services then have."""
    return world_text(network, pool_entries(network, without) if pool is None else (pool,),
                      service_entries(network, "web" if pool is not None else None), idle, static_neighbors, zone)


def world_text(network: Network, pools: Iterable[str], services: Iterable[str], idle: str = "sleep",
               static_neighbors: bool = False, zone: str = "") -> str:
    """The configuration of a scenario with these entries of pools and services."""
    template = Template((Path(__file__).parent / "weir.cfg.in").read_text())
    return template.substitute(
        scenario=network.name, idle=idle, ports=listed(port_entries(network)), routes=listed(route_entries(network)),
        neighbors=listed(neighbor_entries(network) if static_neighbors else ()), zone=f'zone = "{zone}";' if zone else "",
        pools=listed(pools), services=listed(services))


class Metrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: list[tuple[str, dict[str, str], float]] = []
        for line in text.splitlines():
            if match := SAMPLE.match(line):
                self.samples.append((match[1], dict(LABEL.findall(match[2] or "")), float(match[3])))

    def sum(self, name: str, **labels: str) -> float:
        """Sum over every series of that name that has these labels; 0 if there is none."""
        return sum(value for sample, have, value in self.samples
                   if sample == "weir_" + name and all(have.get(key) == want for key, want in labels.items()))

    def has(self, name: str) -> bool:
        return any(sample == "weir_" + name for sample, _, _ in self.samples)

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sums of one metric by one of its labels."""
        totals: dict[str, float] = {}
        for sample, have, value in self.samples:
            if sample == "weir_" + name and label in have:
                totals[have[label]] = totals.get(have[label], 0) + value
        return totals

    def unaccounted(self) -> float:
        """Received packets without a verdict (DESIGN.md section 10); 0 unless packets are on their way."""
        verdicts = sum(self.sum(f"worker_{verdict}_packets_total") for verdict in ("forwarded", "answered", "punted"))
        return self.sum("worker_rx_packets_total") - verdicts - self.sum("dropped_packets_total")


class Weir:
    """`weir run` in the lab's namespace for it; a context manager."""

    def __init__(self, lab: Lab, directory: Path, config: str | None = None) -> None:
        self.lab = lab
        self.config_file = directory / "weir.cfg"
        self.log_file = directory / "weir.log"
        self.socket = directory / "control.sock"
        self.state_directory = directory / "state"
        self.config_file.write_text(self.controlled(config if config is not None else config_text(lab.network)))
        self.process: subprocess.Popen[bytes] | None = None

    def controlled(self, config: str) -> str:
        """The configuration with a control socket and a state directory of this weir's own."""
        if re.search(r"^control\b", config, re.MULTILINE):
            return config
        return (f'{config}control = {{ socket = "{self.socket}"; state_directory = "{self.state_directory}"; }};\n')

    def command(self) -> list[str]:
        return [weir_binary(), "run", "-c", str(self.config_file)]

    def __enter__(self) -> "Weir":
        self.log_file.touch()
        self.process = start(in_namespace(self.lab.namespace("weir"), self.command()), str(self.log_file))
        try:
            if not wait_until(lambda: self.ended() or self.scrape() is not None, 30, step=0.1) or self.ended():
                raise RuntimeError(f"weir does not start (exit code {self.process.poll()}):\n{self.log()}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            end(self.process, patience=15)

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process
        return end(self.process, patience=15)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def scrape(self) -> Metrics | None:
        """The metrics now, or None if weir does not answer."""
        text = self.lab.execute("weir", "curl", "-s", "--max-time", "5", METRICS_URL, check=False)
        return Metrics(text) if text else None

    def metrics(self) -> Metrics:
        if metrics := self.scrape():
            return metrics
        raise RuntimeError(f"weir's metrics do not answer; its log:\n{self.log()}")

    def ctl(self, *arguments: str, given: str | None = None, seconds: float = 30) -> subprocess.CompletedProcess[str]:
        """weirctl: exit code, what it printed, what it complained of."""
        return subprocess.run([weirctl_binary(), "--socket", str(self.socket), *arguments], input=given,
                              capture_output=True, text=True, timeout=seconds, check=False)

    def asked(self, *arguments: str) -> Any:
        """What weirctl --json says; it must succeed."""
        done = self.ctl("--json", *arguments)
        if done.returncode != 0:
            raise RuntimeError(f"weirctl {' '.join(arguments)}: exit code {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def backends(self, pool: str = "web") -> dict[str, dict[str, Any]]:
        """`show backends` of one pool, by name, without those that have left; a name that drains at an old address too
        shows its new one."""
        return {row["name"]: row for row in reversed(self.asked("show", "backends"))
                if row["pool"] == pool and row["reason"] != "Target.NotRegistered"}

    def knows_its_neighbors(self) -> bool:
        """The kernel has told weir the MAC of every next hop."""
        now = self.metrics()
        return now.sum("next_hops", state="resolved") == now.sum("next_hops") > 0

    def reloads(self) -> tuple[int, int]:
        """(successful, refused) reloads so far."""
        now = self.metrics()
        taken = int(now.sum("config_reloads_total", result="success"))
        return taken, int(now.sum("config_reloads_total")) - taken

    def reload(self, config: str, seconds: float = 10) -> bool:
        """Writes the configuration, sends SIGHUP, waits for the verdict; returns whether weir took it."""
        assert self.process
        before = self.reloads()
        fresh = self.config_file.with_suffix(".new")
        fresh.write_text(self.controlled(config))
        fresh.replace(self.config_file)
        self.process.send_signal(signal.SIGHUP)
        if not wait_until(lambda: self.ended() or self.reloads() != before, seconds, step=0.02) or self.ended():
            raise RuntimeError(f"weir did not judge the reload within {seconds} s; its log:\n{self.log()}")
        return self.reloads()[0] > before[0]
