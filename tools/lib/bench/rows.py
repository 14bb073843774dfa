"""What pipeline_bench prints, one JSON object a line: read, shown as a table while it is measured, kept as a list."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

Row = dict[str, object]

# What every object of the list has, at least; null where a row has no such thing (an A/A row has no floor).
REQUIRED = ("name", "mode", "family", "flows", "ns_min", "ns_median", "floor_ns_median", "ratio")
AGREEMENT = 0.02
HEADING = (f"{'row':38}{'ns min':>8}{'median':>8}{'cycles':>8}{'floor':>8}{'/ floor':>9}{'':4}beside\n"
           f"{'':38}{'':8}{'':8}{'TSC':>8}{'ns':>8}")


class BadRow(Exception):
    """With a sentence that says why."""


def parse(line: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadRow(f"pipeline_bench has printed a line that is no JSON ({error}): {line.strip()[:80]}") from error
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise BadRow(f"pipeline_bench has printed an object without a name: {line.strip()[:80]}")
    return row


def number(row: Row, key: str) -> float | None:
    """None also for NaN, which JSON would give as null."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return None
    return float(value)


def flows_text(flows: int) -> str:
    """As pipeline_bench names its rows."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if flows >= size:
            return f"{flows // size}{letter}"
    return str(flows)


def beside(row: Row) -> str:
    """The ratio to the row that was measured in turn with this one, or to one thread."""
    if (ratio := number(row, "reference_ratio")) is not None:
        return f"{ratio:.3f} x {row.get('reference', '?')}"
    if (scaling := number(row, "scaling")) is not None:
        return f"{scaling:.2f} x one"
    return "of itself" if row.get("aa") else ""


def line(row: Row) -> str:
    def cell(key: str, width: int, digits: int) -> str:
        value = number(row, key)
        return f"{'-' if value is None else f'{value:.{digits}f}':>{width}}"

    return (f"{row['name']!s:38}{cell('ns_min', 8, 1)}{cell('ns_median', 8, 1)}{cell('cycles_median', 8, 0)}"
            f"{cell('floor_ns_median', 8, 1)}{cell('ratio', 9, 3)}    {beside(row)}").rstrip()


def complaints(rows: Iterable[Row], expected: bool = True) -> list[str]:
    """Why the run is void; empty if it is not. `expected`: there must be rows that compare a thing with itself."""
    against_itself = [row for row in rows if row.get("aa")]
    if expected and not against_itself:
        return ["no A/A row was measured, so nothing says how far the machine can be trusted"]
    found = []
    for row in against_itself:
        ratio = number(row, "ratio")
        if ratio is None or round(abs(ratio - 1), 6) > AGREEMENT:
            shown = "no figure" if ratio is None else f"{ratio:.3f}"
            found.append(f"{row['name']}: {shown} of itself, allowed is 1.00 ± {AGREEMENT:.2f}")
    return found


def write_list(path: Path, rows: Iterable[Row], **facts: object) -> None:
    """One JSON list. Each object has the keys of REQUIRED and `facts`, so that a single row still says what it is of."""
    complete = [{**dict.fromkeys(REQUIRED), **row, **facts} for row in rows]
    path.write_text(json.dumps(complete, indent=1, ensure_ascii=False) + "\n")


def read_list(path: Path) -> list[Row]:
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadRow(f"{path}: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "name" in row for row in rows):
        raise BadRow(f"{path}: it must be a list of objects with a name, as tools/bench --json writes it")
    return rows
