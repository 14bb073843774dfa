"""The plot of a run: ns a packet over the number of flows, drawn by gnuplot."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from bench.claims import SIZES, Rows
from bench.rows import Row, flows_text

# Label, the rows' names without their flows, key, gnuplot's colour.
SERIES = (
    ("floor", "ipip 4in4", "floor_ns_median", "#888888"),
    ("dsr v4", "dsr v4", "ns_median", "#1b7837"),
    ("ipip 4in4", "ipip 4in4", "ns_median", "#2166ac"),
    ("ipip 6in6", "ipip 6in6", "ns_median", "#b2182b"),
    ("gue 4in4", "gue 4in4", "ns_median", "#e08214"),
)


class CannotPlot(Exception):
    """With a sentence that says why."""


def points(rows: Rows, name: str, key: str) -> list[tuple[int, float]]:
    found = ((size, rows.figure(f"{name} {flows_text(size)}", key)) for size in SIZES)
    return [(size, value) for size, value in found if value is not None]


def script(rows: Iterable[Row]) -> str:
    """What gnuplot is told, data included."""
    named = Rows(rows)
    blocks, curves = [], []
    for at, (label, name, key, colour) in enumerate(SERIES):
        if data := points(named, name, key):
            blocks.append(f"$data{at} << END\n" + "".join(f"{x} {y:.2f}\n" for x, y in data) + "END\n")
            curves.append(f'$data{at} using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb "{colour}" '
                          f'title "{label}"')
    if not curves:
        raise CannotPlot("nothing to plot: no row of dsr v4, ipip or gue with its flows alone, as in a whole run")
    ticks = ", ".join(f'"{flows_text(size)}" {size}' for size in SIZES)
    return ("".join(blocks)
            + 'set terminal svg size 760,420 font "sans-serif,13" background rgb "white"\n'
              "set logscale x\n"
              f"set xrange [0.7:{1.4 * SIZES[-1]:.0f}]\nset yrange [0:*]\nset xtics ({ticks})\n"
              "set grid ytics lc rgb '#dddddd'\nset key top left\n"
              'set xlabel "established flows, packets in random order"\nset ylabel "ns a packet, median"\n'
              f"plot {', '.join(curves)}\n")


def draw(rows: Iterable[Row], file: Path) -> None:
    commands = script(rows)
    try:
        done = subprocess.run(["gnuplot"], input=commands, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CannotPlot("gnuplot is not installed: run tools/setup (Debian package gnuplot-nox)") from error
    if done.returncode or not done.stdout:
        raise CannotPlot(f"gnuplot: {done.stderr.strip()}")
    file.write_text(done.stdout)
