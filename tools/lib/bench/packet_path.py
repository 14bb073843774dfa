"""Runs pipeline_bench, shows its rows as they come, and holds them against what weir promises."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import baseline, claims, machine, plot, rows
from bench.rows import BadRow, Row

PATIENCE = 5  # seconds that a program gets to end


class NoFigures(Exception):
    """With a sentence that says why."""


def stream(command: list[str]) -> list[Row]:
    """The rows of a program, each shown when it is there."""
    found: list[Row] = []
    print(rows.HEADING, flush=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for text in process.stdout:
                found.append(rows.parse(text))
                print(rows.line(found[-1]), flush=True)
        finally:  # at the end of its output, or when we are interrupted
            if process.poll() is None:
                try:
                    process.wait(0 if sys.exc_info()[0] else PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
    if process.returncode:
        raise NoFigures(f"{Path(command[0]).name} ended with {process.returncode} after {len(found)} rows")
    return found


def memory_figures(scale_bench: Path) -> list[Row]:
    """What a full-sized flow table takes: of the kernel's counting, not of ours."""
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
        file = Path(folder) / "scale.json"
        done = subprocess.run([str(scale_bench), "--only", "flows", "--json", str(file)], capture_output=True, text=True,
                              check=False)
        if not file.exists():
            raise NoFigures(f"scale_bench ended with {done.returncode}: {done.stderr.strip()}")
        found: list[Row] = json.loads(file.read_text())
    return [row for row in found if row["name"] in (claims.MEMORY_A_SLOT, claims.RESIDENT)]


def commit_of(root: Path) -> str:
    try:
        return baseline.git(root, "describe", "--always", "--dirty", "--abbrev=12")
    except baseline.NoBaseline:
        return "unknown"


def judge(found: list[Row], whole: bool, guarded: bool) -> int:
    """Prints the claims and what is wrong with the run. 0: all kept; 1: one is missed; 2: the run is void."""
    judged = claims.claims(found)
    print("\nclaims, from the rows of this run")
    for claim in judged:
        if whole or claim.verdict != claims.ABSENT:
            print(claim.line())
    complaints = rows.complaints(found, expected=guarded)
    for complaint in complaints:
        print(f"VOID: {complaint}")
    if complaints:
        print("THIS RUN IS VOID: its figures prove nothing. Run it again on a machine that nobody else uses.")
        return 2
    if not guarded and not any(row.get("aa") for row in found):
        print("no A/A row has that name: these figures are a hint, not a proof")
    return 0 if claims.all_kept(judged, whole) else 1


def run(root: Path, build: Path, quick: bool, only: str, json_file: Path | None, plot_file: Path | None) -> int:
    command = [str(build / "tests" / "bench" / "pipeline_bench")]
    command += ["--quick"] if quick else []
    command += ["--only", only] if only else []
    try:
        found = stream(command)
        if not found:
            raise NoFigures(f"no row's name contains {only!r}: names are such as `ipip 4in4 1k new`")
        if not only:
            found += memory_figures(build / "tests" / "bench" / "scale_bench")
        void = bool(rows.complaints(found, expected=not only))
        if json_file:
            rows.write_list(json_file, found, machine=machine.describe(build), commit=commit_of(root), void=void)
        code = judge(found, whole=not quick and not only, guarded=not only)
        if plot_file:
            plot.draw(found, plot_file)
    except (BadRow, NoFigures, plot.CannotPlot) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return code
