"""The include rule: tools, tests -> ctrl -> dataplane -> drivers -> DPDK."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CORE = ("dataplane/net", "dataplane/tables", "dataplane/state")
# What core may include with a slash or .h in its name; every other <...> must be a C++ standard header.
CORE_SYSTEM_HEADERS = {"arpa/inet.h": "inet_pton and inet_ntop",
                       "emmintrin.h": "SSE2: tags of a bucket at once", "immintrin.h": "AES rounds on x86",
                       "wmmintrin.h": "AES rounds on x86", "arm_neon.h": "the same on Arm"}
MAY_INCLUDE = {"drivers": ("drivers",), "dataplane": ("dataplane", "drivers"),
               "ctrl": ("ctrl", "dataplane", "drivers")}
# DPDK headers that ctrl may include, and why. It never touches an mbuf nor a device.
CTRL_DPDK_HEADERS = {
    "rte_launch.h": "worker lcores are started and joined by the command that runs them",
    "rte_lcore.h": "lcore numbers, for the same reason",
    "rte_cycles.h": "the TSC's frequency turns counters into seconds",
    "rte_rcu_qsbr.h": "publication waits for the workers' quiescent states",
    "rte_version.h": "weir --version names the DPDK that it was built with",
    "rte_errno.h": "to say why a DPDK call failed",
}


@dataclass(frozen=True)
class Problem:
    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


def layer_of(file: str) -> str:
    return file.split("/", 1)[0]


def quoted_problem(file: str, included: str) -> str | None:
    layer, target = layer_of(file), layer_of(included)
    if target not in MAY_INCLUDE:
        return None  # a file beside this one, or of a layer above that a path names wrongly: the compiler's matter
    if layer in MAY_INCLUDE and target not in MAY_INCLUDE[layer]:
        return f"{layer} must not include {target} ({included}): tools, tests -> ctrl -> dataplane -> drivers"
    if file.startswith(CORE) and not included.startswith(CORE) and included != "dataplane/ids.h":
        return f"{included}: net, tables and state include only each other and dataplane/ids.h"
    return None


def system_problem(file: str, included: str) -> str | None:
    is_dpdk = included.startswith(("rte_", "ethdev_", "bus_"))
    if file.startswith(CORE):
        standard = re.fullmatch(r"[a-z_]+", included) or included in CORE_SYSTEM_HEADERS
        return None if standard else f"<{included}>: net, tables and state use the standard library only"
    if layer_of(file) == "ctrl" and is_dpdk and included not in CTRL_DPDK_HEADERS:
        return f"<{included}>: ctrl leaves DPDK to dataplane and drivers (exceptions: tools/lib/house/layers.py)"
    return None


def problems(root: Path, files: Iterable[str]) -> list[Problem]:
    found = []
    for file in files:
        for number, line in enumerate((root / file).read_text().splitlines(), 1):
            if not (match := INCLUDE.match(line)):
                continue
            judge = quoted_problem if match[1] == '"' else system_problem
            if what := judge(file, match[2]):
                found.append(Problem(file, number, what))
    return found
