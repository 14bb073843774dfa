"""Counts the instructions that a build of weir spends on one section of the fixed replay, with valgrind's callgrind.

valgrind runs the program on a processor of its own, so the count is the same in every run, however busy the machine is.
What else could change it is held: see ENVIRONMENT, and how count() names its files.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from bench.fixed_replay import PACKETS, Section

# Counting goes on while this function runs, with all that it calls. Receive, flush and sweep are not in it.
MEASURED = "weir::Pipeline::run("
TOTALS = re.compile(r"^totals: (\d+)$", re.M)
# Where the compiler has split the function, callgrind takes a jump between its parts for a call, and stops counting.
SPLIT = re.compile(r"^fn=\(\d+\) " + re.escape(MEASURED) + r".*\) \[clone ", re.M)
SECONDS = 300  # one section takes two or three
# libc's string functions are chosen by the processor: these are what every one has. No valgrind options of the user's.
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "LC_ALL": "C",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX512VL,-AVX512BW,-MOVBE,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load",
}


class CannotCount(Exception):
    """With a sentence that says why."""


def only_measured(symbols: str) -> str:
    """The measured function as callgrind wants it, out of `nm -C`: its parts that were split off apart."""
    names = {line.split(" ", 2)[2] for line in symbols.splitlines() if line.count(" ") > 1}
    found = [name for name in names if name.startswith(MEASURED) and name.endswith(")")]
    if len(found) != 1:
        raise CannotCount(f"{MEASURED}...) is {len(found)} functions in the program; it must be one, not inlined")
    return found[0]


def measured_function(program: Path) -> str:
    done = subprocess.run(["nm", "-C", str(program)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotCount(f"nm: {done.stderr.strip()}")
    return only_measured(done.stdout)


def total_in(profile: str) -> int:
    """Of a callgrind.out file."""
    if SPLIT.search(profile):
        raise CannotCount(f"the replay has run through split-off parts of {MEASURED}...): the count would be wrong")
    if not (match := TOTALS.search(profile)) or match[1] == "0":
        raise CannotCount(f"callgrind has counted nothing in {MEASURED}...)")
    return int(match[1])


def check_report(report: dict[str, object]) -> None:
    """A frame that was dropped costs less: then the figure would be of something else."""
    if report["received"] != PACKETS or report["forwarded"] != PACKETS:
        raise CannotCount(f"of {PACKETS} frames it received {report['received']} and forwarded {report['forwarded']}")


def run(program: Path, section: Section, files: Path, folder: Path) -> None:
    """In `folder`, by relative names: the length of a path moves the stack and the heap, and libc's functions take
    other ways where a page ends."""
    folder.mkdir(parents=True)
    (folder / "weir").symlink_to(program)
    captures = os.path.relpath(files, folder)
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=profile",
               f"--toggle-collect={measured_function(program)}",
               "./weir", "replay", "-c", f"{captures}/{section.name}.cfg", "--in", f"edge={captures}/{section.name}.pcap",
               "--report", "report.json"]
    try:
        done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False,
                              timeout=SECONDS)
    except FileNotFoundError as error:
        raise CannotCount("valgrind is not installed: run tools/setup") from error
    except subprocess.TimeoutExpired as error:
        raise CannotCount(f"the replay took more than {SECONDS} s under valgrind") from error
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if not line.startswith("==")]
        raise CannotCount(f"the replay ended with {done.returncode}: " + " ".join(words[-3:]))


def count(program: Path, section: Section, files: Path, folder: Path) -> int:
    """`files` has the section's configuration and capture (fixed_replay.write); `folder` is made, for this run alone."""
    run(program, section, files, folder)
    check_report(json.loads((folder / "report.json").read_text()))
    return total_in((folder / "profile").read_text())
