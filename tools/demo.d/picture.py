"""The live picture of the demo: who answers, what weir does with each packet."""

from __future__ import annotations

import sys
import time

from lab.servers import WebServers
from lab.weir import Metrics, Weir

TTY = sys.stdout.isatty()


def paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if TTY else text


def bold(text: str) -> str:
    return paint(text, "1")


def green(text: str) -> str:
    return paint(text, "32")


def red(text: str) -> str:
    return paint(text, "31")


class Verdicts:
    """What the demo claims; it fails if one does not hold."""

    def __init__(self) -> None:
        self.all_true = True

    def claim(self, holds: bool, sentence: str) -> None:
        self.all_true &= holds
        print(f"  {green('yes') if holds else red('NO ')}  {sentence}", flush=True)


def heading(text: str) -> None:
    print(f"\n{bold(text)}", flush=True)


def count(value: float) -> str:
    return f"{int(value):,}"


class Picture:
    """A table that a terminal redraws in place and a log gets one line of each second."""

    def __init__(self, servers: WebServers, weir: Weir, names: list[str]) -> None:
        self.servers, self.weir = {name: servers.by_name[name] for name in names}, weir
        self.begun = self.taken = time.monotonic()
        self.last = self._totals(Metrics(""))
        self.drawn_lines = 0

    def _totals(self, metrics: Metrics) -> dict[str, float]:
        totals = {"forwarded": metrics.sum("worker_forwarded_packets_total"),
                  "flows": metrics.sum("flow_table_entries")}
        for name, server in self.servers.items():
            totals[f"{name} requests"] = server.requests()
            totals[f"{name} connections"] = server.connections()
        return totals

    def draw(self, note: str) -> None:
        metrics = self.weir.metrics()
        now, totals = time.monotonic(), self._totals(metrics)
        seconds = max(now - self.taken, 1e-3)
        rates = {key: (value - self.last[key]) / seconds for key, value in totals.items()}
        self.taken, self.last = now, totals
        lines = self._table(metrics, totals, rates, note) if TTY else [self._line(metrics, rates, note)]
        if TTY and self.drawn_lines:
            sys.stdout.write(f"\033[{self.drawn_lines}A")
        for line in lines:
            print(line + ("\033[K" if TTY else ""))
        sys.stdout.flush()
        self.drawn_lines = len(lines)

    def _line(self, metrics: Metrics, rates: dict[str, float], note: str) -> str:
        each = "  ".join(f"{name} {count(rates[name + ' requests']):>6} req/s {count(rates[name + ' connections']):>6} "
                         f"new flows/s" for name in self.servers)
        dropped = metrics.sum("dropped_packets_total")
        return (f"{self.taken - self.begun:4.0f} s  {each}  weir {count(rates['forwarded']):>7} packets/s, "
                f"{count(dropped)} dropped  {note}")

    def _table(self, metrics: Metrics, totals: dict[str, float], rates: dict[str, float], note: str) -> list[str]:
        rows = [f"  {self.taken - self.begun:4.0f} s   {bold(note)}",
                f"  {'server':10} {'requests/s':>11} {'requests':>10} {'new flows/s':>12} {'open now':>9} "
                f"{'weir: flows sent':>17}"]
        sent = metrics.by("backend_new_flows_total", "backend")
        for name, server in self.servers.items():
            rows.append(f"  {name:10} {count(rates[name + ' requests']):>11} {count(totals[name + ' requests']):>10} "
                        f"{count(rates[name + ' connections']):>12} {server.established():>9} "
                        f"{count(sent.get(name, 0)):>17}")
        rows.append(f"  weir: {count(rates['forwarded'])} packets/s forwarded; {count(totals['flows'])} flows in the "
                    f"table; {accounts(metrics)}")
        rows.append(f"  drops: {drops(metrics)}")
        return rows


def accounts(metrics: Metrics) -> str:
    return ", ".join(f"{count(metrics.sum(f'worker_{what}_packets_total'))} {word}" for what, word in
                     (("rx", "received"), ("forwarded", "forwarded"), ("answered", "answered"), ("punted", "punted")))


def drops(metrics: Metrics) -> str:
    reasons = {name: value for name, value in metrics.by("dropped_packets_total", "reason").items() if value}
    return ", ".join(f"{name} {count(value)}" for name, value in sorted(reasons.items())) or "none"
