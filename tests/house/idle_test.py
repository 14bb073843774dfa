"""tools/bench --idle: the packets of its client, its statistics, its promise, its block of the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.l2 import ARP, Ether

from bench import document, idle, idle_client
from bench.captures import VIP
from bench.rows import Row


def found(gap: float | None, share: float, *waits: float, lost: int = 0) -> dict[str, object]:
    return {"gap_ms": gap, "cpu_share": share, "lost": lost, "us": list(waits)}


def test_the_request_asks_for_the_vip_and_only_its_answer_counts() -> None:
    asked = Ether(idle_client.request())
    assert asked.dst == "ff:ff:ff:ff:ff:ff" and len(idle_client.request()) == 60
    assert asked[ARP].op == 1 and asked[ARP].pdst == VIP
    assert not idle_client.is_reply(idle_client.request())
    assert idle_client.is_reply(bytes(Ether() / ARP(op=2, psrc=VIP)))
    assert not idle_client.is_reply(bytes(Ether() / ARP(op=2, psrc="192.0.2.9")))


def test_a_pause_is_never_shorter_than_asked() -> None:
    for seconds in (0.0, 0.0001, 0.002):
        begun = idle_client.time.perf_counter()
        idle_client.pause(seconds)
        assert idle_client.time.perf_counter() - begun >= seconds


@pytest.mark.parametrize(("values", "share", "expected"), [
    ([3.0], 0.99, 3.0), ([2.0, 1.0], 0.5, 1.0), ([float(n) for n in range(100)], 0.99, 98.0),
    ([float(n) for n in range(1000)], 0.99, 989.0), ([1.0, 2.0, 3.0], 1.0, 3.0)])
def test_percentiles(values: list[float], share: float, expected: float) -> None:
    assert idle.percentile(values, share) == expected


def test_rows() -> None:
    row = idle.row_of("net_tap", "sleep", found(0.1, 0.02, 10, 30, 20))
    assert row["name"] == "idle net_tap sleep: every 0.1 ms"
    assert (row["us_median"], row["us_p99"], row["packets"]) == (20, 30, 3)
    assert idle.line(row).endswith("20.0      30.0     2.00%")
    assert "us_median" not in idle.row_of("net_tap", "sleep", found(None, 0.001))
    assert idle.line(idle.row_of("net_tap", "poll", found(1, 1.0, 9, lost=2))).endswith("2 of 1 LOST")


def test_the_promise_is_of_workers_that_sleep_and_have_nothing_to_do() -> None:
    rows = [idle.row_of("net_tap", "poll", found(None, 1.0)), idle.row_of("net_tap", "sleep", found(1, 0.3, 9)),
            idle.row_of("net_tap", "sleep", found(None, 0.049))]
    assert idle.faults(rows) == []
    assert "promised less than 5%" in idle.faults([idle.row_of("net_tap", "sleep", found(None, 0.05))])[0]
    assert "without an answer" in idle.faults([idle.row_of("net_tap", "poll", found(1, 1.0, 9, lost=1))])[0]


def test_the_page_has_poll_beside_sleep() -> None:
    rows: list[Row] = [idle.row_of("net_tap", mode, found(gap, share, *waits))
                       for gap, waits in ((1.0, [10.0, 40.0]), (None, []))
                       for mode, share in (("poll", 1.0), ("sleep", 0.01))]
    block = document.idle_block(rows)
    assert block is not None
    assert "| net_tap, 1 ms | 25 / 40 | 25 / 40 | 100.0% | 1.0% |" in block
    assert "| net_tap, no packets |  |  | 100.0% | 1.0% |" in block
    assert document.idle_block([{"name": "of another kind"}]) is None


def test_the_configuration_has_the_setting(tmp_path: Path) -> None:
    text = idle.config_text(idle.DEVICES[1], "sleep", (0, 1))
    assert 'idle = "sleep"' in text and "net_tap0,iface=wtap0" in text and "$" not in text
