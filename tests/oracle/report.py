"""The report of `weir replay` as the oracle needs it."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Report:
    received: int = 0
    forwarded: int = 0
    answered: int = 0
    punted: int = 0
    originated: int = 0
    in_flight: int = 0  # in rings between workers
    dropped: dict[str, int] = field(default_factory=dict)
    punted_by_class: dict[str, int] = field(default_factory=dict)
    punt_limited_by_class: dict[str, int] = field(default_factory=dict)
    new_flows: dict[str, int] = field(default_factory=dict)  # by service
    backend_packets: dict[tuple[str, str], int] = field(default_factory=dict)  # by pool and name


def read_report(path: Path) -> Report:
    return report_of(json.loads(path.read_text()))


def report_of(data: dict[str, Any]) -> Report:
    """`services` is a list of {name, new_flows, ...}, `backends` one of {pool, name, packets, ...}."""
    originated = data.get("originated", 0)
    if isinstance(originated, dict):  # by kind
        originated = sum(originated.values())
    return Report(
        data["received"], data["forwarded"], data["answered"], data["punted"], originated,
        data.get("packets_in_flight", 0),
        {reason: count for reason, count in data["dropped"].items() if count},
        data["punted_by_class"], data["punt_limited_by_class"],
        {row["name"]: row["new_flows"] for row in data["services"]},
        {(row["pool"], row["name"]): row["packets"] for row in data["backends"]})
