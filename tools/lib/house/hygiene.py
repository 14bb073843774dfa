"""Format, scripts that parse, no machine's paths, no promises."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from house.layers import Problem

# Spelt in two parts, so that this file passes its own check.
PROMISE = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:ho" + r"me|ro" + r"ot|wo" + r"rk|Us" + r"ers)/")
FORMAT_CHUNK = 40


def format_problems(root: Path, files: list[str]) -> list[Problem]:
    found = []
    for start in range(0, len(files), FORMAT_CHUNK):
        done = subprocess.run(["clang-format", "--dry-run", "-Werror", *files[start:start + FORMAT_CHUNK]], cwd=root,
                              capture_output=True, text=True, check=False)
        seen = set()
        for line in done.stderr.splitlines():
            if (match := re.match(r"(\S+?):(\d+):\d+: error", line)) and match[1] not in seen:
                seen.add(match[1])
                found.append(Problem(match[1], int(match[2]), "not formatted: clang-format -i"))
        if done.returncode and not seen:
            found.append(Problem(files[start], 1, f"clang-format: {done.stderr.strip()[:200]}"))
    return found


def text_problems(root: Path, files: Iterable[str]) -> list[Problem]:
    found = []
    for file in files:
        try:
            text = (root / file).read_text()
        except UnicodeDecodeError:
            continue  # a capture or another binary
        for number, line in enumerate(text.splitlines(), 1):
            if PROMISE.search(line):
                found.append(Problem(file, number, "a promise in the code: do it, or write an issue"))
            if MACHINE_PATH.search(line):
                found.append(Problem(file, number, "a path of one machine"))
    return found


def script_problems(root: Path, shell: Iterable[str], python: Iterable[str]) -> list[Problem]:
    found = []
    for file in shell:
        done = subprocess.run(["bash", "-n", file], cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            found.append(Problem(file, 1, f"bash -n: {done.stderr.strip()}"))
    for file in python:
        try:
            compile((root / file).read_text(), file, "exec")
        except SyntaxError as error:
            found.append(Problem(file, error.lineno or 1, f"python: {error.msg}"))
    return found
