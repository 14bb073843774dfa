"""A configuration without `control`: the defaults, and what becomes of a weir that cannot have them. Each weir sees /run
and /var/lib of its own, empty ones; the machine's are out of reach."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lab.built import weirctl_binary
from lab.proofs import curl
from lab.scenarios import VIP4
from lab.servers import WebServers
from lab.shell import wait_until
from lab.topology import Lab
from lab.weir import Weir

URL = f"http://{VIP4}/"


class PlainWeir(Weir):
    """As its file says, in a mount namespace of its own that `prepare` (a shell's words) has made ready."""

    def __init__(self, lab: Lab, directory: Path, prepare: str = "true") -> None:
        self.prepare = prepare
        super().__init__(lab, directory)

    def controlled(self, config: str) -> str:
        return config

    def command(self) -> list[str]:
        mounts = "mount -t tmpfs tmpfs /run && mkdir /run/weir && mount -t tmpfs tmpfs /var/lib"
        return ["unshare", "--mount", "sh", "-ec", f'{mounts} && {self.prepare} && exec "$@"', "sh", *super().command()]

    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["nsenter", "--target", str(self.pid()), "--mount", *command], capture_output=True,
                              text=True, timeout=30, check=False)

    def ctl(self, *arguments: str, given: str | None = None, seconds: float = 30) -> subprocess.CompletedProcess[str]:
        """Without --socket: weirctl's own default."""
        return self.inside(weirctl_binary(), *arguments)

    def serves(self) -> bool:
        return wait_until(lambda: bool(curl(self.lab, URL)), 10)


def test_defaults(lab: Lab, servers: WebServers, tmp_path: Path) -> None:
    assert "control" not in PlainWeir(lab, tmp_path).config_file.read_text()
    with PlainWeir(lab, tmp_path) as weir:
        assert weir.serves(), weir.log()
        assert weir.inside("stat", "-c", "%F %a", "/run/weir/control.sock").stdout == "socket 660\n"
        assert weir.backends()["TestWeb01"]["weight"] == 1
        done = weir.ctl("backend", "weight", "web", "TestWeb01", "7")
        assert done.returncode == 0, done.stderr
        assert weir.backends()["TestWeb01"]["weight"] == 7
        kept = weir.inside("cat", "/var/lib/weir/changes.journal").stdout
        assert any("TestWeb01" in line and json.loads(line) for line in kept.splitlines() if line.startswith("{")), kept
        assert "weirctl will not find this weir" not in weir.log() and "will be refused" not in weir.log()


def test_no_state_directory(lab: Lab, servers: WebServers, tmp_path: Path) -> None:
    """What is in its way is a file: weir runs, says so, answers, and refuses changes."""
    with PlainWeir(lab, tmp_path, "touch /var/lib/weir") as weir:
        assert weir.serves(), weir.log()
        assert "/var/lib/weir" in weir.log() and "; run-time changes will be refused" in weir.log()
        assert weir.backends()["TestWeb01"]["weight"] == 1
        refused = weir.ctl("backend", "weight", "web", "TestWeb01", "7")
        assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1, refused.stderr
        assert "run-time changes cannot be kept: " in refused.stderr and "/var/lib/weir" in refused.stderr
        assert weir.backends()["TestWeb01"]["weight"] == 1
        reloaded = weir.ctl("reload")
        assert reloaded.returncode == 0 and "in force in every worker" in reloaded.stdout, reloaded.stderr
        assert weir.stop() == 0, weir.log()


def test_no_socket(lab: Lab, servers: WebServers, tmp_path: Path) -> None:
    """A directory has its name: weir runs and serves, and weirctl does not find it."""
    with PlainWeir(lab, tmp_path, "mkdir -p /run/weir/control.sock/taken") as weir:
        assert weir.serves(), weir.log()
        assert "/run/weir/control.sock" in weir.log() and "; weirctl will not find this weir" in weir.log()
        missed = weir.ctl("version")
        assert missed.returncode == 1 and "/run/weir/control.sock" in missed.stderr, missed.stderr
        assert weir.reload(weir.config_file.read_text()), weir.log()
        assert weir.stop() == 0, weir.log()


def test_state_directory_of_another_weir(lab: Lab, servers: WebServers, tmp_path: Path) -> None:
    """It is locked, as by a weir that runs: neither that one's changes nor its states of health are touched."""
    files = "echo theirs > /var/lib/weir/health.json && echo theirs > /var/lib/weir/changes.journal"
    lock = "exec 9< /var/lib/weir && flock --nonblock 9"
    with PlainWeir(lab, tmp_path, f"mkdir /var/lib/weir && {files} && {lock}") as weir:
        assert weir.serves(), weir.log()
        assert "/var/lib/weir: another weir has this state directory" in weir.log()
        assert "run-time changes cannot be kept: " in weir.ctl("backend", "weight", "web", "TestWeb01", "7").stderr
        # Who looks from this mount namespace outlives weir, which saves what it knows when it stops.
        looks = subprocess.Popen(["nsenter", "--target", str(weir.pid()), "--mount", "sh", "-c",
                                  "read _; cat /var/lib/weir/*"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)
        assert weir.stop() == 0, weir.log()
        assert looks.communicate("\n", timeout=10)[0] == "theirs\ntheirs\n"
