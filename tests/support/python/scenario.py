"""A replay scenario: packets in, what each must become, and the files that record both.

A scenario is a folder with a make_packets.py that has a docstring (what it shows), optionally CONFIG, and

    def make(s: Scenario) -> None: ...

which tells the story packet by packet: s.forwarded(frame, becomes=...), s.answered(...), s.punted(class, ...),
s.dropped(reason, ...).
From it come in.pcap, expect.pcap (when every output is known) and expect.json (counts by verdict).
"""
from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

from support.python.pcap_file import Record, write_pcap

REPLAY = Path(__file__).resolve().parents[2] / "replay"
START = 1_700_000_000 * 10**9
COMMIT_UP_TO = 64 * 1024  # bytes of a capture that goes into git


class Scenario:
    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        self.config = (folder / config).resolve()
        self.now = START
        self.received: dict[str, list[Record]] = {}
        self.expected: dict[str, list[Record]] = {}
        self.verdicts: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.punts: Counter[str] = Counter()  # by class
        self.down: list[str] = []
        self.new_flows: dict[str, int] = {}
        self.outputs_known = True

    # --- the story -------------------------------------------------------------------------------------

    def forwarded(self, frame: Any, becomes: Any = None, port: str = "edge", out: str = "edge") -> None:
        """`becomes` is the whole frame that leaves; without it the oracle alone judges the output."""
        self._arrive("forwarded", frame, port, becomes, out)

    def answered(self, frame: Any, becomes: Any = None, port: str = "edge") -> None:
        self._arrive("answered", frame, port, becomes, port)

    def dropped(self, reason: str, frame: Any, port: str = "edge") -> None:
        self.drops[reason] += 1
        self._arrive("dropped", frame, port, None, port)

    def punted(self, punt_class: str, frame: Any, port: str = "edge") -> None:
        self.punts[punt_class] += 1
        self._arrive("punted", frame, port, None, port)

    def wait(self, seconds: float) -> None:
        """The next packet arrives this much later than the last one."""
        self.now += round(seconds * 10**9)

    def _arrive(self, verdict: str, frame: Any, port: str, becomes: Any, out: str) -> None:
        self.now += 10_000  # 10 us: every packet has a time of its own
        self.verdicts[verdict] += 1
        self.received.setdefault(port, []).append(Record(self.now, bytes(frame)))
        if becomes is not None:
            self.expected.setdefault(out, []).append(Record(self.now, bytes(becomes)))
        elif verdict not in ("dropped", "punted"):
            self.outputs_known = False

    # --- the files -------------------------------------------------------------------------------------

    def expectation(self) -> dict[str, Any]:
        expectation: dict[str, Any] = {"packets": sum(self.verdicts.values())}
        expectation |= {verdict: self.verdicts[verdict] for verdict in ("forwarded", "answered")}
        if self.punts:
            expectation["punted"] = dict(sorted(self.punts.items()))
        expectation["dropped"] = dict(sorted(self.drops.items()))
        if self.new_flows:
            expectation["new_flows"] = self.new_flows
        if self.down:
            expectation["down"] = self.down
        return expectation

    def captures(self) -> dict[str, list[Record]]:
        """File name -> records: what is received, and what must be sent if that is known."""
        single = list(self.received) == ["edge"]
        files = {("in.pcap" if single else f"in-{port}.pcap"): r for port, r in self.received.items()}
        if self.outputs_known:
            files |= {("expect.pcap" if single else f"expect-{port}.pcap"): r for port, r in self.expected.items()}
        return files

    def write(self, folder: Path) -> None:
        for name, records in self.captures().items():
            write_pcap(folder / name, records)
        (folder / "expect.json").write_text(expectation_text(self.expectation()))

    @property
    def is_small(self) -> bool:
        return all(sum(16 + len(r.frame) for r in records) <= COMMIT_UP_TO for records in self.captures().values())


def expectation_text(expectation: dict[str, Any]) -> str:
    return json.dumps(expectation, indent=2) + "\n"


def scenario_names() -> list[str]:
    return sorted(path.parent.name for path in REPLAY.glob("*/make_packets.py"))


def load_scenario(name: str) -> tuple[Scenario, str]:
    """Runs a scenario's make(); returns it with the first line of its description."""
    folder = REPLAY / name
    spec = importlib.util.spec_from_file_location(f"scenario_{name}", folder / "make_packets.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scenario = Scenario(folder, getattr(module, "CONFIG", "../configs/one_arm.cfg"))
    module.make(scenario)
    return scenario, (module.__doc__ or "").strip().splitlines()[0]
