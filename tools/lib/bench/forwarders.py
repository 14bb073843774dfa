"""Two forwarding programs under the same conditions: Debian's dpdk-testpmd and `weir run`, each on one core over the
same virtual devices. Both tell by their own counters what they forwarded in a window of time."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from string import Template

from bench.captures import PORT_MAC, VIP, VIP_PORT
from lab.shell import end, wait_until
from lab.weir import Metrics

BURST, DESCRIPTORS, MBUF_CACHE, MEMORY_MB = 32, 1024, 256, 512
WARM_UP = 0.1  # seconds; the slowest to settle is 32,000 flows' way into the flow table: some 20 ms
PATIENCE = 20.0  # seconds for a start, an answer or an end
KERNEL_TICK = 0.004  # seconds; how exactly the kernel tells what a running thread has run
PROMPT = "\ntestpmd> "
# DPDK names its lcores' threads so; lcore 1 is the only one beside the main one.
FORWARDING_THREAD = "rte-worker-1"


class BenchFailed(RuntimeError):
    """A program did not do what it was started for; the message says which, what and what it wrote."""


class Starved(BenchFailed):
    """Another program had the forwarding thread's CPU: measure once more."""


@dataclass(frozen=True)
class Window:
    """What one program forwarded in one span of time."""

    packets: int
    seconds: float
    faults: tuple[str, ...] = ()  # why the figure is void

    @property
    def rate(self) -> float:
        return self.packets / self.seconds


@dataclass(frozen=True)
class Setting:
    """What both programs get."""

    devices: tuple[str, ...]  # DPDK's vdevs; the first one is measured
    flows: int                # distinct ones in the frames
    mbufs: int
    circulates: bool          # frames that are sent come back: they have to be put in once
    hugepages: bool           # both have them, or neither
    folder: Path              # temporary: DPDK's files, configurations, logs
    cpus: tuple[int, int]     # of the control thread, of the forwarding thread
    protocol: str = "tcp"     # of the frames

    def environment(self) -> dict[str, str]:
        # EAL keeps its files there, not in /var/run/dpdk.
        return {**os.environ, "RUNTIME_DIRECTORY": str(self.folder)}


@dataclass(frozen=True)
class PortStatistics:
    """testpmd's `show port stats`."""

    rx_packets: int
    rx_rate: int  # packets a second since it was last asked, by its own clock
    lost: int     # missed, erroneous, or for want of an mbuf


@dataclass(frozen=True)
class ForwardStatistics:
    """What testpmd says at `stop`, of all ports since `start`."""

    received: int
    sent: int
    dropped: int


def parse_port_statistics(text: str, port: int) -> PortStatistics:
    block = re.search(rf"NIC statistics for port {port} +#+\n(.*?)\n +#{{20,}}", text, re.DOTALL)
    found = {name: int(value) for name, value in re.findall(r"([RT]x-\w+|[RT]X-\w+): +(\d+)", block[1] if block else "")}
    try:
        lost = sum(found[name] for name in ("RX-missed", "RX-errors", "RX-nombuf", "TX-errors"))
        return PortStatistics(found["RX-packets"], found["Rx-pps"], lost)
    except KeyError as missing:
        raise BenchFailed(f"dpdk-testpmd's statistics of port {port} lack {missing}:\n{text}") from None


def parse_forward_statistics(text: str) -> ForwardStatistics:
    block = text.partition("Accumulated forward statistics for all ports")[2]
    found = {name: int(value) for name, value in re.findall(r"([RT]X-\w+): +(\d+)", block)}
    try:
        return ForwardStatistics(found["RX-packets"], found["TX-packets"], found["RX-dropped"] + found["TX-dropped"])
    except KeyError as missing:
        raise BenchFailed(f"dpdk-testpmd's statistics at stop lack {missing}:\n{text}") from None


class CpuShare:
    """How much of a window the forwarding thread had its CPU. Where a neighbour took some of it, the window is that
    much shorter; where one took it all (real-time programs can, for a second), the window is worth nothing."""

    def __init__(self, process: int) -> None:
        self._file = next((task / "schedstat" for task in Path(f"/proc/{process}/task").iterdir()
                           if (task / "comm").read_text().strip() == FORWARDING_THREAD), None)
        if self._file is None:
            raise BenchFailed(f"process {process} has no thread {FORWARDING_THREAD}")
        self._begun = self._times()

    def begin(self) -> None:
        self._begun = self._times()

    def of(self, window: float) -> float:
        """What is left of `window` seconds since begin() without the time that the thread waited for its CPU."""
        ran, waited = (now - before for now, before in zip(self._times(), self._begun, strict=True))
        # The kernel counts a wait when it ends: one that goes on is neither run nor waited.
        if abs(window - ran - waited) > max(0.1 * window, 2 * KERNEL_TICK):
            raise Starved(f"the forwarding thread was kept from its CPU: it ran {ran:.2f} s of {window:.2f} s and waited "
                          f"{waited:.2f} s")
        return window - waited

    def _times(self) -> tuple[float, float]:
        """Seconds that the thread ran, and that it waited while another one ran."""
        assert self._file
        ran, waited = self._file.read_text().split()[:2]
        return int(ran) / 1e9, int(waited) / 1e9


class Testpmd:
    """dpdk-testpmd, led by its prompt; a context manager."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.process: subprocess.Popen[bytes] | None = None
        self._said = ""

    def __enter__(self) -> "Testpmd":
        main, worker = self.setting.cpus
        eal = ["--in-memory" if self.setting.hugepages else "--no-huge", "--no-shconf", "--no-telemetry", "--no-pci",
               "-m", str(MEMORY_MB), f"--lcores=0@{main},1@{worker}", *(f"--vdev={device}" for device in self.setting.devices)]
        own = ["--interactive", "--nb-cores=1", f"--burst={BURST}", f"--rxd={DESCRIPTORS}", f"--txd={DESCRIPTORS}",
               f"--total-num-mbufs={self.setting.mbufs}", f"--mbcache={MBUF_CACHE}", "--port-topology=loop",
               "--no-flush-rx"]
        # Without stdbuf its answers to a pipe stay in its buffer.
        self.process = subprocess.Popen(["stdbuf", "-oL", "dpdk-testpmd", *eal, "--", *own], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                        env=self.setting.environment())
        try:
            self._until_prompt("start")
            if self.setting.circulates:
                self.ask("set fwd io")
                self.ask(f"start tx_first {self.setting.flows // BURST}")
                self.ask("stop")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process and self.process.stdin
        stdin, self.process.stdin = self.process.stdin, None
        stdin.close()  # which ends it, as `quit` does
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            end(self.process)

    def ask(self, command: str) -> str:
        """What it answers to a command."""
        assert self.process and self.process.stdin
        try:
            self.process.stdin.write(command.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise BenchFailed(f"dpdk-testpmd ended before `{command}`:\n{self._said}") from None
        return self._until_prompt(command)

    def _until_prompt(self, command: str) -> str:
        assert self.process and self.process.stdout
        self._said, deadline = "", time.monotonic() + PATIENCE
        while not self._said.endswith(PROMPT):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            some = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not some:
                raise BenchFailed(f"dpdk-testpmd did not answer to `{command}`:\n{self._said}")
            self._said += some.decode(errors="replace").replace("\r", "")
        return self._said

    def window(self, mode: str, seconds: float) -> Window:
        assert self.process
        share = CpuShare(self.process.pid)
        self.ask(f"set fwd {mode}")
        self.ask("start")
        time.sleep(WARM_UP)
        first = parse_port_statistics(self.ask("show port stats 0"), 0)
        share.begin()
        time.sleep(seconds)
        last = parse_port_statistics(self.ask("show port stats 0"), 0)
        packets = last.rx_packets - first.rx_packets
        # No packets say nothing about the time: it was about what was asked for.
        lasted = share.of(packets / last.rx_rate if last.rx_rate else seconds)
        total = parse_forward_statistics(self.ask("stop"))
        if packets == 0:
            raise BenchFailed(f"dpdk-testpmd forwarded nothing in mode {mode}")
        faults = [f"{last.lost} packets lost by the port"] if last.lost else []
        if total.dropped or total.received != total.sent:
            faults.append(f"{total.received} received, {total.sent} sent, {total.dropped} dropped")
        return Window(packets, lasted, tuple(faults))


class WeirRun:
    """`weir run` in one forwarding mode; a context manager."""

    def __init__(self, program: Path, mode: str, setting: Setting) -> None:
        self.program, self.mode, self.setting = program, mode, setting
        self.log_file = setting.folder / "weir.log"
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{probe.getsockname()[1]}"

    def config_text(self) -> str:
        """Where frames circulate, the backends have the port's own MAC address: what weir sends comes back to it."""
        snat = ' snat = { addresses = [ "192.0.2.2" ]; };' if self.mode == "nat" else ""
        control, worker = self.setting.cpus
        macs = [PORT_MAC] * 2 if self.setting.circulates else ["02:00:00:00:00:11", "02:00:00:00:00:12"]
        ports = ",\n".join(f'    {{ name = "port{number}"; device = "{device}"; mac = "{PORT_MAC}"; '
                           f'addresses = [ "192.0.{2 + number}.2/24" ];{"" if number else snat} }}'
                           for number, device in enumerate(self.setting.devices))
        template = Template((Path(__file__).parent / "one_port.cfg.in").read_text())
        return template.substitute(control=control, worker=worker, idle="poll", memory=MEMORY_MB,
                                   hugepages=str(self.setting.hugepages).lower(), ports=ports, mac1=macs[0],
                                   mac2=macs[1], vip=VIP, vip_port=VIP_PORT, mode=self.mode, protocol=self.setting.protocol,
                                   listen=self.listen)

    def __enter__(self) -> "WeirRun":
        config = self.setting.folder / "weir.cfg"
        config.write_text(self.config_text())
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen([str(self.program), "run", "-c", str(config)], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True,
                                            env=self.setting.environment())
        try:
            if not wait_until(lambda: self._ended() or self._answers(), PATIENCE) or self._ended():
                raise BenchFailed(f"weir does not start; its log:\n{self.log_file.read_text(errors='replace')}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Without hugepages weir has nothing to leave behind, and no round is longer for its good order.
        assert self.process
        end(self.process, first=signal.SIGTERM if self.setting.hugepages else signal.SIGKILL)

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _answers(self) -> bool:
        try:
            return self._metrics()[0].sum("worker_forwarded_packets_total") > 0
        except OSError:
            return False

    def _metrics(self) -> tuple[Metrics, float]:
        """The metrics, and when they were taken."""
        before = time.monotonic()
        with urllib.request.urlopen(f"http://{self.listen}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        return Metrics(text), (before + time.monotonic()) / 2

    def window(self, seconds: float) -> Window:
        assert self.process
        share = CpuShare(self.process.pid)
        time.sleep(WARM_UP)
        first, begun = self._metrics()
        share.begin()
        time.sleep(seconds)
        last, ended = self._metrics()
        lasted = share.of(ended - begun)
        packets = int(last.sum("worker_forwarded_packets_total") - first.sum("worker_forwarded_packets_total"))
        if packets == 0:
            raise BenchFailed(f"weir forwarded nothing in mode {self.mode}")
        return Window(packets, lasted, tuple(weir_faults(last, self.setting.flows)))


def weir_faults(metrics: Metrics, flows: int) -> list[str]:
    """Why what weir counted since its start is not the forwarding of that many known flows."""
    faults = [f"{count:.0f} packets dropped: {reason}"
              for reason, count in metrics.by("dropped_packets_total", "reason").items() if count]
    faults += [f"{metrics.sum(name):.0f} {what}" for name, what in (
        ("worker_answered_packets_total", "packets answered"), ("worker_punted_packets_total", "packets punted"),
        ("port_rx_no_mbuf_total", "packets lost for want of an mbuf"), ("port_rx_missed_total", "packets missed"),
        ("flow_table_full_total", "flows found no room"), ("flow_table_evictions_total", "flows evicted"),
        ("nat_session_evictions_total", "sessions evicted"),
    ) if metrics.sum(name)]
    if (known := metrics.sum("flow_table_entries")) != flows:
        faults.append(f"{known:.0f} flows in the table, {flows} sent")
    return faults
