"""What weir promises of its packet path, each promise computed from the rows of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.rows import AGREEMENT, Row, flows_text, number

NEAR_FLOOR_NS, FAR_RATIO, GOAL_RATIO = 20, 1.6, 1.3
BYTES_A_FLOW = 16
SIZES = (1, 1_000, 64_000, 1_000_000, 4_000_000, 16_000_000)
# Of scale_bench, which is run for these alone (part "flows").
MEMORY_A_SLOT, RESIDENT = "flow table: memory a slot", "flow table: resident at 50 % load"

HOLDS, MISSED, REPORTED = "holds", "MISSED", "reported"
PARTLY, ABSENT = "holds so far", "not measured"  # some of its rows are not in this run, or all


@dataclass(frozen=True)
class Claim:
    verdict: str
    promise: str
    figures: str  # with the names of what they are of

    def line(self) -> str:
        return f"{self.verdict:13}{self.promise}: {self.figures or 'no row of it in this run'}"


class Rows:
    """By name."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.named = {str(row["name"]): row for row in rows}

    def figure(self, name: str, key: str) -> float | None:
        return number(self.named[name], key) if name in self.named else None

    def figures(self, names: Iterable[str], key: str) -> dict[str, float]:
        """Of those that were measured."""
        return {name: value for name in names if (value := self.figure(name, key)) is not None}


def judge(promise: str, found: dict[str, float], keeps: Callable[[float], bool], digits: int = 3,
          wanted: int = 1) -> Claim:
    """Kept if each figure keeps it, and if there are as many as are wanted."""
    shown = ", ".join(f"{value:.{digits}f} ({name})" for name, value in found.items())
    if not all(keeps(value) for value in found.values()):
        return Claim(MISSED, promise, shown)
    return Claim(HOLDS if len(found) >= wanted else PARTLY if found else ABSENT, promise, shown)


def report(promise: str, found: dict[str, float], digits: int = 2, unit: str = "") -> Claim:
    shown = ", ".join(f"{value:.{digits}f}{unit} ({name})" for name, value in found.items())
    return Claim(REPORTED if found else ABSENT, promise, shown)


def near_the_floor(rows: Rows) -> list[Claim]:
    kinds = ("ipip 4in4", "dsr v4")
    above = {}
    for name in (f"{kind} 1k" for kind in kinds):
        cost, floor = rows.figure(name, "ns_median"), rows.figure(name, "floor_ns_median")
        if cost is not None and floor is not None:
            above[f"{name}: {cost:.1f} over {floor:.1f}"] = cost - floor
    result = [judge(f"known flows, v4, 1 k: at most {NEAR_FLOOR_NS} ns above the floor", above,
                    lambda value: value <= NEAR_FLOOR_NS, digits=1, wanted=2)]
    for size in ("1M", "16M"):
        found = rows.figures((f"{kind} {size}" for kind in kinds), "ratio")
        goal = f"goal {GOAL_RATIO:.1f}" + (" reached" if found and max(found.values()) <= GOAL_RATIO else "")
        result.append(judge(f"known flows, v4, {size}: at most {FAR_RATIO} x the floor ({goal})", found,
                            lambda value: value <= FAR_RATIO, wanted=2))
    return result


def beside_each_other(rows: Rows) -> list[Claim]:
    def sizes(pattern: str) -> dict[str, float]:
        return rows.figures((pattern.format(flows_text(size)) for size in SIZES), "reference_ratio")

    return [
        judge("dsr: v6 at most 1.25 x v4", sizes("dsr v6 {}"), lambda value: value <= 1.25),
        judge("ipip: v6 at most 1.25 x v4", sizes("ipip 6in6 {}"), lambda value: value <= 1.25),
        judge("v4: gue at most 1.3 x ipip", sizes("gue 4in4 {}"), lambda value: value <= 1.3),
        judge("v6: gue at most 1.3 x ipip", sizes("gue 6in6 {}"), lambda value: value <= 1.3),
        judge("new flows at most 3 x known ones", sizes("ipip 4in4 {} new"), lambda value: value <= 3),
        judge(f"SYN flood on a full table no slower than new flows (± {AGREEMENT:.2f})",
              sizes("ipip 4in4 {} syn flood"), lambda value: value <= 1 + AGREEMENT),
        judge("1,000 backends at most 1.1 x two", sizes("ipip 4in4 {} 1k backends"), lambda value: value <= 1.1),
        judge("1,000 services at most 1.15 x one", sizes("ipip 4in4 {} 1k services"), lambda value: value <= 1.15),
        report("10,000 services, x one", sizes("ipip 4in4 {} 10k services"), digits=3),
    ]


def two_workers(rows: Rows) -> list[Claim]:
    pairs = {name: row for name, row in rows.named.items()
             if number(row, "workers") == 2 and number(row, "scaling") is not None and "ALU" not in name}
    near = [name for name, row in pairs.items() if number(row, "flows") == 1_000]
    far = [name for name in pairs if name not in near]
    threads = [name for name in rows.named if "ALU" in name]
    return [
        judge("two workers at least 1.8 x one at 1 k", rows.figures(near, "scaling"), lambda value: value >= 1.8,
              digits=2),
        report("two workers, x one", rows.figures(far, "scaling")),
        report("two threads that only calculate, x one", rows.figures(threads, "scaling")),
    ]


def memory(rows: Rows) -> list[Claim]:
    return [
        judge(f"at most {BYTES_A_FLOW} bytes a flow, as a slot of its table", rows.figures([MEMORY_A_SLOT], "value"),
              lambda value: value <= BYTES_A_FLOW, digits=2),
        report("resident memory of 64 Mi slots", rows.figures([RESIDENT], "value"), digits=0, unit=" MiB"),
    ]


def claims(rows: Iterable[Row]) -> list[Claim]:
    named = Rows(rows)
    return [*near_the_floor(named), *beside_each_other(named), *two_workers(named), *memory(named)]


def all_kept(found: Iterable[Claim], whole_run: bool) -> bool:
    """A part of the rows leaves claims unmeasured; the whole run must not."""
    return not any(claim.verdict == MISSED or whole_run and claim.verdict in (PARTLY, ABSENT) for claim in found)
