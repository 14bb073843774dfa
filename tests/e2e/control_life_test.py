"""Run-time changes over crashes, full disks, damage and second weirs."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lab.shell import wait_until
from lab.topology import Lab
from lab.weir import Weir, config_text
from life_test import assert_told, run_weir

CRASHES = 20


def journal(weir: Weir) -> Path:
    return weir.state_directory / "changes.journal"


class Registrar(threading.Thread):
    """Changes one after the other on one connection, until weir is gone; `weights`: what was acknowledged last, by name."""

    def __init__(self, weir: Weir, known: set[str]) -> None:
        super().__init__()
        self.weir, self.known = weir, known
        self.acknowledged: dict[str, int] = {}
        self.asked: dict[str, int] = {}  # and may or may not have been done

    def run(self) -> None:
        try:
            with closing(socket.socket(socket.AF_UNIX)) as client:
                client.settimeout(20)
                client.connect(str(self.weir.socket))
                stream = client.makefile("rwb")
                for number in range(100_000):
                    name, weight = f"k{number % 7}", 1 + number % 1000
                    known = name in self.known
                    change: dict[str, Any] = {"change": "weight", "pool": "web6", "name": name, "weight": weight}
                    if not known:
                        change |= {"change": "add", "address": f"fd00:1::3:{number % 7 + 1:x}"}
                    self.known.add(name)
                    self.asked[name] = weight
                    stream.write(json.dumps({"version": 1, "command": "change",
                                             "arguments": {"changes": [change]}}).encode() + b"\n")
                    stream.flush()
                    answer = stream.readline()
                    if not answer:
                        return
                    if json.loads(answer)["ok"]:
                        self.acknowledged[name] = weight
        except OSError:
            pass  # killed


def test_acknowledged_changes_outlive_kill_9(lab: Lab, tmp_path: Path) -> None:
    chance = random.Random(20)
    weights: dict[str, set[int]] = {}  # by name: what it may be now
    total = 0
    for _ in range(CRASHES):
        with Weir(lab, tmp_path) as weir:
            now = weir.backends("web6")
            for name, allowed in weights.items():
                assert name in now and now[name]["weight"] in allowed, f"{name}: {now.get(name)}, not {allowed}\n{weir.log()}"
            writer = Registrar(weir, {name for name in now if name.startswith("k")})
            writer.start()
            time.sleep(chance.uniform(0.02, 0.6))
            assert weir.process
            weir.process.kill()
            weir.process.wait(10)
            writer.join(30)
        total += len(writer.acknowledged)
        weights = {name: {now[name]["weight"]} for name in now if name.startswith("k")}
        for name, weight in writer.acknowledged.items():
            weights[name] = {weight}
        for name, weight in writer.asked.items():
            if name in weights:
                weights[name].add(weight)
    assert total > CRASHES, "the test saw too little"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=0750", "weir-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)


def test_full_disk_and_read_only_disk(lab: Lab, tmp_path: Path) -> None:
    """A change that cannot be kept is not made, and says why; it can be once there is room."""
    with small_disk(tmp_path / "state"):
        with Weir(lab, tmp_path) as weir:
            filler = weir.state_directory / "filler"
            assert weir.ctl("backend", "weight", "web", "TestWeb01", "2").returncode == 0
            with open(filler, "wb") as file:
                try:
                    file.write(bytes(200_000))
                except OSError:
                    pass
            size = journal(weir).stat().st_size
            # tmpfs gives whole pages: fill the journal's last one up
            given = "".join(f"add web6 b{n} fd00:1::1:{n:x}\n" for n in range(500))
            done = weir.ctl("batch", given=given)
            assert done.returncode == 2 and "No space left on device" in done.stderr, done.stderr
            assert "nothing was changed" in done.stderr and len(done.stderr.splitlines()) == 1
            assert len(weir.backends("web6")) == 2 and journal(weir).stat().st_size == size
            filler.unlink()
            assert weir.ctl("backend", "weight", "web", "TestWeb01", "3").returncode == 0
            assert weir.stop() == 0
        remount(tmp_path / "state", "ro")
        with Weir(lab, tmp_path) as weir:
            assert weir.backends()["TestWeb01"]["weight"] == 3, "what was kept is in force"
            assert "Read-only file system" in weir.log()
            done = weir.ctl("backend", "weight", "web", "TestWeb01", "4")
            assert done.returncode == 2 and "Read-only file system" in done.stderr, done.stderr
            assert weir.backends()["TestWeb01"]["weight"] == 3
            assert weir.stop() == 0
        remount(tmp_path / "state", "rw")


def test_damage_is_not_started_with(lab: Lab, tmp_path: Path) -> None:
    with Weir(lab, tmp_path) as weir:
        for weight in ("2", "3"):
            assert weir.ctl("backend", "weight", "web", "TestWeb01", weight).returncode == 0
        assert weir.stop() == 0
    good = journal(weir).read_text()
    journal(weir).write_text(good.replace('"weight":2', '"weight":9', 1))
    assert_told(run_weir(lab, "run", "-c", str(weir.config_file)), {1}, f"{journal(weir)}:", "damaged", "move it away")
    journal(weir).write_text(good.replace('"version":1', '"version":2'))
    assert_told(run_weir(lab, "run", "-c", str(weir.config_file)), {1}, f"{journal(weir)}:1:", "version 2")
    journal(weir).write_text(good + '{"crc32":"12')
    with Weir(lab, tmp_path) as weir:
        assert weir.backends()["TestWeb01"]["weight"] == 3
        assert "half a change that nobody was told of" in weir.log()
        assert weir.ctl("backend", "weight", "web", "TestWeb01", "4").returncode == 0
        assert weir.stop() == 0
    assert not weir.socket.exists()


def test_a_file_in_the_sockets_place_is_left_alone(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "weir.cfg"
    for name in ("mine", "link"):
        (tmp_path / "mine").write_text("mine")
        if name == "link":
            (tmp_path / name).symlink_to(tmp_path / "mine")
        file.write_text(config_text(lab.network) + f'control = {{ socket = "{tmp_path / name}"; '
                                                   f'state_directory = "{tmp_path / "state"}"; }};\n')
        assert_told(run_weir(lab, "run", "-c", str(file)), {1}, str(tmp_path / name), "file of another kind")
        assert (tmp_path / "mine").read_text() == "mine"
    file.write_text(config_text(lab.network) + 'control = { socket = "/nonexistent/deep/control.sock"; };\n')
    assert_told(run_weir(lab, "run", "-c", str(file)), {1}, "/nonexistent/deep/control.sock", "control.socket")


def test_sigterm_with_clients_that_wait(lab: Lab, tmp_path: Path) -> None:
    with Weir(lab, tmp_path) as weir:
        writer = Registrar(weir, set())
        writer.start()
        assert wait_until(lambda: len(writer.acknowledged) > 3, 10)
        begun = time.monotonic()
        assert weir.stop() == 0, weir.log()
        assert time.monotonic() - begun < 2
        writer.join(10)
