"""Files of at most 400 lines, functions of at most 60 (a stage body 80), else a sentence in place that says why:

    // budget: <reason>      in the comment above a function or in it, or in a file's first 20 lines for its length
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from house.layers import Problem

FILE_LINES = 400
FUNCTION_LINES = 60
STAGE_LINES = 80
REASON = re.compile(r"(//|#) budget: \S+ \S+")


def file_problems(root: Path, files: Iterable[str]) -> list[Problem]:
    found = []
    for file in files:
        lines = (root / file).read_text().splitlines()
        if len(lines) > FILE_LINES and not any(REASON.search(line) for line in lines[:20]):
            found.append(Problem(file, len(lines), f"{len(lines)} lines, the budget is {FILE_LINES}"))
    return found


def cpp_functions(root: Path, files: list[str]) -> Iterable[tuple[str, str, int, int]]:
    """(file, name, first line, last line) by universal-ctags."""
    if not files:
        return
    out = subprocess.run(["ctags", "--languages=C++", "--language-force=C++", "--c++-kinds=f", "--fields=+ne",
                          "--output-format=json", "-f", "-", *files],
                         cwd=root, check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        tag = json.loads(line)
        if "end" in tag:
            yield tag["path"], tag["name"], tag["line"], tag["end"]


def python_functions(root: Path, files: Iterable[str]) -> Iterable[tuple[str, str, int, int]]:
    for file in files:
        for node in ast.walk(ast.parse((root / file).read_text(), file)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield file, node.name, node.lineno, node.end_lineno or node.lineno


def has_reason(lines: list[str], first: int, last: int) -> bool:
    """In the function, or in the comment that ends right above it."""
    start = first - 1
    while start > 0 and lines[start - 1].lstrip().startswith(("//", "#", "template", "requires")):
        start -= 1
    return any(REASON.search(line) for line in lines[start:last])


def function_problems(root: Path, cpp: list[str], python: list[str]) -> list[Problem]:
    found = []
    for file, name, first, last in [*cpp_functions(root, cpp), *python_functions(root, python)]:
        budget = STAGE_LINES if file.startswith("dataplane/stages/") else FUNCTION_LINES
        length = last - first + 1
        if length > budget and not has_reason((root / file).read_text().splitlines(), first, last):
            found.append(Problem(file, first, f"{name} has {length} lines, the budget is {budget}"))
    return found
