"""The lab itself, without weir: whatever weir's tests see later comes from weir."""

from __future__ import annotations

import pytest

from lab.proofs import prove_servers_answer, prove_silence
from lab.servers import WebServers
from lab.topology import Lab, namespaces, one_arm


@pytest.mark.parametrize("layout", ["one_arm", "two_arms"], indirect=True)
class TestNetwork:
    def test_without_weir_nobody_answers_for_the_vips(self, lab: Lab, servers: WebServers) -> None:
        assert len(list(prove_silence(lab))) == 4

    def test_servers_answer_as_themselves_and_as_the_vips(self, lab: Lab, servers: WebServers) -> None:
        assert len(list(prove_servers_answer(lab))) == len(servers.by_name)


def test_a_lab_leaves_nothing_behind() -> None:
    with Lab(one_arm()) as second:
        assert any(name.startswith(second.prefix) for name in namespaces())
    assert not any(name.startswith(second.prefix) for name in namespaces())
