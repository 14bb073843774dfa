"""Each header compiles alone: the build shows it of one that its own source includes first; of the others a wrapper
that includes nothing else passes the compiler with the project's flags."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from house.layers import CORE, Problem, layer_of

NO_FLAGS = "no compile_commands.json: configure a build first (meson setup build)"


def known_flags(build: Path) -> dict[str, list[str]]:
    """For each translation unit, and for each folder with one, the compiler and its flags."""
    database = build / "compile_commands.json"
    if not database.exists():
        return {}
    flags: dict[str, list[str]] = {}  # by folder, and by source for its own header
    for entry in json.loads(database.read_text()):
        file = os.path.relpath(os.path.join(entry["directory"], entry["file"]), build.parent)
        words = without_files(shlex.split(entry["command"]))
        flags[os.path.splitext(file)[0]] = words
        flags.setdefault(os.path.dirname(file), words)
    return flags


def dpdk_flags() -> list[str]:
    """DPDK's include folders, as system folders; the machine's flags are the project's own matter."""
    out = subprocess.run(["pkg-config", "--cflags-only-I", "libdpdk"], capture_output=True, text=True, check=False)
    return [word.replace("-I", "-isystem", 1) for word in out.stdout.split()]


def flags_of(header: str, flags: dict[str, list[str]]) -> list[str]:
    """Of the source of the same name, else of the header's folder, else of the nearest relative; every layer but
    core knows DPDK."""
    folder, stem = os.path.dirname(header), os.path.splitext(header)[0]
    nearest = max(sorted(flags), key=lambda other: (other == stem, other == folder, layer_of(other) == layer_of(header),
                                                    len(flags[other])))
    core = header.startswith(CORE) or header == "dataplane/ids.h"
    return [*flags[nearest], *([] if core else dpdk_flags())]


def without_files(command: list[str]) -> list[str]:
    """The command without its input, output, dependency file and anything about precompiled headers."""
    kept: list[str] = []
    skip = False
    for word in command:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MQ", "-include"):
            skip = True
        elif word not in ("-c", "-MD") and not word.endswith((".cc", ".cpp")):
            kept.append(word)
    # -O0: the flow of values, and what it costs to follow it, is the build's matter
    return [word for word in kept if not word.startswith("-O")]


def is_shown_by_the_build(header: str, root: Path, flags: dict[str, list[str]]) -> bool:
    source = root / Path(header).with_suffix(".cc")
    if os.path.splitext(header)[0] not in flags or not source.exists():
        return False
    first = next((line for line in source.read_text().splitlines() if line.startswith("#include")), "")
    return first == f'#include "{header}"'


def compile_alone(header: str, build: Path, flags: list[str]) -> Problem | None:
    # The directories of the flags are relative to the build folder.
    done = subprocess.run([*flags, f"-I{build.parent}", "-fdiagnostics-color=never", "-fsyntax-only", "-x", "c++", "-"], cwd=build,
                          input=f'#include "{header}"\n', capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
    return Problem(header, 1, f"does not compile alone: {first}")


def problems(build: Path, headers: list[str]) -> list[Problem]:
    flags = known_flags(build)
    if not flags:
        return [Problem(build.name, 1, NO_FLAGS)] if headers else []
    others = [header for header in headers if not is_shown_by_the_build(header, build.parent, flags)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = pool.map(lambda header: compile_alone(header, build, flags_of(header, flags)), others)
        return [problem for problem in results if problem]
