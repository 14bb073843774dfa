"""What a run was measured on, in one line; no name of the machine."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from bench import baseline

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0].strip()


def cpuinfo(key: str) -> str | None:
    match = re.search(rf"^{key}\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return match[1].strip() if match else None


def caches() -> list[str]:
    """Of the first CPU, data and unified ones: "L2 1024K"."""
    found = []
    for index in sorted(CACHES.glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return found


def describe(build: Path) -> str:
    model = (f"{cpuinfo('model name') or os.uname().machine}"
             + (f" (family {family}, model {cpuinfo('model')})" if (family := cpuinfo("cpu family")) else ""))
    clock = f"{float(mhz) / 1000:.2f} GHz" if (mhz := cpuinfo("cpu MHz")) else "clock unknown"
    virtual = ", a virtual machine" if "hypervisor" in (cpuinfo("flags") or "").split() else ""
    compiler = first_line([*baseline.compiler(build).split(), "--version"])
    dpdk = first_line(["pkg-config", "--modversion", "libdpdk"])
    return "; ".join([f"{os.cpu_count()} CPUs {model}{virtual}", clock, *(caches() or ["caches unknown"]),
                      f"Linux {os.uname().release}", f"compiler {compiler}", f"DPDK {dpdk}"])
