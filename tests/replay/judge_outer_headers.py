#!/usr/bin/python3
"""tshark as a second judge of what $WEIR sends: outer headers of each mode and family, checksums verified.

The scenarios' packets go through weir; tshark dissects input and output; fields of the outer headers are
compared with those of the packet inside as tshark sees it. Nothing of the oracle takes part.
"""
from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.python.pcap_file import Record, read_pcap, write_pcap  # noqa: E402
from support.python.scenario import load_scenario  # noqa: E402
from support.python.weir_replay import replay  # noqa: E402

# Scenario -> outer family (0: dsr), mode
SCENARIOS = {f"{mode}_{inner}in{outer}": (outer, mode) for mode in ("ipip", "gue") for inner in (4, 6) for outer in (4, 6)}
SCENARIOS |= {"dsr_v4": (0, "dsr"), "dsr_v6": (0, "dsr")}
FIELDS = ("ip.proto", "ip.len", "ip.ttl", "ip.dsfield", "ip.flags.df", "ip.id", "ip.checksum.status", "ip.src", "ip.dst",
          "ipv6.nxt", "ipv6.plen", "ipv6.hlim", "ipv6.tclass", "ipv6.src", "ipv6.dst",
          "udp.srcport", "udp.dstport", "udp.length", "udp.checksum.status", "eth.src", "eth.dst")
BAD, GOOD, NOT_PRESENT = "0", "1", "3"  # tshark's words for checksums
Dissection = dict[str, str]


def dissect(capture: Path) -> list[Dissection]:
    """The outermost occurrence of each field, frame by frame."""
    command = ["tshark", "-r", str(capture), "-n", "-T", "fields", "-E", "occurrence=f", "-E", "separator=/t",
               "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    for field in FIELDS:
        command += ["-e", field]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [dict(zip(FIELDS, line.split("\t"))) for line in lines]


def number(text: str) -> int:
    return int(text, 0) if text else 0


def outer_problems(before: Dissection, after: Dissection, outer: int, mode: str) -> list[str]:
    inner_is_v4 = bool(before["ip.len"])
    inner_length = number(before["ip.len"]) if inner_is_v4 else 40 + number(before["ipv6.plen"])
    tos = before["ip.dsfield"] if inner_is_v4 else before["ipv6.tclass"]
    wanted: dict[str, object] = {"eth.src": "02:00:00:00:00:01", "eth.dst": "02:00:00:00:01:11"}
    if mode == "dsr":
        wanted |= {field: before[field] for field in FIELDS if not field.startswith("eth.")}
        return [f"{field} is {after[field]}, not {want}" for field, want in wanted.items() if after[field] != want]
    protocol = 17 if mode == "gue" else 4 if inner_is_v4 else 41
    payload = inner_length + (12 if mode == "gue" else 0)
    if outer == 4:
        keeps_id = inner_is_v4 and before["ip.flags.df"] != "1"
        wanted |= {"ip.proto": protocol, "ip.len": payload + 20, "ip.ttl": 64, "ip.dsfield": number(tos),
                   "ip.flags.df": 0 if keeps_id else 1, "ip.id": number(before["ip.id"]) if keeps_id else 0,
                   "ip.checksum.status": GOOD, "ip.src": "10.1.0.2", "ip.dst": "10.1.0.11"}
    else:
        wanted |= {"ipv6.nxt": protocol, "ipv6.plen": payload, "ipv6.hlim": 64, "ipv6.tclass": number(tos),
                   "ipv6.src": "fd00:1::2", "ipv6.dst": "fd00:1::11"}
    if mode == "gue":
        wanted |= {"udp.dstport": 6080, "udp.length": payload}
        if outer == 4:
            wanted["udp.checksum.status"] = NOT_PRESENT
        elif before["udp.checksum.status"] != BAD:  # weir derives the outer checksum from the inner one
            wanted["udp.checksum.status"] = GOOD
    return [f"{field} is {after[field]}, not {want}" for field, want in wanted.items()
            if (number(after[field]) if isinstance(want, int) else after[field]) != want]


def main() -> int:
    received: list[Record] = []
    sent: list[Record] = []
    kinds: list[str] = []
    with tempfile.TemporaryDirectory(prefix="weir-tshark-") as temporary:
        folder = Path(temporary)
        for name in SCENARIOS:
            scenario, _ = load_scenario(name)
            capture = folder / "in.pcap"
            write_pcap(capture, scenario.received["edge"])
            replayed = replay(scenario.config, {"edge": capture}, ["edge"], folder, name)
            outputs = read_pcap(replayed.outputs["edge"])
            if len(outputs) != len(scenario.received["edge"]):
                print(f"FAIL {name}: {len(outputs)} outputs for {len(scenario.received['edge'])} packets")
                return 1
            received += scenario.received["edge"]
            sent += outputs
            kinds += [name] * len(outputs)
        write_pcap(folder / "before.pcap", received)
        write_pcap(folder / "after.pcap", sent)
        before, after = dissect(folder / "before.pcap"), dissect(folder / "after.pcap")
    failed: dict[str, list[str]] = {}
    for kind, one, other in zip(kinds, before, after, strict=True):
        for problem in outer_problems(one, other, *SCENARIOS[kind]):
            failed.setdefault(kind, []).append(problem)
    for name in SCENARIOS:
        print(("FAIL " if name in failed else "PASS ") + f"{name} by tshark", *failed.get(name, [])[:5], sep="\n     ")
    print(f"{len(SCENARIOS) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
