"""Where the programs are that the lab runs: weir, and helpers from tests/support."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def weir_binary() -> str:
    """build/weir, unless WEIR_BINARY names another one (tests of other builds)."""
    return os.environ.get("WEIR_BINARY", str(ROOT / "build" / "weir"))


def weirctl_binary() -> str:
    """weirctl of the same build."""
    return str(Path(weir_binary()).parent / "tools" / "weirctl" / "weirctl")


def helper(name: str) -> str:
    """A program of tests/support, from the build folder in which weir lies."""
    program = Path(weir_binary()).parent / "tests" / "support" / name
    if not program.exists():
        raise RuntimeError(f"{program} is not built: ninja -C {Path(weir_binary()).parent} tests/support/{name}")
    return str(program)
