"""The regression guard: what it reads from callgrind and git, and when it fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from bench import baseline, callgrind, fixed_replay, instructions
from bench.baseline import NoBaseline
from bench.callgrind import CannotCount
from bench.fixed_replay import SECTIONS, Section
from bench.instructions import Figure, Row

SYMBOLS = """\
0000000000135a40 T weir::Pipeline::run(weir::Burst&, weir::Tick)
000000000001d47e t weir::Pipeline::run(weir::Burst&, weir::Tick) [clone .cold]
0000000000134ee0 T weir::Worker::run()
                 U malloc@GLIBC_2.2.5
"""
PROFILE = "# callgrind format\nevents: Ir\nsummary: 14099784\n\nfn=(12) weir::Pipeline::run(weir::Burst&)\n+1 40000\n\n"
NONE = CannotCount("an unknown key")


def test_the_measured_function_is_named_whole() -> None:
    assert callgrind.only_measured(SYMBOLS) == "weir::Pipeline::run(weir::Burst&, weir::Tick)"


@pytest.mark.parametrize("symbols", ["", SYMBOLS + "0000000000000001 T weir::Pipeline::run(int)\n"])
def test_none_or_two_measured_functions_are_told(symbols: str) -> None:
    with pytest.raises(CannotCount, match="must be one"):
        callgrind.only_measured(symbols)


def test_a_total_is_read() -> None:
    assert callgrind.total_in(PROFILE + "totals: 14099784\n") == 14099784


@pytest.mark.parametrize(("profile", "said"), [
    (PROFILE, "counted nothing"),
    (PROFILE + "totals: 0\n", "counted nothing"),
    (PROFILE + "fn=(13) weir::Pipeline::run(weir::Burst&) [clone .cold]\ntotals: 5\n", "split-off"),
])
def test_a_profile_that_means_nothing_is_told(profile: str, said: str) -> None:
    with pytest.raises(CannotCount, match=said):
        callgrind.total_in(profile)


def test_frames_that_were_dropped_are_no_figure() -> None:
    callgrind.check_report({"received": fixed_replay.PACKETS, "forwarded": fixed_replay.PACKETS})
    with pytest.raises(CannotCount, match="forwarded 19999"):
        callgrind.check_report({"received": fixed_replay.PACKETS, "forwarded": 19999})


@pytest.mark.parametrize(("rows", "reasons", "verdict", "said"), [
    ([(103.0, 100.0), (90.0, 100.0)], [], "passed", "2 sections, none over +3 %"),
    ([(103.1, 100.0), (90.0, 100.0)], [], "failed", "s0 +3.1 %: over +3 %"),
    ([(103.1, 100.0)], ["header check X"], "passed", "s0 +3.1 %; the commit says why: header check X"),
    ([(100.0, NONE), (100.0, 100.0)], [], "passed", "1 sections, none over +3 %; no earlier figure: s0"),
    ([(100.0, NONE), (200.0, 100.0)], [], "failed", "s1 +100.0 %"),
    ([(100.0, NONE)], [], "skipped", "cannot run the replay: an unknown key"),
    ([(100.0, 100.0), (NONE, 100.0)], ["a reason"], "failed", "section s1 cannot be counted: an unknown key"),
    ([(NONE, NONE)], [], "failed", "section s0 cannot be counted"),
])
def test_the_rule(rows: list[tuple[Figure, Figure]], reasons: list[str], verdict: str, said: str) -> None:
    outcome = instructions.judge([Row(f"s{at}", *pair) for at, pair in enumerate(rows)], reasons)
    assert outcome.verdict == verdict and said in outcome.sentence, outcome


def test_the_table() -> None:
    said = instructions.table([Row("dsr_v4", 721.0, 700.0), Row("nat_v4", 800.0, NONE)]).splitlines()
    assert said[1].split() == ["dsr_v4", "721.00", "700.00", "+3.00", "%"] and said[2].split() == ["nat_v4", "800.00", "-", "-"]


class Repository:
    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        return subprocess.run(["git", *identity, *words], cwd=self.root, check=True, capture_output=True,
                              text=True).stdout.strip()

    def commit(self, file: str, message: str) -> str:
        self.write(file)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def write(self, file: str) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + "line\n")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "weir")
    made.commit("dataplane/a.h", "first")
    return made


def test_a_clean_tree_is_compared_with_the_parent(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    second = repository.commit("dataplane/a.h", "second")
    assert baseline.choose(repository.root, None) == first and baseline.differs(repository.root, first)
    repository.write("docs/notes.md")
    repository.write("dataplane/README.md")
    assert baseline.choose(repository.root, None) == first
    repository.write("ctrl/new.cc")
    assert baseline.choose(repository.root, None) == second and baseline.differs(repository.root, second)
    assert baseline.choose(repository.root, "HEAD~1") == first


def test_unchanged_sources_pass_without_a_build(repository: Repository) -> None:
    repository.commit("docs/notes.md", "prose")
    outcome = instructions.guard(repository.root)
    assert (outcome.verdict, outcome.sentence.split(":")[0]) == ("passed", "unchanged")


def test_a_first_commit_and_a_shallow_clone_are_skipped_and_told(repository: Repository, tmp_path: Path) -> None:
    alone = instructions.guard(repository.root)
    assert alone.verdict == "skipped" and "there is no commit HEAD~1" in alone.sentence
    repository.commit("dataplane/a.h", "second")
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{repository.root}", str(tmp_path / "clone")], check=True)
    shallow = instructions.guard(tmp_path / "clone")
    assert shallow.verdict == "skipped" and "git fetch --deepen=1" in shallow.sentence
    bare = instructions.guard(tmp_path)
    assert bare.verdict == "skipped" and "not a git repository" in bare.sentence


def test_reasons_are_trailers_of_the_commits_since(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.commit("dataplane/a.h", "second\n\nInstructions: this is prose, not a trailer\n\nThe end.")
    assert baseline.reasons_since(repository.root, first) == []
    second = repository.commit("dataplane/a.h", "third\n\nBody.\n\nInstructions: +5 %, header check X now done\nOther: y")
    assert baseline.reasons_since(repository.root, first) == ["+5 %, header check X now done"]
    assert baseline.reasons_since(repository.root, second) == []
    repository.commit("dataplane/a.h", "fourth\n\nInstructions:")
    assert baseline.reasons_since(repository.root, second) == []


def test_a_commit_that_does_not_build_is_told(repository: Repository) -> None:
    commit = repository.commit("meson.build", "broken")
    build = repository.root / "build"
    (build / "meson-private").mkdir(parents=True)
    (build / "meson-private" / "cmd_line.txt").write_text("[options]\nbuildtype = release\n\n[properties]\n")
    (build / "compile_commands.json").write_text('[{"command": "c++ -O3 -c a.cc"}]')
    assert baseline.command_line(build) == {"buildtype": "release"} and baseline.compiler(build) == "c++"
    with pytest.raises(NoBaseline, match="does not build here"):
        baseline.program_of(repository.root, commit, build)


@pytest.mark.parametrize("section", SECTIONS, ids=[section.name for section in SECTIONS])
def test_the_replay_is_what_it_says(section: Section) -> None:
    first, later = fixed_replay.flow_frames(section, 0, fixed_replay.random.Random(1))
    datagram, _ = fixed_replay.flow_frames(section, 1, fixed_replay.random.Random(1))
    assert Ether(first)[TCP].flags == "S" and Ether(later)[TCP].flags == "A"
    for frame, kind in ((first, TCP), (datagram, UDP)):
        fresh = Ether(frame)
        network = fresh[IP] if section.inner == 4 else fresh[IPv6]
        assert str(network.dst) == str(fixed_replay.vip(section.inner))
        if section.inner == 4:
            del network.chksum
        del fresh[kind].chksum
        assert bytes(fresh) == frame


def test_the_replay_is_always_the_same(tmp_path: Path) -> None:
    captures = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        fixed_replay.write(SECTIONS[0], folder)
        captures.append((folder / "dsr_v4.pcap").read_bytes())
    assert captures[0] == captures[1] and len(captures[0]) == 24 + fixed_replay.PACKETS * (16 + (118 + 106) // 2)
