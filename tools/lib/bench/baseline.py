"""The program as it was at a commit: built once, kept by the commit's hash in build-baseline/."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

# What weir is built from. Prose in these folders is not.
SOURCES = ("dataplane", "drivers", "ctrl", "meson.build", "meson_options.txt", "meson.options", ":(exclude)*.md")
KEPT = 4  # programs in build-baseline/


class NoBaseline(Exception):
    """With a sentence that says why."""


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or "it failed"
        raise NoBaseline(f"git {words[0]}: {said.splitlines()[0]}")
    return done.stdout.strip()


def differs(root: Path, commit: str) -> bool:
    """Whether weir's sources are others than at the commit, new files included."""
    return bool(git(root, "diff", "--name-only", commit, "--", *SOURCES)
                or git(root, "ls-files", "--others", "--exclude-standard", "--", *SOURCES))


def choose(root: Path, against: str | None) -> str:
    """The hash of the commit to compare with: HEAD while the sources differ from it, else its first parent."""
    git(root, "rev-parse", "--git-dir")  # outside a repository git diff compares files, and says little else
    if against is None:
        against = "HEAD" if differs(root, "HEAD") else "HEAD~1"
    try:
        return git(root, "rev-parse", "--verify", "--quiet", f"{against}^{{commit}}")
    except NoBaseline as error:
        why = (f"{against} is not in this clone, which is shallow: git fetch --deepen=1"
               if git(root, "rev-parse", "--is-shallow-repository") == "true" else f"there is no commit {against}")
        raise NoBaseline(why) from error


def reasons_since(root: Path, commit: str) -> list[str]:
    """What the commits since then say under `Instructions:`. What is not committed has no reason yet."""
    said = git(root, "log", "--format=%(trailers:key=Instructions,valueonly,unfold)", f"{commit}..HEAD")
    return [line.strip() for line in said.splitlines() if line.strip()]


def command_line(build: Path) -> dict[str, str]:
    """The options that the build folder was configured with, so that the baseline gets the same."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(build / "meson-private" / "cmd_line.txt")
    return dict(parser["options"]) if parser.has_section("options") else {}


def compiler(build: Path) -> str:
    """As CXX would name it: the first words of any command that compiles."""
    words = shlex.split(json.loads((build / "compile_commands.json").read_text())[0]["command"])
    return " ".join(words[:next(at for at, word in enumerate(words) if word.startswith("-"))])


def recipe(build: Path) -> str:
    """What else than the sources decides about the program."""
    versions = [subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")[0]
                for command in ([*compiler(build).split(), "--version"], ["pkg-config", "--modversion", "libdpdk"])]
    return json.dumps([command_line(build), compiler(build), *versions], indent=1) + "\n"


def compile_commit(root: Path, commit: str, build: Path, into: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="weir-baseline-") as name:
        tree = Path(name)
        archive = subprocess.run(["git", "archive", commit], cwd=root, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x"], cwd=tree, input=archive, check=True)
        options = {**command_line(build), "tests": "false"}
        for step in (["meson", "setup", "build", *(f"-D{key}={value}" for key, value in options.items())],
                     ["ninja", "-C", "build", "weir"]):
            done = subprocess.run(step, cwd=tree, env={**os.environ, "CXX": compiler(build)}, capture_output=True,
                                  text=True, check=False)
            if done.returncode:
                raise NoBaseline(f"{commit[:12]} does not build here: " + " ".join(done.stdout.split())[-300:])
        shutil.copy2(tree / "build" / "weir", into / "weir.part")
    os.replace(into / "weir.part", into / "weir")


def program_of(root: Path, commit: str, build: Path) -> Path:
    """Built if it is not there; the oldest of the others are removed."""
    folder = root / "build-baseline" / commit
    folder.mkdir(parents=True, exist_ok=True)
    wanted = recipe(build)
    note = folder / "recipe"
    if not (folder / "weir").exists() or not note.exists() or note.read_text() != wanted:
        print(f"building weir as of {commit[:12]}, once", flush=True)
        compile_commit(root, commit, build, folder)
        note.write_text(wanted)
    os.utime(folder)
    kept = sorted(folder.parent.iterdir(), key=lambda other: other.stat().st_mtime, reverse=True)
    for old in kept[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder / "weir"
