"""A configuration that is wrong never takes force: weir says FILE:LINE: what, and goes on with the old one."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bad_configs import NEED_RESTART, bad_configs, changed
from lab.built import weir_binary
from lab.load import Wrk
from lab.proofs import curl
from lab.scenarios import VIP4, one_arm
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.weir import Weir, config_text

GOOD = config_text(one_arm(), static_neighbors=True)
BAD = bad_configs(GOOD)
URL = f"http://{VIP4}/"


@pytest.fixture(scope="module")
def load(lab: Lab, weir: Weir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wrk]:
    """Light load under all of this file's reloads; the last test reads what it saw."""
    with Wrk(lab, tmp_path_factory.mktemp("wrk"), URL, seconds=170, connections=2) as wrk:
        yield wrk


def test_there_are_at_least_50() -> None:
    assert len({text for _, text in BAD}) >= 50
    assert GOOD not in [text for _, text in BAD]


@pytest.mark.parametrize("text", [text for _, text in BAD], ids=[name for name, _ in BAD])
def test_bad_config_is_refused_and_the_old_one_stays(lab: Lab, weir: Weir, load: Wrk, servers: WebServers,
                                                     text: str) -> None:
    before, said_before, (taken, refused) = weir.metrics(), len(weir.log()), weir.reloads()
    assert not weir.reload(text), f"weir took it:\n{text}"
    assert weir.reloads() == (taken, refused + 1)
    now, said = weir.metrics(), weir.log()[said_before:]
    assert re.search(rf"{re.escape(str(weir.config_file))}:\d+: \S", said), f"no FILE:LINE: in\n{said}"
    for unchanged in ("config_generation", "snapshot_checksum"):
        assert now.sum(unchanged) == before.sum(unchanged)
    assert now.sum("config_last_reload_successful") == 0


@pytest.mark.parametrize(("name", "old", "new"), NEED_RESTART, ids=[name for name, _, _ in NEED_RESTART])
def test_change_that_needs_a_restart_is_refused_by_name(weir: Weir, name: str, old: str, new: str) -> None:
    said_before = len(weir.log())
    assert not weir.reload(changed(GOOD, old, new))
    said = weir.log()[said_before:]
    assert name in said and "restart" in said, said


def test_missing_file_is_refused(weir: Weir) -> None:
    assert weir.process
    before, said_before = weir.reloads(), len(weir.log())
    weir.config_file.unlink()
    weir.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: weir.reloads()[1] == before[1] + 1, 5)
    assert str(weir.config_file) in weir.log()[said_before:]


def test_all_errors_are_shown_at_once(weir: Weir) -> None:
    said_before = len(weir.log())
    two_wrong = changed(changed(GOOD, "weight = 1;", "weight = -1;"), 'protocol = "tcp";', 'protocol = "sctp";')
    assert not weir.reload(two_wrong)
    assert len(set(re.findall(r"weir\.cfg:(\d+): ", weir.log()[said_before:]))) == 2


def test_after_all_that_traffic_never_stopped_and_a_good_one_is_taken(lab: Lab, weir: Weir, load: Wrk,
                                                                      servers: WebServers) -> None:
    assert weir.reload(GOOD)
    assert weir.metrics().sum("config_last_reload_successful") == 1
    assert {curl(lab, URL, seconds=5).strip() for _ in range(40)} == set(servers.by_name)
    assert load.running()
    result = load.finish()
    assert result.failed == 0 and result.requests > 0, result.text


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), *[(text, 1) for _, text in BAD]],
                         ids=["good", *[name for name, _ in BAD]])
def test_check_says_the_same(tmp_path: Path, text: str, code: int) -> None:
    file = tmp_path / "weir.cfg"
    file.write_text(text)
    done = subprocess.run([weir_binary(), "check", "-c", str(file)], capture_output=True, text=True, timeout=10,
                          check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert (re.search(rf"{re.escape(str(file))}:\d+: (?!warning)", done.stdout + done.stderr) is not None) == bool(code)
