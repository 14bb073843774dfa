"""Runs programs, here or in a network namespace, and ends exactly those that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from types import FrameType


class CommandFailed(RuntimeError):
    """A program that had to succeed did not; the message holds what it said."""


def run(*command: str, check: bool = True, timeout: float = 60, stdin: str | None = None) -> str:
    """Runs a program to its end and returns what it wrote to stdout."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def in_namespace(namespace: str, command: Sequence[str]) -> list[str]:
    return ["ip", "netns", "exec", namespace, *command]


def start(command: Sequence[str], log: str) -> subprocess.Popen[bytes]:
    """Starts a program in a process group of its own (a Ctrl-C is ours to pass on); its output goes to `log`."""
    with open(log, "ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                start_new_session=True)


def end(process: subprocess.Popen[bytes], patience: float = 5, first: signal.Signals = signal.SIGTERM) -> int:
    """Ends a program that we started: `first`, then SIGKILL. Returns its exit code."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def wait_until(condition: Callable[[], bool], seconds: float, step: float = 0.05) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(step)
    return True


def raise_on_signals() -> None:
    """SIGTERM and SIGHUP unwind the stack like Ctrl-C does, so that every `finally` cleans up; a second signal
    must not cut that short."""
    def interrupt(number: int, _frame: FrameType | None) -> None:
        for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def need_root() -> str | None:
    """None, or the sentence that says why the lab cannot run here."""
    if os.geteuid() != 0:
        return "needs root: network namespaces and raw sockets (run it with sudo)"
    return None
