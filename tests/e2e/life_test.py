"""How weir starts, fails to start, and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.built import weir_binary
from lab.load import Wrk
from lab.scenarios import VIP4, one_arm
from lab.servers import WebServers
from lab.shell import end, in_namespace, start, wait_until
from lab.topology import Lab
from lab.weir import Weir, config_text

GOOD = config_text(one_arm())


def run_weir(lab: Lab, *arguments: str) -> tuple[int, str]:
    """weir in its namespace until it ends by itself, which a start error must bring about at once."""
    done = subprocess.run(in_namespace(lab.namespace("weir"), [weir_binary(), *arguments]), capture_output=True,
                          text=True, timeout=20, check=False)
    return done.returncode, done.stdout + done.stderr


def assert_told(said: tuple[int, str], codes: set[int], *words: str) -> None:
    """An exit code of the contract, and a sentence that has these words in one line."""
    code, text = said
    assert code in codes, f"exit code {code}:\n{text}"
    assert any(all(word in line for word in words) for line in text.splitlines()), f"no line with {words}:\n{text}"
    assert "terminate called" not in text and "PANIC" not in text


def test_missing_config_file(lab: Lab, tmp_path: Path) -> None:
    assert_told(run_weir(lab, "run", "-c", str(tmp_path / "absent.cfg")), {1}, "absent.cfg")


def test_bad_config_names_file_and_line(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "weir.cfg"
    file.write_text(GOOD.replace("workers = 1;", "workers = 0;"))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "workers = 0" in text)
    assert_told(run_weir(lab, "run", "-c", str(file)), {1}, f"{file}:{line}: ", "workers")


@pytest.mark.parametrize(("device", "words"), [
    ("net_af_packet0,iface=nosuch0", ["nosuch0"]),
    ("net_nonsense0", ["net_nonsense0"]),
    ("0000:ff:1f.7", ["0000:ff:1f.7"]),
])
def test_device_that_is_not_there(lab: Lab, tmp_path: Path, device: str, words: list[str]) -> None:
    file = tmp_path / "weir.cfg"
    file.write_text(GOOD.replace("net_af_packet0,iface=edge", device))
    assert_told(run_weir(lab, "run", "-c", str(file)), {1, 2}, *words)


def test_metrics_port_in_use(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "weir.cfg"
    file.write_text(GOOD)
    program = ("import socket, time; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); "
               "s.bind(('127.0.0.1', 9101)); s.listen(); time.sleep(60)")
    holder = start(in_namespace(lab.namespace("weir"), [sys.executable, "-c", program]), str(tmp_path / "holder.log"))
    try:
        assert wait_until(lambda: "127.0.0.1:9101" in lab.execute("weir", "ss", "-Hltn"), 5)
        assert_told(run_weir(lab, "run", "-c", str(file)), {1, 2}, "9101")
    finally:
        end(holder)


def test_unknown_subcommand_and_missing_option(lab: Lab) -> None:
    assert run_weir(lab, "rnu")[0] == 1
    assert run_weir(lab, "run")[0] == 1


def test_sigterm_ends_with_0(lab: Lab, tmp_path: Path) -> None:
    with Weir(lab, tmp_path) as weir:
        begun = time.monotonic()
        assert weir.stop() == 0, weir.log()
        assert time.monotonic() - begun < 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_while_it_starts_wait(lab: Lab, tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT stop it in good order, SIGHUP does not stop it."""
    file = tmp_path / "weir.cfg"
    file.write_text(GOOD)
    for after in (0.1, 0.15, 0.2):
        log = tmp_path / f"weir-{after}.log"
        process = start(in_namespace(lab.namespace("weir"), [weir_binary(), "run", "-c", str(file)]), str(log))
        try:
            # its first words: from here on it minds signals
            assert wait_until(lambda: "hash_key_file" in log.read_text(), 10, step=0.001)
            time.sleep(after - 0.1)
            process.send_signal(number)
            assert wait_until(lambda: "is running" in log.read_text(), 10), log.read_text()
            if number == signal.SIGHUP:
                assert wait_until(lambda: " compiled in " in log.read_text(), 5), log.read_text()
                process.terminate()
            assert process.wait(15) == 0, log.read_text()
        finally:
            end(process)


def test_closed_standard_streams(lab: Lab, tmp_path: Path) -> None:
    """What weir says must not go into the files that it opens."""
    file = tmp_path / "weir.cfg"
    file.write_text(GOOD)
    process = start(in_namespace(lab.namespace("weir"), ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", weir_binary(),
                                                         "run", "-c", str(file)]), str(tmp_path / "log"))
    try:
        assert wait_until(lambda: "127.0.0.1:9101" in lab.execute("weir", "ss", "-Hltn"), 20)
        for stream in (0, 1, 2):
            # by device, not by name: in a chroot the kernel tells the name from outside
            assert os.stat(f"/proc/{process.pid}/fd/{stream}").st_rdev == os.stat("/dev/null").st_rdev
    finally:
        code = end(process, patience=15)
    assert code == 0


def test_log_that_nobody_reads(lab: Lab, tmp_path: Path) -> None:
    """A full pipe behind stderr costs lines, not the control core."""
    file = tmp_path / "weir.cfg"
    file.write_text(GOOD)
    process = subprocess.Popen(in_namespace(lab.namespace("weir"), [weir_binary(), "run", "-c", str(file)]),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert wait_until(lambda: "127.0.0.1:9101" in lab.execute("weir", "ss", "-Hltn"), 20)
        for _ in range(1500):  # a line or two each; a pipe holds 64 KiB
            process.send_signal(signal.SIGHUP)
            time.sleep(0.002)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        end(process)
        assert process.stderr is not None
        process.stderr.close()


def test_too_few_files_may_be_opened(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "weir.cfg"
    file.write_text(GOOD)
    said = subprocess.run(["sh", "-c", 'ulimit -n 20; exec "$@"', "sh", weir_binary(), "run", "-c", str(file)],
                          capture_output=True, text=True, timeout=20, check=False)
    assert_told((said.returncode, said.stderr), {2}, "may open 20 files", "LimitNOFILE")


def test_link_that_goes_down_is_told(lab: Lab, tmp_path: Path) -> None:
    with Weir(lab, tmp_path) as weir:
        for state, told, up in (("down", "port edge: interface edge is down", 0), ("up", "port edge serves again", 1)):
            lab.execute("weir", "ip", "link", "set", "edge", state)
            assert wait_until(lambda: told in weir.log(), 5), weir.log()
            assert wait_until(lambda: weir.metrics().sum("port_link_up") == up, 3)
        assert weir.stop() == 0, weir.log()


def test_sigterm_under_load_ends_with_0(lab: Lab, servers: WebServers, tmp_path: Path) -> None:
    with Weir(lab, tmp_path) as weir, Wrk(lab, tmp_path, f"http://{VIP4}/", seconds=10):
        time.sleep(1)
        assert weir.stop() == 0, weir.log()


def test_restart_at_once_works(lab: Lab, servers: WebServers, tmp_path: Path) -> None:
    for _ in range(3):
        with Weir(lab, tmp_path) as weir:
            assert lab.succeeds("client", "curl", "-s", "--max-time", "5", f"http://{VIP4}/"), weir.log()
            assert weir.stop() == 0


def test_notify_socket_hears_ready(lab: Lab, tmp_path: Path) -> None:
    """Type=notify: READY=1 comes when weir forwards, not before."""
    file = tmp_path / "weir.cfg"
    file.write_text(GOOD)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(20)
        process = start(in_namespace(lab.namespace("weir"), ["env", f"NOTIFY_SOCKET={tmp_path / 'notify'}",
                                                             weir_binary(), "run", "-c", str(file)]),
                        str(tmp_path / "weir.log"))
        try:
            words = notify.recv(4096).decode()
            while "READY=1" not in words:
                words += notify.recv(4096).decode()
        finally:
            code = end(process, patience=15)
    assert code == 0, (tmp_path / "weir.log").read_text()
