"""tools/check catches what it is there to catch. Each test makes a small tree with one thing wrong in it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLEAN_HEADER = "#pragma once\n\n#include <cstdint>\n\nusing Number = std::uint32_t;\n"


class Tree:
    def __init__(self, root: Path) -> None:
        self.root = root
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        self.write(".clang-format", (ROOT / ".clang-format").read_text())
        self.write("dataplane/net/number.h", CLEAN_HEADER)
        self.write("dataplane/net/number.cc", '#include "dataplane/net/number.h"\n')
        entry = {"directory": str(root / "build"), "file": "../dataplane/net/number.cc",
                 "command": "c++ -std=c++20 -Wall -Werror -I.. -o n.o -c ../dataplane/net/number.cc"}
        self.write("build/compile_commands.json", json.dumps([entry]))
        self.write(".gitignore", "build/\n")

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def check(self, *options: str) -> tuple[int, str]:
        done = subprocess.run([str(ROOT / "tools" / "check"), "--root", str(self.root), *options],
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_clean_tree_is_clean(tree: Tree) -> None:
    code, said = tree.check()
    assert (code, said.splitlines()[-1]) == (0, "tools/check: clean"), said


@pytest.mark.parametrize(("file", "include"), [
    ("dataplane/worker.h", '"ctrl/config/config.h"'),
    ("drivers/port.h", '"dataplane/ids.h"'),
    ("drivers/port.h", '"ctrl/config/config.h"'),
    ("dataplane/net/checksum.h", "<rte_ip.h>"),
    ("dataplane/tables/lookup.h", '"dataplane/published.h"'),
    ("dataplane/state/clock.h", "<sys/time.h>"),
    ("ctrl/reload.cc", "<rte_mbuf.h>"),
    ("ctrl/reload.cc", "<rte_ethdev.h>"),
])
def test_a_forbidden_include_is_caught(tree: Tree, file: str, include: str) -> None:
    tree.write(file, f"#pragma once\n\n#include {include}\n")
    code, said = tree.check("--only", "layers")
    assert code == 1 and f"{file}:3: " in said, said


@pytest.mark.parametrize(("file", "include"), [
    ("ctrl/reload.cc", '"dataplane/published.h"'),
    ("dataplane/worker.h", '"drivers/rx_queue.h"'),
    ("dataplane/net/text.cc", "<arpa/inet.h>"),
    ("dataplane/state/flow_table.h", '"dataplane/tables/lookup.h"'),
    ("dataplane/state/flow_table.h", '"dataplane/ids.h"'),
    ("tests/dataplane/worker_test.cc", '"ctrl/config/config.h"'),
])
def test_an_allowed_include_passes(tree: Tree, file: str, include: str) -> None:
    tree.write(file, f"#include {include}\n")
    code, said = tree.check("--only", "layers")
    assert code == 0, said


def test_an_unformatted_file_is_caught(tree: Tree) -> None:
    tree.write("dataplane/net/ugly.cc", "int  f( ){return 1 ;}\n")
    code, said = tree.check("--only", "format")
    assert code == 1 and "dataplane/net/ugly.cc:1: not formatted" in said


def test_a_header_that_needs_another_is_caught(tree: Tree) -> None:
    tree.write("dataplane/net/needy.h", "#pragma once\n\ninline std::uint32_t one() { return 1; }\n")
    code, said = tree.check("--only", "headers")
    assert code == 1 and "dataplane/net/needy.h:1: does not compile alone" in said


def long_function(lines: int, comment: str = "") -> str:
    return comment + "int f(int x) {\n" + "    x += 1;\n" * (lines - 3) + "    return x;\n}\n"


@pytest.mark.parametrize(("file", "lines", "comment", "caught"), [
    ("ctrl/long.cc", 60, "", False),
    ("ctrl/long.cc", 61, "", True),
    ("ctrl/long.cc", 61, "// budget: one case per message type\n", False),
    ("ctrl/long.cc", 61, "// budget:\n", True),
    ("dataplane/stages/long.cc", 80, "", False),
    ("dataplane/stages/long.cc", 81, "", True),
])
def test_function_budget(tree: Tree, file: str, lines: int, comment: str, caught: bool) -> None:
    tree.write(file, long_function(lines, comment))
    code, said = tree.check("--only", "budgets")
    assert (code == 1) == caught, said
    assert ("f has" in said) == caught, said


def test_file_budget(tree: Tree) -> None:
    tree.write("ctrl/table.cc", "int x;\n" * 401)
    code, said = tree.check("--only", "budgets")
    assert code == 1 and "ctrl/table.cc:401: 401 lines" in said
    tree.write("ctrl/table.cc", "// budget: one row per message\n" + "int x;\n" * 401)
    assert tree.check("--only", "budgets")[0] == 0


def test_python_function_budget(tree: Tree) -> None:
    tree.write("tools/long.py", "def f():\n" + "    x = 1\n" * 60)
    code, said = tree.check("--only", "budgets")
    assert code == 1 and "tools/long.py:1: f has 61 lines" in said


@pytest.mark.parametrize("text", ["// TO" "DO later\n", "// FIX" "ME\n", 'auto path = "/ho' 'me/me/weir";\n'])
def test_promises_and_machine_paths_are_caught(tree: Tree, text: str) -> None:
    tree.write("ctrl/later.cc", "\n" + text)
    code, said = tree.check("--only", "text")
    assert code == 1 and "ctrl/later.cc:2: " in said


def test_broken_scripts_are_caught(tree: Tree) -> None:
    tree.write("tools/run", "#!/usr/bin/env bash\nif true; then\n")
    tree.write("tools/run.py", "def f(:\n")
    code, said = tree.check("--only", "scripts")
    assert code == 1 and "tools/run:1: bash -n" in said and "tools/run.py:1: python" in said
