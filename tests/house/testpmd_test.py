"""tools/bench --testpmd: its captures, its reading of dpdk-testpmd and of weir's counters, its statistics."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap

from bench import testpmd
from bench.captures import FRAME_BYTES, PORT_MAC, VIP, VIP_PORT, checksum, frames, write_capture
from bench.forwarders import (BenchFailed, ForwardStatistics, PortStatistics, Setting, WeirRun, Window,
                              parse_forward_statistics, parse_port_statistics, weir_faults)
from lab.weir import Metrics

# As DPDK 22.11 prints them, for two ports.
SHOW_PORT_STATS = """
  ######################## NIC statistics for port 0  ########################
  RX-packets: 74031776   RX-missed: 3          RX-bytes:  4441906560
  RX-errors: 2
  RX-nombuf:  1         
  TX-packets: 74031840   TX-errors: 4          TX-bytes:  4441910400

  Throughput (since last show)
  Rx-pps:     39028239          Rx-bps:  18733554968
  Tx-pps:     39028240          Tx-bps:  18733554968
  ############################################################################

  ######################## NIC statistics for port 1  ########################
  RX-packets: 7          RX-missed: 0          RX-bytes:  0
  RX-errors: 0
  RX-nombuf:  0         
  TX-packets: 0          TX-errors: 0          TX-bytes:  0

  Throughput (since last show)
  Rx-pps:            0          Rx-bps:            0
  Tx-pps:            0          Tx-bps:            0
  ############################################################################
"""
STOP = """Telling cores to stop...
Waiting for lcores to finish...

  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 113039648      RX-dropped: 0             RX-total: 113039648
  TX-packets: 113039648      TX-dropped: 0             TX-total: 113039648
  ----------------------------------------------------------------------------

  +++++++++++++++ Accumulated forward statistics for all ports+++++++++++++++
  RX-packets: 113039655      RX-dropped: 5             RX-total: 113039660
  TX-packets: 113039647      TX-dropped: 1             TX-total: 113039648
  ++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++
"""
METRICS = """weir_worker_forwarded_packets_total{worker="0"} 1e+07
weir_worker_answered_packets_total{worker="0"} 0
weir_dropped_packets_total{reason="not_vip"} 0
weir_flow_table_entries{worker="0"} 1000
"""


def test_every_frame_is_another_flow_as_scapy_would_make_it() -> None:
    flows = set()
    for data in frames(1000):
        assert len(data) == FRAME_BYTES
        packet = Ether(data)
        assert (packet.dst, packet[IP].dst, packet[TCP].dport, packet[TCP].flags) == (PORT_MAC, VIP, VIP_PORT, "A")
        flows.add((packet[IP].src, packet[TCP].sport))
        sums = packet[IP].chksum, packet[TCP].chksum
        del packet[IP].chksum, packet[TCP].chksum
        assert bytes(packet) == data, f"checksums {sums} are wrong"
    assert len(flows) == len({client for client, _ in flows}) == 1000


def test_datagrams_are_as_scapy_would_make_them() -> None:
    flows = set()
    for data in frames(1000, "udp"):
        packet = Ether(data)
        assert (packet.dst, packet[IP].dst, packet[UDP].dport, len(data)) == (PORT_MAC, VIP, VIP_PORT, FRAME_BYTES)
        flows.add((packet[IP].src, packet[UDP].sport))
        del packet[IP].chksum, packet[UDP].chksum
        assert bytes(packet) == data
    assert len(flows) == 1000


def test_32_000_flows_have_right_checksums_and_clients_of_their_own() -> None:
    clients = set()
    for data in frames(32_000):
        ip, tcp = data[14:34], data[34:54]
        assert checksum(ip) == 0
        assert checksum(ip[12:] + b"\0\6\0\x14" + tcp) == 0
        clients.add(ip[12:16])
    assert len(clients) == 32_000


@pytest.mark.parametrize("flows", [0, 2 ** 17])
def test_more_flows_than_clients_are_refused(flows: int) -> None:
    with pytest.raises(ValueError, match="allowed: 1 to"):
        frames(flows)


def test_the_capture_is_one(tmp_path: Path) -> None:
    write_capture(tmp_path / "a.pcap", 3)
    assert [bytes(packet) for packet in rdpcap(io.BytesIO((tmp_path / "a.pcap").read_bytes()))] == list(frames(3))


def test_port_statistics_are_those_of_the_port() -> None:
    assert parse_port_statistics(SHOW_PORT_STATS, 0) == PortStatistics(74031776, 39028239, 1 + 2 + 3 + 4)
    assert parse_port_statistics(SHOW_PORT_STATS, 1) == PortStatistics(7, 0, 0)


def test_forward_statistics_are_those_of_all_ports() -> None:
    assert parse_forward_statistics(STOP) == ForwardStatistics(113039655, 113039647, 6)


def test_an_answer_that_lacks_a_counter_is_shown() -> None:
    with pytest.raises(BenchFailed, match="lack 'RX-missed'.*\n.*Invalid port"):
        parse_port_statistics("Invalid port 7\n", 7)
    with pytest.raises(BenchFailed, match="lack 'RX-packets'"):
        parse_forward_statistics("Packet forwarding not started\n")


def test_weir_that_forwards_every_known_flow_has_no_faults() -> None:
    assert weir_faults(Metrics(METRICS), 1000) == []


@pytest.mark.parametrize(("old", "new", "fault"), [
    ('"not_vip"} 0', '"not_vip"} 3', "3 packets dropped: not_vip"),
    ('answered_packets_total{worker="0"} 0', 'answered_packets_total{worker="0"} 2', "2 packets answered"),
    ("weir_flow", 'weir_nat_session_evictions_total{worker="0"} 4\nweir_flow', "4 sessions evicted"),
    ('entries{worker="0"} 1000', 'entries{worker="0"} 999', "999 flows in the table, 1000 sent"),
])
def test_weir_that_does_something_else_is_found_out(old: str, new: str, fault: str) -> None:
    assert weir_faults(Metrics(METRICS.replace(old, new)), 1000) == [fault]


@pytest.mark.parametrize(("mode", "snat"), [("nat", 1), ("ipip", 0)])
def test_only_mode_nat_has_snat_addresses(mode: str, snat: int, tmp_path: Path) -> None:
    setting = Setting(("net_ring0", "net_pcap0"), 3, 100, False, False, tmp_path, (0, 1), "udp")
    config = WeirRun(tmp_path / "weir", mode, setting).config_text()
    assert config.count("snat = {") == snat and f'forwarding = "{mode}"' in config and 'protocol = "udp"' in config


def test_modes_by_device_and_frames() -> None:
    assert testpmd.modes_for("net_pcap", "udp") == ("ipip", "nat")
    assert testpmd.modes_for("net_pcap", "tcp") == ("dsr", "ipip")
    assert testpmd.modes_for("net_ring", "tcp") == ("dsr",)


def comparison(again: float = 1.0, fault: str = "", dsr: float = 30e6) -> testpmd.Comparison:
    """Three rounds; in the second one the machine was half as fast, which ratios do not show."""
    rounds = []
    for speed in (1.0, 0.5, 1.01):
        rates = {"testpmd io": 50e6, "testpmd macswap": 35e6, "testpmd 5tswap": 40e6,
                 "testpmd 5tswap again": 40e6 * again, "weir dsr": dsr}
        rounds.append({name: Window(int(rate * speed * 0.5), 0.5, (fault,) if fault and name == "weir dsr" else ())
                       for name, rate in rates.items()})
    return testpmd.Comparison("net_pcap", 1000, False, rounds)


def test_ratios_are_of_the_same_round_and_rates_span_all_rounds() -> None:
    row = next(row for row in comparison().rows() if row["mode"] == "dsr")
    assert row == {"name": "net_pcap 1000 flows: weir dsr", "device": "net_pcap", "program": "weir", "mode": "dsr",
                   "flows": 1000, "pps_median": 30_000_000, "pps_min": 15_000_000, "pps_max": 30_300_000,
                   "ratio_to_5tswap": 0.75, "void": False}
    assert json.loads(json.dumps(comparison().rows()))[3]["mode"] == "5tswap again"
    assert "0.600      0.857      0.750" in comparison().table()


def test_datagrams_have_a_name_and_no_promise_of_their_own() -> None:
    datagrams = testpmd.Comparison("net_pcap", 1000, False, comparison(dsr=1).rounds, "udp")
    assert datagrams.rows()[0]["name"] == "net_pcap udp 1000 flows: testpmd io"
    assert testpmd.verdict([comparison(), datagrams]) == testpmd.verdict([comparison()])


@pytest.mark.parametrize(("again", "void"), [(1.0, False), (1.019, False), (0.981, False), (1.021, True), (0.97, True)])
def test_a_yardstick_that_disagrees_with_itself_makes_the_run_void(again: float, void: bool) -> None:
    assert bool(comparison(again).complaints()) == void
    assert ("VOID: testpmd 5tswap disagrees with itself" in comparison(again).table()) == void


def test_a_fault_of_any_window_makes_the_run_void_and_is_named_once() -> None:
    assert comparison(fault="3 packets dropped: not_vip").complaints() == ["weir dsr: 3 packets dropped: not_vip"]


@pytest.mark.parametrize(("of", "kept", "words"), [
    (comparison(), True, "0.750, wanted 0.70: kept"),
    (comparison(dsr=27e6), False, "0.675, wanted 0.70: MISSED"),
    (comparison(fault="lost"), False, "0.750 (void), wanted 0.70: MISSED"),
])
def test_the_promise_is_judged(of: testpmd.Comparison, kept: bool, words: str) -> None:
    assert testpmd.verdict([of])[0] == kept
    assert testpmd.verdict([of])[1].endswith(words)


def test_what_is_missing_is_said_before_anything_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert testpmd.run(tmp_path / "weir") == 2
    assert "bench: " in capsys.readouterr().err
