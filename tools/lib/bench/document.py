"""Fills the figures of docs/PERFORMANCE.md from what tools/bench has written with --json.

A block is what lies between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`, each on a line of its own. A block that
the files say nothing about stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bench import claims
from bench.claims import SIZES, Rows
from bench.rows import Row, beside, flows_text, number
from bench.testpmd import WANTED_FLOWS, WANTED_RATIO

FLOOR = "ipip 4in4"  # the row whose floor stands for all of v4; v6 has its own, of the same shape
KINDS = ("dsr v4", "dsr v6", "ipip 4in4", "ipip 6in6", "ipip 6in4", "ipip 4in6",
         "gue 4in4", "gue 6in6", "gue 6in4", "gue 4in6")
# What scale_bench adds to a figure's name: for the p99 of all samples, those included during which another program had
# the CPU; and for the share of such samples.
OTHERS = (" with other programs", ", disturbed by other programs")


class CannotFill(Exception):
    """With a sentence that says why."""


def shown(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def table(heading: list[str], lines: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, rule, *lines)) + "\n"


def measured(rows: list[Row]) -> list[Row]:
    """Those of the packet path."""
    return [row for row in rows if number(row, "ns_median") is not None]


def is_whole(rows: list[Row]) -> bool:
    """Rows of a part (--only) fill no block that is of all of them; what compares ipip with itself is in none."""
    return any(row.get("aa") and row.get("mode") != "nat" for row in rows)


def machine_block(rows: list[Row]) -> str | None:
    known = [row for row in rows if row.get("machine")] if is_whole(rows) else []
    machines = dict.fromkeys(str(row["machine"]) for row in known)
    commits = dict.fromkeys(str(row["commit"]) for row in known if row.get("commit"))
    if not known:
        return None
    void = any(row.get("void") for row in measured(known))
    warning = "\n**This run is void: an A/A row was outside 1.00 ± 0.02.**\n" if void else ""
    return "\n".join(f"* {text}" for text in machines) + f"\n* measured at commit {', '.join(commits)}\n{warning}"


def flows_block(rows: list[Row]) -> str | None:
    """ns a packet by number of flows, the ratio to the floor beside it."""
    named = Rows(rows)
    lines = []
    for kind in KINDS:
        names = [f"{kind} {flows_text(size)}" for size in SIZES]
        if not any(name in named.named for name in names):
            continue
        cells = [shown(named.figure(name, "ns_median")) for name in names]
        ratios = [named.figure(name, "ratio") for name in names]
        lines.append([kind, *(f"{cell} ({ratio:.2f})" if ratio is not None else cell
                              for cell, ratio in zip(cells, ratios, strict=True))])
    if not lines:
        return None
    floor = [shown(named.figure(f"{FLOOR} {flows_text(size)}", "floor_ns_median")) for size in SIZES]
    return table(["flows", *(flows_text(size) for size in SIZES)], [["floor, v4", *floor], *lines])


def nat_block(rows: list[Row]) -> str | None:
    """Mode nat, with the share of packets that came to another worker than their session's."""
    found = [row for row in measured(rows) if row.get("mode") == "nat"]
    lines = [[str(row["name"]), shown(number(row, "ns_median")), shown(number(row, "ratio"), 3),
              "" if (share := number(row, "handed_over")) is None else f"{share:.1%}", beside(row)]
             for row in found]
    if not lines:
        return None
    commits = dict.fromkeys(str(row["commit"]) for row in found if row.get("commit"))
    void = "\n**Void: mode nat's A/A row was outside 1.00 ± 0.02.**\n" if any(row.get("void") for row in found) else ""
    return table(["row", "ns", "/ floor", "by ring", "beside"], lines) + f"\nMeasured at commit {', '.join(commits)}.\n{void}"


def others_block(rows: list[Row]) -> str | None:
    """Every row that is neither in the table by flows nor of mode nat."""
    by_flows = {f"{kind} {flows_text(size)}" for kind in KINDS for size in SIZES}
    lines = [[str(row["name"]), shown(number(row, "ns_median")), shown(number(row, "floor_ns_median")),
              shown(number(row, "ratio"), 3), beside(row)] for row in rows
             if (number(row, "ns_median") is not None or number(row, "scaling") is not None)
             and row["name"] not in by_flows and row.get("mode") != "nat"]
    return table(["row", "ns", "floor ns", "/ floor", "beside"], lines) if lines and is_whole(rows) else None


def claims_block(rows: list[Row]) -> str | None:
    if not is_whole(rows):
        return None
    lines = [f"| {claim.promise} | {claim.figures or '–'} | {claim.verdict} |" for claim in claims.claims(rows)]
    return "\n".join(["| promise | measured | |", "|---|---|---|", *lines]) + "\n"


def testpmd_block(rows: list[Row]) -> str | None:
    lines = [[str(row["name"]), shown((number(row, "pps_median") or 0) / 1e6, 2),
              shown(1e9 / (number(row, "pps_median") or 1)), shown(number(row, "ratio_to_5tswap"), 3)
              + (" (void)" if row.get("void") else "")] for row in rows if number(row, "pps_median")]
    if not lines:
        return None
    promised = Rows(rows).figure(f"net_pcap {WANTED_FLOWS} flows: weir dsr", "ratio_to_5tswap")
    kept = "not measured" if promised is None else f"{promised:.3f}: {'holds' if promised >= WANTED_RATIO else 'MISSED'}"
    return (table(["device, flows: program", "Mpps", "ns", "/ 5tswap"], lines)
            + f"\nPromised of `dsr` over net_pcap at {WANTED_FLOWS:,} flows: at least {WANTED_RATIO:.2f} of 5tswap; {kept}.\n")


def quantity(row: Row) -> str:
    value = number(row, "value")
    return f"{'?' if value is None else f'{value:.4g}'} {row['unit']}".strip()


def scale_block(rows: list[Row]) -> str | None:
    """Figures with a unit. A run of the packet path brings two of them along; a whole scale run has limits."""
    found = [row for row in rows if "value" in row and "unit" in row]
    if not any(number(row, "limit") is not None and not str(row["name"]).startswith("flow table") for row in found):
        return None
    named = {str(row["name"]): row for row in found}
    lines = []
    for name, row in named.items():
        if name.endswith(OTHERS):  # in the cell of the figure that it belongs to
            continue
        limit, disturbed = number(row, "limit"), named.get(name + OTHERS[0])
        held = "" if limit is None else "holds" if row.get("holds") else "MISSED"
        lines.append([name, quantity(row), quantity(disturbed) if disturbed else "",
                      "" if limit is None else f"{limit:g}", held])
    return table(["figure", "measured", "with other programs", "limit", ""], lines)


def idle_block(rows: list[Row]) -> str | None:
    """Waits by device and gap, `poll` beside `sleep`."""
    found = [row for row in rows if row.get("idle")]
    keys = dict.fromkeys((row["device"], row["gap_ms"]) for row in found)

    def pair(row: Row | None) -> str:
        return "" if row is None or "us_median" not in row else (f"{shown(number(row, 'us_median'), 0)} / "
                                                                 f"{shown(number(row, 'us_p99'), 0)}")

    def share(row: Row | None) -> str:
        value = None if row is None else number(row, "cpu_share")
        return "" if value is None else f"{value:.1%}"

    lines = []
    for device, gap in keys:
        poll, sleep = (next((row for row in found if (row["device"], row["gap_ms"], row["idle"]) == (device, gap, mode)),
                            None) for mode in ("poll", "sleep"))
        lines.append([f"{device}, " + ("no packets" if gap is None else f"{gap:g} ms"), pair(poll), pair(sleep),
                      share(poll), share(sleep)])
    heading = ["device, gap", "poll, us", "sleep, us", "poll, CPU", "sleep, CPU"]
    return table(heading, lines) if lines else None


BLOCKS: dict[str, Callable[[list[Row]], str | None]] = {
    "machine": machine_block, "table": flows_block, "rows": others_block, "nat": nat_block, "claims": claims_block,
    "testpmd": testpmd_block, "scale": scale_block, "idle": idle_block,
}


def put(page: str, name: str, text: str) -> str:
    opening, closing = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    pattern = re.compile(rf"^{re.escape(opening)}\n.*?^{re.escape(closing)}$", re.M | re.S)
    if len(pattern.findall(page)) != 1:
        raise CannotFill(f"the page must have one block {opening} ... {closing}, each on a line of its own")
    return pattern.sub(lambda _: f"{opening}\n{text}{closing}", page)


def fill(page: str, rows: list[Row]) -> tuple[str, list[str]]:
    """The page with its figures, and the names of the blocks that were filled."""
    filled = []
    for name, make in BLOCKS.items():
        if (text := make(rows)) is not None:
            page = put(page, name, text)
            filled.append(name)
    if not filled:
        raise CannotFill("the files have no figures: they must come from tools/bench --json")
    return page, filled
