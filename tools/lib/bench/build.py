"""Brings programs in build/ up to date, and sees to it that they are worth measuring."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path


class BuildFailed(Exception):
    """With a sentence that says why."""


def options(build: Path) -> dict[str, object]:
    known = json.loads((build / "meson-info" / "intro-buildoptions.json").read_text())
    return {option["name"]: option["value"] for option in known}


def bring_up_to_date(root: Path, *targets: str) -> Path:
    """The build folder."""
    build = root / "build"
    if not (build / "build.ninja").exists():
        fresh = ["--wipe"] if (build / "meson-private").exists() else []
        done = subprocess.run(["meson", "setup", *fresh, str(build), "--buildtype=release"], cwd=root, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise BuildFailed(f"meson setup failed:\n{done.stdout}")
    if subprocess.run(["ninja", "-C", str(build), "--quiet", *targets], check=False).returncode:
        raise BuildFailed(f"ninja -C build {' '.join(targets)} failed")
    found = options(build)
    if found["optimization"] not in ("2", "3") or found["b_sanitize"] != "none":
        raise BuildFailed(f"build/ has optimization={found['optimization']}, b_sanitize={found['b_sanitize']}: such "
                          "figures say nothing. Make it a release build: meson setup --wipe build --buildtype=release")
    return build
