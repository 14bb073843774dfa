"""The lab itself, without weir: whatever weir's tests see later comes from weir."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from lab.proofs import prove_servers_answer, prove_silence, prove_silencing_matters
from lab.scenarios import SCENARIOS, one_arm
from lab.servers import WebServers
from lab.topology import Lab, namespaces

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("layout", list(SCENARIOS), indirect=True)
class TestNetwork:
    def test_without_weir_nobody_answers_for_the_vips(self, lab: Lab, servers: WebServers) -> None:
        assert len(list(prove_silence(lab))) == 3

    def test_the_kernel_would_answer_if_it_were_not_silenced(self, lab: Lab, servers: WebServers) -> None:
        assert len(list(prove_silencing_matters(lab))) == 1

    def test_servers_answer_as_themselves_and_as_the_vips(self, lab: Lab, servers: WebServers) -> None:
        assert len(list(prove_servers_answer(lab))) >= len(servers.by_name)


def test_a_lab_leaves_nothing_behind() -> None:
    with Lab(one_arm()) as second:
        assert any(name.startswith(second.prefix) for name in namespaces())
    assert not any(name.startswith(second.prefix) for name in namespaces())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_lab_leaves_nothing_behind(number: signal.Signals) -> None:
    process = subprocess.Popen([str(ROOT / "tools" / "lab"), "up"], stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    assert process.stdout
    prefix = f"weir-{process.pid}-"
    while "Ctrl-C" not in process.stdout.readline():
        assert process.poll() is None
    assert any(name.startswith(prefix) for name in namespaces())
    process.send_signal(number)
    assert process.wait(20) == 0
    assert not any(name.startswith(prefix) for name in namespaces())
    left = subprocess.run(["pgrep", "-f", "weir-lab-.*nginx.conf"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
