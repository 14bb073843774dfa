"""The story of the ELB tutorials, as the demo tells it: every claim holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

STORY = Path(__file__).resolve().parents[2] / "tools" / "demo.d" / "story.py"


def test_every_claim_of_the_story_holds(say: Callable[[str], None]) -> None:
    told = subprocess.run([sys.executable, str(STORY)], capture_output=True, text=True, timeout=200, check=False)
    for line in told.stdout.splitlines():
        if " s   " in line:
            say(line.strip())
    assert told.returncode == 0, told.stdout + told.stderr
