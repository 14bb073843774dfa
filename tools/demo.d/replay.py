#!/usr/bin/python3
"""The demo's second part, without root: a capture goes through weir in ipip mode; where did each flow go?

    replay.py WEIR       WEIR is the program; captures and the report are written to a directory that is removed
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet
from scapy.utils import rdpcap

HERE = Path(__file__).resolve().parent
NAMES = {"10.1.0.11": "TestWeb01", "10.1.0.12": "TestWeb02", "10.2.0.13": "TestWeb03"}


def flow_of(inner: Packet) -> str:
    l4 = inner[TCP] if TCP in inner else inner[UDP]
    return f"{'tcp' if TCP in inner else 'udp'} {inner.src}:{l4.sport} -> {inner.dst}:{l4.dport}"


def print_flows(capture: Path) -> None:
    """Each tunnelled flow of the output with its outer destination."""
    flows: dict[str, Counter[str]] = {}
    for packet in rdpcap(str(capture)):
        if IP in packet and packet[IP].proto == 4:
            outer = packet[IP]
            flows.setdefault(flow_of(outer.payload), Counter())[outer.dst] += 1
    print(f"  {'flow':46} {'packets':>7}  backend")
    for flow, backends in sorted(flows.items()):
        where = ", ".join(f"{NAMES.get(address, '?')} ({address})" for address in backends)
        print(f"  {flow:46} {sum(backends.values()):>7}  {where}")
    if not flows:
        raise SystemExit("no tunnelled packet in the output")
    if any(len(backends) > 1 for backends in flows.values()):
        raise SystemExit("a flow was split over backends")


def unaccounted(report: dict) -> int:  # type: ignore[type-arg]
    verdicts = sum(report[verdict] for verdict in ("forwarded", "answered", "punted"))
    return int(report["received"] - verdicts - sum(report["dropped"].values()))


def print_report(report: dict) -> int:  # type: ignore[type-arg]
    print("  " + ", ".join(f"{report[verdict]} {verdict}" for verdict in
                           ("received", "forwarded", "answered", "punted", "originated")))
    reasons = {reason: count for reason, count in report["dropped"].items() if count}
    print("  dropped: " + (", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())) or "none"))
    print(f"  {unaccounted(report)} unaccounted")
    return unaccounted(report)


def replay(weir: str, directory: Path) -> tuple[bytes, dict]:  # type: ignore[type-arg]
    command = [weir, "replay", "-c", str(HERE / "ipip.cfg"), "--in", f"edge={directory / 'in.pcap'}",
               "--out", f"edge={directory / 'out.pcap'}", "--report", str(directory / "r.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise SystemExit(f"weir replay: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return (directory / "out.pcap").read_bytes(), json.loads((directory / "r.json").read_text())


def main() -> int:
    user = pwd.getpwuid(os.geteuid()).pw_name
    print(f"\na capture through ipip, as user {user}: no root, no hugepages, no NIC")
    with tempfile.TemporaryDirectory(prefix="weir-replay-") as name:
        directory = Path(name)
        subprocess.run(["/usr/bin/python3", str(HERE / "make_capture.py"), str(directory / "in.pcap")], check=True)
        first, report = replay(sys.argv[1], directory)
        print_flows(directory / "out.pcap")
        lost = print_report(report)
        same = replay(sys.argv[1], directory)[0] == first
        print(f"  a second run is {'byte-identical' if same else 'DIFFERENT'}")
    return 0 if same and lost == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
