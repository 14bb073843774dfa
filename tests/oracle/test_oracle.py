"""The oracle catches what it is for: right outputs pass, each kind of wrong output is named.

The outputs come from fake_weir.py, then a test spoils them. Expected frames are checked against scapy's too,
so that oracle and fake cannot be wrong together.
"""
from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.fake_weir import FakeWeir  # noqa: E402
from oracle.load_balancer import Arrival, LoadBalancer  # noqa: E402
from oracle.read_config import ConfigSyntax, read_config  # noqa: E402
from oracle.report import Report, report_of  # noqa: E402
from oracle.transport_rules import judge_frame  # noqa: E402
from oracle.world import World, load_world  # noqa: E402
from support.python.checksum import checksum, is_valid  # noqa: E402
from support.python.pcap_file import BadCapture, Record, read_pcap, write_pcap  # noqa: E402
from support.python.scenario import Scenario, load_scenario, scenario_names  # noqa: E402
from support.python.traffic import by_ipip, without_entropy  # noqa: E402
from support.python.weir_replay import arrivals_of  # noqa: E402

Outputs = list[Record]


class Run:
    """A scenario through the fake: what the oracle gets to see, open to spoiling."""

    def __init__(self, name: str) -> None:
        self.scenario: Scenario = load_scenario(name)[0]
        self.world: World = load_world(self.scenario.config, frozenset(self.scenario.down))
        self.arrivals: list[Arrival] = arrivals_of(self.scenario.received)
        fake = FakeWeir(self.world)
        fake.replay(self.arrivals)
        self.outputs: dict[str, Outputs] = fake.outputs
        self.report: Report = report_of(fake.report())

    def problems(self) -> list[str]:
        return LoadBalancer(self.world).judge(self.arrivals, self.outputs, self.report)

    def patch(self, number: int, offset: int, value: int) -> None:
        record = self.outputs["edge"][number]
        frame = bytearray(record.frame)
        frame[offset] ^= value
        self.outputs["edge"][number] = Record(record.time, bytes(frame))


@cache
def untouched(name: str) -> Run:
    return Run(name)


@pytest.mark.parametrize("name", scenario_names())
def test_right_outputs_pass(name: str) -> None:
    assert untouched(name).problems() == []


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_says_what_the_oracle_says(name: str) -> None:
    """The packets' annotations in make_packets.py and the oracle's parser are two opinions."""
    run = untouched(name)
    assert run.report.forwarded == run.scenario.verdicts["forwarded"]
    assert run.report.answered == run.scenario.verdicts["answered"]
    assert run.report.dropped == dict(run.scenario.drops)
    assert run.report.punted_by_class == dict(run.scenario.punts)


@pytest.mark.parametrize("name", scenario_names())
def test_expected_frames_are_scapys(name: str) -> None:
    run = untouched(name)
    if run.scenario.outputs_known:
        for port, records in run.outputs.items():
            expected = [without_entropy(record.frame) for record in run.scenario.expected.get(port, [])]
            assert [without_entropy(record.frame) for record in records] == expected


# Where to flip which bit of the first output, and what it stands for.
FLIPS = {
    "dsr_v4": {0: "destination MAC", 6: "source MAC", 22: "TTL", 36: "destination port", 50: "payload"},
    "ipip_4in4": {15: "outer TOS", 17: "outer length", 18: "outer id", 20: "outer DF", 22: "outer TTL",
                  23: "outer protocol", 24: "outer checksum", 29: "outer source", 33: "outer destination",
                  42: "inner TTL", 45: "inner checksum"},
    "ipip_6in6": {14: "version", 19: "payload length", 20: "next header", 21: "hop limit", 37: "source",
                  53: "destination", 61: "inner hop limit"},
    "gue_4in4": {34: "source port below 49152", 36: "destination port", 39: "UDP length", 41: "UDP checksum",
                 42: "GUE variant", 43: "GUE protocol", 44: "GUE flags", 50: "inner"},
    "gue_6in6": {60: "UDP checksum", 63: "GUE protocol"},
}


@pytest.mark.parametrize(("name", "offset"), [(name, offset) for name, flips in FLIPS.items() for offset in flips])
def test_wrong_byte_is_caught(name: str, offset: int) -> None:
    run = Run(name)
    run.patch(0, offset, 0x40)
    assert len(run.problems()) >= 1, FLIPS[name][offset]


def without_output(run: Run) -> None:
    del run.outputs["edge"][3]


def twice(run: Run) -> None:
    run.outputs["edge"].insert(3, run.outputs["edge"][3])


def out_of_order(run: Run) -> None:
    records = run.outputs["edge"]
    records[2], records[3] = records[3], records[2]


def wrong_time(run: Run) -> None:
    record = run.outputs["edge"][1]
    run.outputs["edge"][1] = Record(record.time + 1000, record.frame)


def entropy_changes(run: Run) -> None:
    """The second packet of the first flow gets another, also valid, GUE source port."""
    run.patch(1, 35, 0x01)


def originated(run: Run) -> None:
    run.outputs["edge"].append(Record(run.arrivals[-1].time + 5000, run.outputs["edge"][-1].frame))


def miscounted(run: Run) -> None:
    run.report = replace(run.report, forwarded=run.report.forwarded - 1, dropped={"ip_checksum": 1})


def lost_packet(run: Run) -> None:
    run.report = replace(run.report, received=run.report.received - 1)


def too_many_flows(run: Run) -> None:
    run.report = replace(run.report, new_flows={name: 99 for name in run.report.new_flows})


@pytest.mark.parametrize("spoil", [without_output, twice, out_of_order, wrong_time, entropy_changes, originated,
                                   miscounted, lost_packet, too_many_flows])
def test_wrong_run_is_caught(spoil: Callable[[Run], None]) -> None:
    run = Run("gue_4in4")
    spoil(run)
    assert run.problems() != []


def test_moved_flow_is_caught() -> None:
    """Every packet goes to a right backend, but one flow changes its mind."""
    run = Run("weights")
    outputs = run.outputs["edge"]
    arrivals = [arrival.frame[14:] for arrival in run.arrivals]
    again = next(number for number in range(12_000, len(outputs)) if arrivals[number] == arrivals[0])
    other = next(record.frame for record in outputs if record.frame[33] != outputs[0].frame[33])
    header = other[:24] + bytes(2) + other[26:34]
    header = header[:24] + checksum(header[14:]).to_bytes(2, "big") + header[26:]
    outputs[again] = Record(outputs[again].time, header + outputs[again].frame[34:])
    assert any("moved" in problem for problem in run.problems())


@pytest.mark.parametrize("name", ["zero", "five"])
def test_backend_out_of_service_is_caught(name: str) -> None:
    """Weight 0 and --down: the oracle refuses a frame that is right for them otherwise."""
    run = Run("weights")
    run.world = load_world(run.scenario.config, frozenset(["weighted/five"]))
    if name == "zero":
        run.patch(0, 33, 11 ^ 14)
    assert any("backend in service" in problem for problem in run.problems())


def sticky_run_with(number_of: Callable[[list[Arrival]], int], server: str, mac: str) -> list[str]:
    """What the oracle says of sticky_clients when one frame went to another server."""
    run = Run("sticky_clients")
    number = number_of(run.arrivals)
    frame = by_ipip(run.arrivals[number].frame, outer=4, server=server, mac=mac)
    run.outputs["edge"][number] = Record(run.arrivals[number].time, frame)
    return run.problems()


def test_client_that_leaves_its_backend_is_caught() -> None:
    def back(arrivals: list[Arrival]) -> int:
        """A new flow of a client that came while TestWeb01 was down, after its return."""
        return next(n for n, a in enumerate(arrivals)
                    if a.time - arrivals[0].time > 61e9 and a.frame[26:29] == bytes((198, 51, 100)))
    assert any("its client belongs to TestWeb02" in problem
               for problem in sticky_run_with(back, "10.1.0.11", "02:00:00:00:01:11"))


def test_backend_in_its_outage_is_caught() -> None:
    assert any("right for no backend in service" in problem
               for problem in sticky_run_with(lambda _: 0, "10.1.0.11", "02:00:00:00:01:11"))


def test_packets_left_in_rings_are_caught() -> None:
    run = Run("sticky_clients")
    run.report.in_flight = 1
    assert any("packets in flight is 1" in problem for problem in run.problems())


def test_uneven_shares_are_caught() -> None:
    run = Run("weights")
    for service in run.world.services:
        for backend, _ in service.targets:
            backend.weight = 1
    assert any("its weight asks for" in problem for problem in run.problems())


def test_encapsulated_padding_is_caught() -> None:
    run = Run("padding")
    number = next(n for n, record in enumerate(run.outputs["edge"]) if record.frame[23] == 4)
    frame = bytearray(run.outputs["edge"][number].frame) + bytes(5)
    frame[17] += 5
    frame[24:26] = bytes(2)
    frame[24:26] = checksum(bytes(frame[14:34])).to_bytes(2, "big")
    run.outputs["edge"][number] = Record(run.outputs["edge"][number].time, bytes(frame))
    assert any("byte 17" in problem for problem in run.problems())


def test_forwarded_malformed_is_caught() -> None:
    """A frame with a wrong checksum leaves as if it were right."""
    run = Run("ipip_4in4")
    first = run.arrivals[0]
    bad = first.frame[:24] + bytes([first.frame[24] ^ 1]) + first.frame[25:]
    run.arrivals[0] = first._replace(frame=bad)
    output = run.outputs["edge"][0]
    run.outputs["edge"][0] = Record(output.time, output.frame[:34] + bad[14:])
    assert any("must be dropped: ['ip_checksum']" in problem for problem in run.problems())


@pytest.mark.parametrize("offset", [0, 6, 21, 22, 28, 32, 38])
def test_wrong_arp_reply_is_caught(offset: int) -> None:
    run = Run("arp_nd_echo")
    run.patch(0, offset, 0x04)
    assert len(run.problems()) == 1


def test_wrong_answers_are_caught() -> None:
    """Any flipped byte of any neighbour advertisement or echo reply, TTLs and ids aside."""
    run = Run("arp_nd_echo")
    for number, record in enumerate(run.outputs["edge"]):
        free = {15, 18, 19} if record.frame[12:14] == b"\x08\x00" else {14, 15, 16, 17, 21}
        if record.frame[12:14] == b"\x08\x06" or len(record.frame) > 200:
            continue
        for offset in set(range(len(record.frame))) - free:
            spoilt = bytearray(record.frame)
            spoilt[offset] ^= 0x04
            arrival = next(a for a in run.arrivals if a.time == record.time)
            judgement = judge_frame(run.world, run.world.ports["edge"], arrival.frame)
            assert judgement.answer
            assert LoadBalancer(run.world).judge_packet(arrival, [("edge", bytes(spoilt))]), (number, offset)


# --- its tools -----------------------------------------------------------------------------------------


def test_checksum() -> None:
    example = bytes.fromhex("0001f203f4f5f6f7")  # RFC 1071, section 3
    assert checksum(example) == 0xFFFF - 0xDDF2
    assert is_valid(example, checksum(example).to_bytes(2, "big"))
    assert checksum(bytes(4)) == 0xFFFF and not is_valid(bytes(4))
    assert checksum(b"\x12") == 0xFFFF - 0x1200


def test_config_subset(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_text('# one\na = { b = ( 1, "x" "y", [ true, 0x10 ] ); }; // two\nc: -3; /* three */ d = ();')
    assert read_config(path) == {"a": {"b": [1, "xy", [True, 16]]}, "c": -3, "d": []}
    path.write_text("a = @;")
    with pytest.raises(ConfigSyntax):
        read_config(path)


def test_capture_keeps_times_and_refuses_stumps(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    records = [Record(1_700_000_000_000_001_000, b"abc"), Record(1_700_000_000_000_002_000, b"")]
    write_pcap(path, records)
    assert read_pcap(path) == records
    path.write_bytes(path.read_bytes()[:-17])
    with pytest.raises(BadCapture):
        read_pcap(path)
