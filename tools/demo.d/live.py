#!/usr/bin/python3
"""The demo's first part: real servers, real clients, weir between them over net_af_packet in dsr mode."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from lab.load import Wrk  # noqa: E402
from lab.proofs import prove_silence  # noqa: E402
from lab.scenarios import VIP4, VIP6  # noqa: E402
from lab.servers import WebServers  # noqa: E402
from lab.shell import end, in_namespace, need_root, raise_on_signals  # noqa: E402
from lab.topology import Lab  # noqa: E402
from lab.weir import Weir, config_text  # noqa: E402
from picture import Picture, accounts, bold, count, drops, green, heading, red  # noqa: E402

LOAD_SECONDS = 36
REMOVE_AT, ADD_AT = 9, 22
SETTLE = 1.0  # a SYN that was on its way when weir took the new configuration
LEAVER = "TestWeb02"


class Verdicts:
    """What the demo claims; it fails if one does not hold."""

    def __init__(self) -> None:
        self.all_true = True

    def claim(self, holds: bool, sentence: str) -> None:
        self.all_true &= holds
        print(f"  {green('yes') if holds else red('NO ')}  {sentence}", flush=True)


class Downloads:
    """Slow downloads that live through the reload: known flows."""

    def __init__(self, lab: Lab, directory: Path, number: int) -> None:
        self.files = [directory / f"download-{n}" for n in range(number)]
        self.processes = [subprocess.Popen(in_namespace(lab.namespace("client"), [
            "curl", "-s", "--max-time", "60", "-o", str(file), f"http://{VIP4}/slow"]), start_new_session=True)
            for file in self.files]

    def __enter__(self) -> "Downloads":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            end(process)

    def intact(self, sha256: str) -> int:
        """How many arrived whole; removes them."""
        good = 0
        for process, file in zip(self.processes, self.files):
            process.wait(60)
            with open(file, "rb") as content:
                good += hashlib.file_digest(content, "sha256").hexdigest() == sha256
            file.unlink()
        return good


def show_curl(lab: Lab) -> None:
    heading(f"curl http://{VIP4}/ eight times, then the IPv6 VIP, then ping")
    for url in [f"http://{VIP4}/"] * 8 + [f"http://[{VIP6}]/"] * 4:
        print(f"  {url} -> {lab.execute('client', 'curl', '-s', '--max-time', '5', url).strip()}", flush=True)
    for vip in (VIP4, VIP6):
        print("  " + lab.execute("client", "ping", "-c", "3", "-i", "0.2", vip).splitlines()[-1])


def show_load(lab: Lab, directory: Path, servers: WebServers, weir: Weir, verdicts: Verdicts) -> None:
    heading(f"wrk for {LOAD_SECONDS} s, a new connection for each request; meanwhile {LEAVER} leaves by SIGHUP and returns")
    picture, leaver = Picture(servers, weir), servers.by_name[LEAVER]
    note, during = f"both servers serve; {LEAVER} leaves at {REMOVE_AT} s", 0
    with Wrk(lab, directory, f"http://{VIP4}/", LOAD_SECONDS) as wrk, Downloads(lab, directory, 6) as downloads:
        begun, removed, added = time.monotonic(), None, False
        while wrk.running():
            elapsed = time.monotonic() - begun
            if removed is None and elapsed > REMOVE_AT:
                verdicts_note = weir.reload(config_text(lab.network, without=[LEAVER]))
                time.sleep(SETTLE)
                removed = leaver.connections()
                note = f"{LEAVER} is out ({'reloaded' if verdicts_note else 'REFUSED'}): its downloads go on"
            if removed is not None and not added and elapsed > ADD_AT:
                during = leaver.connections() - removed
                added = weir.reload(config_text(lab.network))
                note = f"{LEAVER} is back" if added else "the reload was REFUSED"
            picture.draw(note)
            time.sleep(1)
        result = wrk.result()
        intact = downloads.intact(servers.sha256)
    back = leaver.connections() - (removed or 0) - during
    print()
    verdicts.claim(result.failed == 0, f"{count(result.requests)} requests, {result.failed} failed")
    verdicts.claim(removed is not None and during == 0, f"new flows to {LEAVER} while it was out: {during}")
    verdicts.claim(intact == 6, f"{intact} of 6 downloads of 100 MB that were under way came through whole (SHA-256)")
    verdicts.claim(added and back > 0, f"new flows to {LEAVER} since it is back: {count(back)}")


def show_accounts(weir: Weir, verdicts: Verdicts) -> None:
    heading("every packet is accounted for")
    time.sleep(0.5)
    metrics = weir.metrics()
    print(f"  {accounts(metrics)}\n  dropped: {drops(metrics)}")
    verdicts.claim(metrics.unaccounted() == 0, f"{count(metrics.unaccounted())} unaccounted")
    verdicts.claim(weir.stop() == 0, "SIGTERM: weir ended with exit code 0")


def demonstrate(directory: Path) -> bool:
    verdicts = Verdicts()
    heading("a client, two web servers and weir's namespace on one segment")
    with Lab() as lab, WebServers(lab, directory, slow_rate="4m") as servers:
        for backend in lab.network.backends:
            print(f"  {backend.name}: {backend.address4}, {backend.address6}; VIPs on lo")
        heading("before weir runs: who answers for the VIPs?")
        for sentence in prove_silence(lab):
            print(f"  {sentence}", flush=True)
        with Weir(lab, directory) as weir:
            heading(f"weir runs: VIPs {VIP4} and {VIP6}, metrics at http://127.0.0.1:9101/metrics in its namespace")
            show_curl(lab)
            show_load(lab, directory, servers, weir, verdicts)
            show_accounts(weir, verdicts)
    return verdicts.all_true


def main() -> int:
    if reason := need_root():
        print(f"tools/demo: the live part {reason}", file=sys.stderr)
        return 1
    raise_on_signals()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weir-demo-") as name:
        try:
            good = demonstrate(Path(name))
        except KeyboardInterrupt:
            print("\ninterrupted; everything is taken down again")
            return 130
        except RuntimeError as error:
            print(f"\n{red('the demo failed')}: {error}", file=sys.stderr)
            return 1
    print(f"\n{bold('live part')}: {'all claims hold' if good else red('not every claim holds')}, "
          f"{time.monotonic() - begun:.0f} s, everything taken down")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
