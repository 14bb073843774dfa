"""Fixtures: the lab's network, its web servers and weir in it, one set per file of tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "lib"))
from lab.scenarios import SCENARIOS  # noqa: E402
from lab.servers import WebServers  # noqa: E402
from lab.shell import need_root, raise_on_signals, wait_until  # noqa: E402
from lab.topology import Lab  # noqa: E402
from lab.weir import Weir  # noqa: E402


def pytest_configure() -> None:
    raise_on_signals()  # meson ends a test that hangs by SIGTERM: clean up then, too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if reason := need_root():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def layout(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "one_arm")


@pytest.fixture(scope="module")
def lab(layout: str) -> Iterator[Lab]:
    with Lab(SCENARIOS[layout]()) as network:
        yield network


@pytest.fixture(scope="module")
def servers(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServers]:
    directory = tmp_path_factory.mktemp("servers")
    with WebServers(lab, directory, slow_rate="8m") as running:
        yield running
    (running.files / "100m").unlink()


@pytest.fixture(scope="module")
def weir(lab: Lab, servers: WebServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    with Weir(lab, tmp_path_factory.mktemp("weir")) as running:
        assert wait_until(running.knows_its_neighbors, 10), running.log()
        yield running


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Puts a figure into the test's output, passed or not."""
    def print_it(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}", flush=True)
    return print_it
