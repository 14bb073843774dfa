"""tools/bench: its promises, when a run is void, the list it keeps, the page it fills, the plot it draws."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench import claims, document, packet_path, plot, rows
from bench.rows import BadRow, Row

ROOT = Path(__file__).resolve().parents[2]


def row(name: str, cost: float = 20, floor: float = 10, **more: object) -> Row:
    return {"name": name, "mode": "ipip", "family": "v4", "flows": 1_000, "ns_min": cost - 1, "ns_median": cost,
            "cycles_median": 2.5 * cost, "floor_ns_min": floor, "floor_ns_median": floor, "ratio": cost / floor, **more}


def against_itself(ratio: float) -> Row:
    return {"name": "A/A ipip 4in4 1000", "mode": "ipip", "family": "v4", "flows": 1_000, "ns_min": 20.0,
            "ns_median": 20.5, "ratio": ratio, "aa": True}


def whole_run() -> list[Row]:
    """In which every promise is kept, as closely as may be."""
    found = [against_itself(1.02), against_itself(0.98)]
    for size in map(rows.flows_text, claims.SIZES):
        found += [row(f"{kind} {size}", 30 if size == "1k" else 16) for kind in ("dsr v4", "ipip 4in4")]
        found += [row(f"{kind} {size}", 21, reference=f"{other} {size}", reference_ratio=1.25)
                  for kind, other in (("dsr v6", "dsr v4"), ("ipip 6in6", "ipip 4in4"))]
        found += [row(f"gue {pair} {size}", 22, reference=f"ipip {pair} {size}", reference_ratio=1.3)
                  for pair in ("4in4", "6in6")]
    beside = (("1k new", 3.0), ("1k syn flood", 1.02), ("1M 1k backends", 1.1), ("1M 1k services", 1.15),
              ("1M 10k services", 9.0))
    found += [row(f"ipip 4in4 {name}", 40, reference="ipip 4in4", reference_ratio=ratio) for name, ratio in beside]
    found += [{"name": f"2 workers ipip 4in4 {size}", "flows": flows, "workers": 2, "scaling": scaling}
              for size, flows, scaling in (("1k", 1_000, 1.8), ("1M", 1_000_000, 1.1))]
    found.append({"name": "2 threads pure ALU", "workers": 2, "scaling": 1.9})
    found += [{"name": claims.MEMORY_A_SLOT, "value": 16.0, "unit": "bytes", "limit": 16, "holds": True},
              {"name": claims.RESIDENT, "value": 820.0, "unit": "MiB", "limit": 1024, "holds": True}]
    return found


def with_figure(name: str, key: str, value: float) -> list[Row]:
    found = whole_run()
    assert name in [one["name"] for one in found]
    return [{**one, key: value} if one["name"] == name else one for one in found]


def verdicts(found: list[Row]) -> list[str]:
    return [claim.verdict for claim in claims.claims(found)]


def test_promises_are_kept_at_their_limits() -> None:
    assert set(verdicts(whole_run())) == {claims.HOLDS, claims.REPORTED}
    assert claims.all_kept(claims.claims(whole_run()), whole_run=True)


@pytest.mark.parametrize(("name", "key", "value", "promise"), [
    ("ipip 4in4 1k", "ns_median", 30.1, "20 ns above the floor"),
    ("dsr v4 1k", "ns_median", 30.1, "20 ns above the floor"),
    ("ipip 4in4 1M", "ratio", 1.61, "1M: at most 1.6 x"),
    ("dsr v4 16M", "ratio", 1.61, "16M: at most 1.6 x"),
    ("dsr v6 64k", "reference_ratio", 1.26, "dsr: v6 at most"),
    ("ipip 6in6 1", "reference_ratio", 1.26, "ipip: v6 at most"),
    ("gue 4in4 4M", "reference_ratio", 1.31, "v4: gue at most"),
    ("gue 6in6 1M", "reference_ratio", 1.31, "v6: gue at most"),
    ("ipip 4in4 1k new", "reference_ratio", 3.01, "new flows at most"),
    ("ipip 4in4 1k syn flood", "reference_ratio", 1.021, "SYN flood"),
    ("ipip 4in4 1M 1k backends", "reference_ratio", 1.11, "1,000 backends"),
    ("ipip 4in4 1M 1k services", "reference_ratio", 1.16, "1,000 services"),
    ("2 workers ipip 4in4 1k", "scaling", 1.79, "two workers at least"),
    (claims.MEMORY_A_SLOT, "value", 16.1, "bytes a flow"),
])
def test_a_promise_is_missed_beyond_its_limit(name: str, key: str, value: float, promise: str) -> None:
    judged = claims.claims(with_figure(name, key, value))
    missed = [claim for claim in judged if claim.verdict == claims.MISSED]
    assert len(missed) == 1 and promise in missed[0].promise and name in missed[0].figures
    assert not claims.all_kept(judged, whole_run=False)


@pytest.mark.parametrize(("name", "key", "value"), [
    ("ipip 4in4 1M 10k services", "reference_ratio", 99), ("2 workers ipip 4in4 1M", "scaling", 0.5),
    ("2 threads pure ALU", "scaling", 0.5), (claims.RESIDENT, "value", 9e9)])
def test_what_is_reported_is_never_missed(name: str, key: str, value: float) -> None:
    assert claims.MISSED not in verdicts(with_figure(name, key, value))


def test_a_whole_run_leaves_no_promise_unmeasured() -> None:
    for absent, verdict in (("ipip 4in4 1k new", claims.ABSENT), ("dsr v4 16M", claims.PARTLY)):
        part = claims.claims([one for one in whole_run() if one["name"] != absent])
        assert verdict in [claim.verdict for claim in part]
        assert claims.all_kept(part, whole_run=False) and not claims.all_kept(part, whole_run=True)


def test_the_goal_is_said_when_it_is_reached() -> None:
    at_goal = [{**one, "ratio": 1.3} for one in whole_run()]
    assert sum("goal 1.3 reached" in claim.promise for claim in claims.claims(at_goal)) == 2
    assert not any("reached" in claim.promise for claim in claims.claims(whole_run()))


@pytest.mark.parametrize("ratio", [0.979, 1.021, float("nan")])
def test_a_run_that_disagrees_with_itself_is_void(ratio: float, capsys: pytest.CaptureFixture[str]) -> None:
    found = [*whole_run(), against_itself(ratio)]
    assert len(rows.complaints(found)) == 1
    assert packet_path.judge(found, whole=True, guarded=True) == 2
    assert "THIS RUN IS VOID" in capsys.readouterr().out


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    missed = with_figure("gue 4in4 1k", "reference_ratio", 2)
    assert packet_path.judge(whole_run(), whole=True, guarded=True) == 0
    assert packet_path.judge(missed, whole=True, guarded=True) == 1
    assert "MISSED" in capsys.readouterr().out
    unguarded = [one for one in whole_run() if not one.get("aa")]
    assert packet_path.judge(unguarded, whole=True, guarded=True) == 2
    assert packet_path.judge(unguarded, whole=False, guarded=False) == 0


def test_rows_are_shown_as_they_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = [row("ipip 4in4 1k", 20.25, 10.5, news=[1, 2]), {"name": "2 threads pure ALU", "scaling": 1.97},
               row("gue 4in4 1k", reference="ipip 4in4 1k", reference_ratio=1.05)]
    text = tmp_path / "rows"
    text.write_text("".join(json.dumps(one) + "\n" for one in printed))
    show = f"print(open({str(text)!r}).read(), end='')"
    assert packet_path.stream([sys.executable, "-c", show]) == printed
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert lines[0].split() == ["ipip", "4in4", "1k", "19.2", "20.2", "51", "10.5", "1.929"]
    assert lines[1].endswith("1.97 x one") and lines[2].endswith("1.050 x ipip 4in4 1k")
    with pytest.raises(packet_path.NoFigures, match="ended with 3 after 3 rows"):
        packet_path.stream([sys.executable, "-c", f"{show}; raise SystemExit(3)"])


@pytest.mark.parametrize("text", ["EAL: no memory\n", "[1]\n", '{"flows": 1}\n'])
def test_a_line_that_is_no_row(text: str) -> None:
    with pytest.raises(BadRow):
        rows.parse(text)


def test_the_list_has_the_promised_keys(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    rows.write_list(file, whole_run(), machine="a machine", void=False)
    kept = rows.read_list(file)
    assert [one["name"] for one in kept] == [one["name"] for one in whole_run()]
    for one in kept:
        assert set(one) >= {"name", "mode", "family", "flows", "ns_min", "ns_median", "floor_ns_median", "ratio"}
        assert one["machine"] == "a machine"
    assert verdicts(kept) == verdicts(whole_run())
    file.write_text('{"name": "no list"}')
    with pytest.raises(BadRow):
        rows.read_list(file)


def page() -> str:
    return "# Page\n" + "".join(f"{name}:\n\n<!-- bench:{name} -->\nold {name}\n<!-- /bench:{name} -->\n\n"
                                for name in document.BLOCKS) + "end\n"


def test_the_page_is_filled_from_the_packet_path() -> None:
    found = [{**one, "machine": "2 CPUs of sand", "commit": "abc"} for one in whole_run()]
    once, filled = document.fill(page(), found)
    assert filled == ["machine", "table", "rows", "claims"]
    assert "old table" not in once and "old testpmd" in once and "old scale" in once and once.endswith("end\n")
    assert "| flows | 1 | 1k | 64k | 1M | 4M | 16M |" in once
    assert "| dsr v4 | 16.0 (1.60) | 30.0 (3.00) |" in once
    assert "| ipip 4in4 1k new | 40.0 | 10.0 | 4.000 | 3.000 x ipip 4in4 |" in once
    assert "2 CPUs of sand" in once and "abc" in once and "void" not in once
    assert document.fill(once, found)[0] == once
    assert "is void" in document.fill(page(), [{**one, "void": True} for one in found])[0]


def test_mode_nat_has_a_table_of_its_own() -> None:
    nat: list[Row] = [row("nat v4 1k", 33, 11, mode="nat", reference="ipip 4in4 1k", reference_ratio=1.75),
                      {"name": "nat v4 1k replies, 1 of 2 by ring", "mode": "nat", "ns_median": 60.0, "handed_over": 0.5,
                       "reference": "nat v4 1k replies, two workers", "reference_ratio": 1.2}]
    once, filled = document.fill(page(), [*whole_run(), *nat])
    assert filled == ["table", "rows", "nat", "claims"]
    assert once.count("| nat v4 1k | 33.0 | 3.000 |  | 1.750 x ipip 4in4 1k |") == 1
    part, filled = document.fill(page(), [{**one, "commit": "abc", "machine": "sand"} for one in nat])
    assert filled == ["nat"] and "Measured at commit abc." in part and "old claims" in part and "sand" not in part
    assert "| nat v4 1k replies, 1 of 2 by ring | 60.0 |  | 50.0% | 1.200 x nat v4 1k replies, two workers |" in once


def test_the_page_is_filled_from_testpmd_and_scale() -> None:
    testpmd: Row = {"name": "net_pcap 1000 flows: weir dsr", "pps_median": 20_000_000, "ratio_to_5tswap": 0.8, "void": True}
    scale: list[Row] = [
        {"name": "start: 1,000 pools", "value": 1.234567, "unit": "s", "limit": 5, "holds": True},
        {"name": "change: p99", "value": 1.5, "unit": "ms", "limit": 1, "holds": False},
        {"name": "change: p99 with other programs", "value": 6, "unit": "ms", "limit": None, "holds": True}]
    filled_page, filled = document.fill(page(), [testpmd, *scale])
    assert filled == ["testpmd", "scale"]
    assert "| net_pcap 1000 flows: weir dsr | 20.00 | 50.0 | 0.800 (void) |" in filled_page
    assert "at least 0.70 of 5tswap; 0.800: holds." in filled_page
    assert "| start: 1,000 pools | 1.235 s |  | 5 | holds |" in filled_page
    assert "| change: p99 | 1.5 ms | 6 ms | 1 | MISSED |" in filled_page


@pytest.mark.parametrize("broken", ["no markers at all\n", page() + page()])
def test_a_page_without_its_block_is_refused(broken: str) -> None:
    with pytest.raises(document.CannotFill, match="bench:"):
        document.fill(broken, whole_run())


def test_files_without_figures_are_refused() -> None:
    with pytest.raises(document.CannotFill, match="no figures"):
        document.fill(page(), [{"name": "nothing"}])


def test_the_real_page_has_every_block() -> None:
    text = (ROOT / "docs" / "PERFORMANCE.md").read_text()
    for name in document.BLOCKS:
        text = document.put(text, name, "filled\n")
    assert text.count("\nfilled\n") == len(document.BLOCKS)


def test_the_plot(tmp_path: Path) -> None:
    commands = plot.script(whole_run())
    assert [f'title "{series[0]}"' in commands for series in plot.SERIES] == [True] * 5
    assert "16000000 16.00" in commands and "1000 30.00" in commands
    file = tmp_path / "plot.svg"
    plot.draw(whole_run(), file)
    assert "<svg" in file.read_text()
    with pytest.raises(plot.CannotPlot, match="nothing to plot"):
        plot.script([against_itself(1)])
