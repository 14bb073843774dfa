"""weirctl and the control socket: changes under load, over crashes and reloads; clients that mean no good."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lab.built import weirctl_binary
from lab.load import Wrk
from lab.scenarios import VIP4
from lab.servers import WebServers
from lab.shell import end, in_namespace, wait_until
from lab.topology import Lab
from lab.weir import Weir, config_text
from life_test import assert_told, run_weir

URL = f"http://{VIP4}/"


def connect(weir: Weir, seconds: float = 10) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(seconds)
    client.connect(str(weir.socket))
    return client


def request(command: str, **arguments: Any) -> bytes:
    return json.dumps({"version": 1, "command": command, "arguments": arguments}).encode() + b"\n"


def added(name: str, address: str, pool: str = "web6") -> dict[str, Any]:
    return {"change": "add", "pool": pool, "name": name, "address": address}


def weight_in_file(text: str, address: str, weight: int) -> str:
    before = f'address = "{address}"; port = 80; weight = 1;'
    assert before in text
    return text.replace(before, before.replace("weight = 1", f"weight = {weight}"))


def test_changes_under_load_fail_no_request(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path) -> None:
    second = servers.by_name["TestWeb02"]
    with Wrk(lab, tmp_path, URL, seconds=60, connections=4) as wrk:
        time.sleep(1)
        for leave, come in ((("drain",), ("enable",)), (("weight", "0"), ("weight", "1")),
                            (("remove",), ("add", "10.1.0.12:80"))):
            done = weir.ctl("backend", leave[0], "web", "TestWeb02", *leave[1:])
            assert done.returncode == 0, done.stderr
            time.sleep(0.3)  # SYNs that were on their way
            before = second.connections()
            time.sleep(1)
            assert second.connections() == before, f"a new flow after {leave}"
            done = weir.ctl("backend", come[0], "web", "TestWeb02", *come[1:])
            assert done.returncode == 0, done.stderr
            assert wait_until(lambda: second.connections() > before + 10, 5), f"no new flow after {come}"
        result = wrk.finish()
    assert result.failed == 0 and result.requests > 100, result.text
    assert not (weir.state_directory / "changes.journal").read_text().count('"added"'), "back to what the file says"


def test_states_of_a_drained_backend(weir: Weir) -> None:
    assert weir.backends()["TestWeb02"]["state"] == "unavailable"
    assert weir.ctl("backend", "drain", "web", "TestWeb02").returncode == 0
    assert wait_until(lambda: weir.backends()["TestWeb02"]["state"] == "unused", 20)
    assert weir.backends()["TestWeb02"]["reason"] == "Target.InvalidState"
    assert "weirctl backend enable" in weir.ctl("show", "backends").stdout
    refused = weir.ctl("backend", "add", "web", "TestWeb02", "10.1.0.12:80")
    assert refused.returncode == 1 and "weirctl backend enable web TestWeb02" in refused.stderr
    assert weir.ctl("backend", "enable", "web", "TestWeb02").returncode == 0
    assert weir.backends()["TestWeb02"]["state"] == "unavailable"


def test_remove_now_cuts_known_flows(lab: Lab, weir: Weir, servers: WebServers, tmp_path: Path) -> None:
    second = servers.by_name["TestWeb02"]
    assert weir.ctl("backend", "weight", "web", "TestWeb01", "0").returncode == 0
    download = subprocess.Popen(in_namespace(lab.namespace("client"), [
        "curl", "-sS", "--max-time", "30", "-o", str(tmp_path / "slow"), URL + "slow"]), stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: second.established() > 0, 5)
        assert weir.ctl("backend", "remove", "web", "TestWeb02").returncode == 0
        assert weir.backends()["TestWeb02"]["state"] == "draining"
        time.sleep(0.5)
        assert download.poll() is None, "a known flow goes on"
        before = weir.metrics().sum("backend_packets_total", pool="web", backend="TestWeb02")
        assert before > 0
        assert weir.ctl("backend", "remove", "web", "TestWeb02", "--now").returncode == 0
        frames = lab.counted("TestWeb02", "eth0", "rx_packets")
        assert "TestWeb02" not in weir.backends()
        time.sleep(1)
        # ARP and the like; a download that goes on is hundreds of acknowledgements a second
        assert lab.counted("TestWeb02", "eth0", "rx_packets") - frames < 20
    finally:
        end(download)
    assert weir.ctl("backend", "add", "web", "TestWeb02", "10.1.0.12:80").returncode == 0
    assert weir.ctl("backend", "weight", "web", "TestWeb01", "1").returncode == 0
    assert lab.succeeds("client", "curl", "-s", "--max-time", "5", URL)


def test_reload_after_changes(lab: Lab, weir: Weir) -> None:
    """Kept while the file's value is what it was; dropped with a warning once it is another."""
    text = config_text(lab.network)
    for arguments in (("weight", "web", "TestWeb01", "5"), ("drain", "web", "TestWeb02"),
                      ("remove", "web6", "TestWeb02"), ("add", "web6", "extra", "fd00:1::99")):
        assert weir.ctl("backend", *arguments).returncode == 0
    assert weir.reload(text), weir.log()
    assert weir.backends()["TestWeb01"]["weight"] == 5 and "TestWeb02" not in weir.backends("web6")
    before = weir.log().count("is dropped")
    assert weir.reload(weight_in_file(text, "10.1.0.11", 3)), weir.log()
    assert weir.log().count("is dropped") == before + 1
    assert 'backend "TestWeb01": its run-time change (weight 5) is dropped' in weir.log()
    assert weir.backends()["TestWeb01"]["weight"] == 3
    assert {"TestWeb01", "extra"} <= weir.backends("web6").keys(), "the others are kept"
    # the same by weirctl, after a look
    weir.config_file.write_text(weir.controlled(weight_in_file(text, "fd00:1::12", 2)))
    dry = weir.ctl("reload", "--dry-run")
    assert dry.returncode == 0 and "TestWeb01: weight 3 -> 1" in dry.stdout and "is dropped" in dry.stdout, dry.stdout
    assert weir.backends()["TestWeb01"]["weight"] == 3
    done = weir.ctl("reload")
    assert done.returncode == 0 and "in force in every worker" in done.stdout, done.stderr
    assert weir.backends("web6")["TestWeb02"]["weight"] == 2
    weir.config_file.write_text(weir.controlled(text.replace("weight = 1;", "weight = 1001; colour = 1;")))
    refused = weir.ctl("reload")
    assert refused.returncode == 1
    assert refused.stderr.count("allowed: 0 to 1,000") == 4 and refused.stderr.count("colour") == 4, refused.stderr
    assert weir.reload(text), weir.log()
    for arguments in (("enable", "web", "TestWeb02"), ("remove", "web6", "extra")):
        assert weir.ctl("backend", *arguments).returncode == 0
    assert weir.ctl("reload").returncode == 0


def test_a_thousand_in_one_batch(weir: Weir) -> None:
    before = weir.asked("show", "workers")[0]["generation"]
    begun = time.monotonic()
    done = weir.ctl("batch", given="".join(f"add web6 b{n} fd00:1::1:{n:x} weight 2\n" for n in range(1000)))
    took = time.monotonic() - begun
    assert done.returncode == 0 and "1000 backends changed" in done.stdout, done.stderr
    assert took < 5, f"{took:.1f} s"
    assert len(weir.backends("web6")) == 1002
    assert weir.asked("show", "workers")[0]["generation"] - before < 10, "one snapshot, and what the kernel added"
    done = weir.ctl("batch", given="".join(f"remove web6 b{n}\n" for n in range(999)) + "remove web6 nobody\n")
    assert done.returncode == 1 and "change 1000 of 1000" in done.stderr, done.stderr
    assert len(weir.backends("web6")) == 1002, "all or nothing"
    assert weir.ctl("batch", given="".join(f"remove web6 b{n} now\n" for n in range(1000))).returncode == 0
    assert len(weir.backends("web6")) == 2


def test_every_question_is_answered_in_both_forms(lab: Lab, weir: Weir) -> None:
    assert lab.succeeds("client", "curl", "-s", "--max-time", "5", URL)
    for what in ("services", "pools", "backends", "flows", "workers", "ports", "drops"):
        assert weir.asked("show", what)
        assert weir.ctl("show", what).stdout.strip()
    assert set(weir.asked("show", "backends")[0]) == {
        "pool", "name", "address", "port", "zone", "weight", "state", "reason", "description", "since", "active_flows"}
    assert weir.ctl("version").stdout.startswith("weir ")
    explained = weir.asked("explain", "--proto", "tcp", "--from", "198.51.100.7:4242", "--to", f"{VIP4}:80")
    assert explained["verdict"] == "forward" and explained["pool"] == "web"
    assert "backend   TestWeb0" in weir.ctl("explain", "--proto", "tcp", "--from", "198.51.100.7:4242", "--to",
                                            f"{VIP4}:80").stdout
    done = weir.ctl("check", str(weir.config_file))
    assert done.returncode == 0 and "in order" in done.stdout, done.stderr


def test_mistakes_are_told_in_one_line(weir: Weir) -> None:
    for arguments, words in ((("backend", "add", "wbe", "x", "10.1.0.13"), "weirctl show pools lists them"),
                             (("backend", "add", "web", "x", "10.1.0"), "allowed: ADDRESS"),
                             (("backend", "add", "web", "x", "10.1.0.2"), "is weir's own"),
                             (("backend", "add", "web", "x", VIP4), "packets would come back to weir"),
                             (("backend", "weight", "web", "nobody", "3"), "weirctl show backends lists them"),
                             (("check", "/nonexistent"), "/nonexistent"),
                             (("explain", "--proto", "tcp", "--from", "x", "--to", "y"), "write ADDRESS:PORT")):
        done = weir.ctl(*arguments)
        assert done.returncode == 1 and words in done.stderr, f"{arguments}: {done.returncode} {done.stderr}"
        assert len(done.stderr.splitlines()) == 1, done.stderr
    nobody = subprocess.run([weirctl_binary(), "--socket", "/nonexistent", "version"], capture_output=True, text=True,
                            check=False)
    assert nobody.returncode == 1 and "there is no such socket: start weir" in nobody.stderr


def test_another_user_is_refused(weir: Weir) -> None:
    assert weir.socket.stat().st_mode & 0o777 == 0o660
    with opened_folders(weir.socket.parent):
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", weirctl_binary(),
                               "--socket", str(weir.socket), "version"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "member of the socket's group" in done.stderr, done.stderr


@contextmanager
def opened_folders(folder: Path) -> Iterator[None]:
    """Everybody may go through pytest's folders, so that the socket's own mode is what refuses."""
    modes = [(one, one.stat().st_mode) for one in (folder, folder.parent, folder.parent.parent)]
    try:
        for one, mode in modes:
            one.chmod(mode | 0o011)
        yield
    finally:
        for one, mode in modes:
            one.chmod(mode & 0o7777)


def test_hostile_clients_hold_up_nobody(weir: Weir) -> None:
    chaos = random.Random(7)
    clients = [connect(weir) for _ in range(100)]
    try:
        for number, client in enumerate(clients):
            half = request("change", changes=[added("x", "fd00:1::77")])[:-5]
            client.setblocking(False)
            try:
                client.send((b"", half, b"GET / HTTP/1.1\r\n\r\n", chaos.randbytes(3000))[number % 4])
            except OSError:
                pass  # it has made room for another
        took = []
        for _ in range(21):
            begun = time.monotonic()
            assert weir.asked("show", "workers")
            took.append(time.monotonic() - begun)
        assert sorted(took)[10] < 1 and max(took) < 5, took  # a busy machine may stop anybody once
        files = len(os.listdir(f"/proc/{weir.process.pid}/fd"))  # type: ignore[union-attr]
        assert files < 200
    finally:
        for client in clients:
            client.close()
    assert "x" not in weir.backends("web6"), "half a request"
    assert not weir.ended()


def test_many_clients_at_once(weir: Weir) -> None:
    """Their changes are taken one after the other; none is lost and none waits for ever."""
    failures: list[str] = []

    def register(number: int) -> None:
        for turn in range(5):
            with closing(connect(weir, 20)) as client, client.makefile("rwb") as stream:
                for change in (added(f"c{number}", f"fd00:1::2:{number:x}"),
                               {"change": "remove", "pool": "web6", "name": f"c{number}", "now": True}):
                    stream.write(request("change", changes=[change]))
                    stream.flush()
                    if not json.loads(stream.readline())["ok"]:
                        failures.append(f"{number}, turn {turn}")
    threads = [threading.Thread(target=register, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures and not any(thread.is_alive() for thread in threads)
    assert weir.backends("web6").keys() == {"TestWeb01", "TestWeb02"}


def test_second_weir_is_refused_and_the_first_unharmed(lab: Lab, weir: Weir, tmp_path: Path) -> None:
    file = tmp_path / "second.cfg"
    file.write_text(weir.config_file.read_text())
    assert_told(run_weir(lab, "run", "-c", str(file)), {1}, str(weir.socket), "another weir")
    file.write_text(file.read_text().replace(str(weir.socket), str(tmp_path / "own.sock")))
    assert_told(run_weir(lab, "run", "-c", str(file)), {1}, str(weir.state_directory), "another weir")
    assert weir.asked("show", "workers")
    assert lab.succeeds("client", "curl", "-s", "--max-time", "5", URL)
