"""The regression guard: instructions per packet, now and at the last commit.

    tools/bench --instructions                    this tree against HEAD; if nothing differs, HEAD against HEAD~1
    tools/bench --instructions --against COMMIT   against that commit
    tools/bench --instructions --alone            this tree's figures only

Fails if any section of the fixed replay costs over 3 % more than before, unless a commit since then says why in a line
at the end of its message: `Instructions: <reason>`. Exit code 77: there was nothing to compare with.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import baseline, callgrind, fixed_replay
from bench.baseline import NoBaseline
from bench.build import BuildFailed, bring_up_to_date
from bench.callgrind import CannotCount
from bench.fixed_replay import PACKETS, SECTIONS, Section

LIMIT = 0.03
CODES = {"passed": 0, "failed": 1, "skipped": 77}
ROOT = Path(__file__).resolve().parents[3]

Figure = float | CannotCount  # instructions per packet, or why there are none


@dataclass(frozen=True)
class Outcome:
    verdict: str  # a key of CODES
    sentence: str


@dataclass(frozen=True)
class Row:
    section: str
    now: Figure
    before: Figure

    @property
    def change(self) -> float | None:
        if isinstance(self.now, CannotCount) or isinstance(self.before, CannotCount):
            return None
        return self.now / self.before - 1

    def line(self) -> str:
        now, before = (f"{figure:9.2f}" if isinstance(figure, float) else f"{'-':>9}"
                       for figure in (self.now, self.before))
        change = f"{100 * self.change:+8.2f} %" if self.change is not None else f"{'-':>10}"
        return f"{self.section:14}{now} {before} {change}"


def table(rows: list[Row]) -> str:
    heading = f"{'instr/packet':14}{'now':>9} {'before':>9} {'change':>10}"
    return "\n".join([heading, *(row.line() for row in rows)])


def judge(rows: list[Row], reasons: list[str]) -> Outcome:
    """The rule."""
    broken = [row for row in rows if isinstance(row.now, CannotCount)]
    if broken:
        return Outcome("failed", f"section {broken[0].section} cannot be counted: {broken[0].now}")
    compared = [row for row in rows if row.change is not None]
    if not compared:
        return Outcome("skipped", f"the earlier program cannot run the replay: {rows[0].before}")
    worse = [row for row in compared if round(row.change or 0, 6) > LIMIT]
    new = [row.section for row in rows if row.change is None]
    note = f"; no earlier figure: {', '.join(new)}" if new else ""
    if not worse:
        return Outcome("passed", f"{len(compared)} sections, none over +{100 * LIMIT:.0f} %{note}")
    names = ", ".join(f"{row.section} {100 * (row.change or 0):+.1f} %" for row in worse)
    if reasons:
        return Outcome("passed", f"{names}; the commit says why: {'; '.join(reasons)}{note}")
    return Outcome("failed", f"{names}: over +{100 * LIMIT:.0f} %. Make it cheaper, or end the commit's message with "
                             f"a line `Instructions: <reason>`{note}")


def figures(programs: dict[str, Path], folder: Path) -> dict[str, list[Figure]]:
    """By program, in the sections' order."""
    def figure(job: tuple[str, Section]) -> Figure:
        try:
            return callgrind.count(programs[job[0]], job[1], folder, folder / f"{job[0]}-{job[1].name}") / PACKETS
        except CannotCount as error:
            return error

    jobs = [(name, section) for name in programs for section in SECTIONS]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for section in SECTIONS:
            fixed_replay.write(section, folder)
        found = list(pool.map(figure, jobs))
    return {name: found[at * len(SECTIONS):(at + 1) * len(SECTIONS)] for at, name in enumerate(programs)}


def present_program(root: Path) -> Path:
    """build/weir, up to date."""
    return bring_up_to_date(root, "weir") / "weir"


def measure(**programs: Path) -> list[Row]:
    """`now`, and `before` if there is one."""
    with tempfile.TemporaryDirectory(prefix="weir-instructions-") as folder:
        found = figures(programs, Path(folder))
    none: list[Figure] = [CannotCount("not asked for")] * len(SECTIONS)
    return [Row(section.name, now, before) for section, now, before
            in zip(SECTIONS, found["now"], found.get("before", none), strict=True)]


def guard(root: Path, against: str | None = None) -> Outcome:
    """Prints the figures; the outcome's sentence is for the caller to print."""
    try:
        commit = baseline.choose(root, against)
        if not baseline.differs(root, commit):
            return Outcome("passed", f"unchanged: weir's sources are those of {commit[:12]}")
        now = present_program(root)
        before = baseline.program_of(root, commit, root / "build")
        rows = measure(now=now, before=before)
        print(f"before: {baseline.git(root, 'log', '-1', '--format=%h %s', commit)}\n{table(rows)}", flush=True)
        return judge(rows, baseline.reasons_since(root, commit))
    except NoBaseline as error:
        return Outcome("skipped", str(error))
    except BuildFailed as error:
        return Outcome("failed", str(error))
    except subprocess.CalledProcessError as error:
        return Outcome("failed", f"{' '.join(error.cmd)} ended with {error.returncode}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tools/bench --instructions", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--against", metavar="COMMIT")
    choice.add_argument("--alone", action="store_true")
    options = parser.parse_args(arguments)
    if options.alone:
        rows = measure(now=present_program(ROOT))
        print(table(rows))
        broken = [row for row in rows if isinstance(row.now, CannotCount)]
        for row in broken:
            print(f"{row.section}: {row.now}")
        return 1 if broken else 0
    outcome = guard(ROOT, options.against)
    print(f"instructions: {outcome.verdict}: {outcome.sentence}")
    return CODES[outcome.verdict]
