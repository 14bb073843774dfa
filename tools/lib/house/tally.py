"""Counts of tests: out of meson's log, where one program holds many."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

GTEST_PASSED = re.compile(r"^\[  PASSED  \] (\d+) test", re.M)
GTEST_FAILED = re.compile(r"^\[  FAILED  \] (\d+) test", re.M)
GTEST_SKIPPED = re.compile(r"^\[  SKIPPED \] (\d+) test", re.M)
PYTEST_LAST = re.compile(r"^=+ (.*\b(?:passed|failed|skipped|error|errors)\b.*) in [\d.]+.*=+$", re.M)
PYTEST_COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")
UNITTEST = re.compile(r"^Ran (\d+) tests? in ", re.M)
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)


@dataclass
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    broken: list[str] = field(default_factory=list)  # names of what failed
    left_out: list[str] = field(default_factory=list)  # names of what was skipped, with the reason

    def add(self, other: "Tally") -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.broken += other.broken
        self.left_out += other.left_out

    def line(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return text + f", {self.skipped} skipped" if self.skipped else text


def one(name: str, good: bool) -> Tally:
    return Tally(passed=1) if good else Tally(failed=1, broken=[name])


def skip(name: str, reason: str) -> Tally:
    return Tally(skipped=1, left_out=[f"{name}: {reason}"])


def number(pattern: re.Pattern[str], text: str) -> int:
    return sum(int(match) for match in pattern.findall(text))


def counts_in(output: str) -> tuple[int, int, int] | None:
    """(passed, failed, skipped) that a test program says it had, or None if it says nothing."""
    if GTEST_PASSED.search(output) or GTEST_FAILED.search(output):
        # googletest counts a skipped test neither as passed nor as failed
        return number(GTEST_PASSED, output), number(GTEST_FAILED, output), number(GTEST_SKIPPED, output)
    if last := PYTEST_LAST.findall(output):
        found = {word: int(count) for count, word in PYTEST_COUNT.findall(last[-1])}
        return found.get("passed", 0), found.get("failed", 0) + found.get("error", 0), found.get("skipped", 0)
    if last := UNITTEST.findall(output):
        return int(last[-1]), 0, 0
    if last := SUMMARY.findall(output):
        return int(last[-1][0]), int(last[-1][1]), int(last[-1][2] or 0)
    return None


def skip_reasons(output: str) -> list[str]:
    return [line.strip() for line in output.splitlines() if line.startswith("SKIPPED [")]


def of_test(name: str, result: str, output: str) -> Tally:
    """One entry of meson's log. A program that crashed or hung has failed at least once, whatever it counted."""
    passed, failed, skipped = counts_in(output) or (0, 0, 0)
    good = result in ("OK", "EXPECTEDFAIL", "SKIP")
    if result == "SKIP":
        reasons = skip_reasons(output) or ["skipped"]
        return Tally(skipped=max(1, skipped), left_out=[f"{name}: {reason}" for reason in reasons])
    if passed + failed + skipped == 0:
        return one(name, good)
    if not good:
        return Tally(passed, max(1, failed), skipped, [name])
    return Tally(passed, failed, skipped, [name] if failed else [],
                 [f"{name}: {reason}" for reason in skip_reasons(output)] if skipped else [])


def of_log(log: Path) -> Tally:
    """Everything in a testlog.json of meson: one JSON object a line."""
    total = Tally()
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        total.add(of_test(entry["name"], entry["result"], entry.get("stdout") or ""))
    return total


def total_of(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total
