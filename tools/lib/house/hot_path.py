"""The worker's loop as the compiler made it: no allocation, lock, system call, log or atomic read-modify-write.

Reads the disassembly of build/weir from `weir::Worker::run` on and follows every direct call and jump. What it finds
there is a problem unless one of the tables below names it with a reason: functions that are left out, functions of
libraries, and places in DPDK's headers. Code that was inlined is known by the line tables of the program (-g1 on the
packet path's sources), so that a finding has the name of the function that it was written in.

A function counts whole, taken branches or not. What a library's function does inside is not read: its reason vouches.
"""

from __future__ import annotations

import bisect
import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from house.layers import Problem

START = "weir::Worker::run()"

# Not followed, and nothing that was inlined from them counts. All run before the loop, after it, without traffic, or
# (the last) a thousand times a second at most.
LEFT_OUT = {
    r"weir::Idle::rest\(": "no packet waits: it sleeps on purpose, and tells QSBR so",
    r"weir::Idle::resume\(": "the first packet after a sleep was prepared: takes the preparation back",
    r"weir::Idle::begin\(": "asks for exact timers, before the loop",
    r"weir::RxWait::(stop_watching|unwatch_all)\(": "a port has been disabled: lets go of its device, once",
    r"weir::(Worker::watch_again|RxWait::watch)\(": "the port's device is there again: watches its interrupts, once",
    r"\bTickClock::TickClock\(|^TickClock$": "asks once for the TSC's rate, before the loop",
    r"weir::Published<.*>::Reader::Reader\(": "registers the worker with QSBR, before the loop",
    r"weir::Published<.*>::Reader::leave\(": "unregisters it, after the loop",
    r"weir::RxWait::wake\(": "after packets were put into another worker's ring, once a burst: a fence and a load, and if that "
                            "worker sleeps, one write to an eventfd",
    r"weir::HostWake::wake\(": "one write to an eventfd for a punted frame, if the host thread sleeps, which it does a "
                               "millisecond after its last frame at the earliest: some 7 us that cost 0.7 % of a core "
                               "at worst, and save the host thread from polling",
}

LIBRARY_FUNCTIONS = {
    "memcpy": "copies; nothing else",
    "memmove": "copies; nothing else",
    "memset": "writes; nothing else",
    "memcmp": "compares; nothing else",
    "__stack_chk_fail": "the stack is broken: ends the program",
    "abort": "ends the program",
    "__rte_panic": "a pool without operations: ends the program",
    "rte_pktmbuf_free_bulk": "frames back into their pool: its cache, else its ring. An atomic only for an mbuf that is "
                             "shared, and weir shares none",
    "__rte_pktmbuf_read": "copies out of a chain of segments: a reply that NAT64 fragments",
    "rte_eth_call_rx_callbacks": "only while dpdk-dumpcap listens",
    "rte_eth_call_tx_callbacks": "only while dpdk-dumpcap listens",
}

# Indirect calls, by the function of DPDK's headers that makes them.
INDIRECT_CALLS = {
    "rte_eth_rx_burst": "the device's receive function",
    "rte_eth_tx_burst": "the device's transmit function",
    "rte_mempool_ops_enqueue_bulk": "a pool's operation: when the worker's cache of mbufs is full",
    "rte_mempool_ops_dequeue_bulk": "a pool's operation: when that cache is empty",
    "__rte_pktmbuf_free_extbuf": "a buffer that its device has lent goes back to it",
}

# Atomic read-modify-writes, by the function of DPDK's headers that makes them.
SHARED = "reference count: a plain store unless the mbuf is shared or its buffer lent by the device; weir shares none"
RING = "into another worker's ring: once a burst and destination, for packets of new flows in sticky pools only"
ATOMICS = {
    "__rte_mbuf_refcnt_update": SHARED,
    "rte_mbuf_ext_refcnt_update": SHARED,
    "__rte_pktmbuf_pinned_extbuf_decref": SHARED,
    "__rte_ring_rts_move_prod_head": RING,
    "__rte_ring_rts_update_tail": RING,
}

# The clock is read once a loop: by run() itself, never by what it calls.
CLOCK = re.compile(r"rdtscp?\b")
ATOMIC = re.compile(r"lock\b|xchg[bwlq]? .*\(|mfence\b")
FORBIDDEN = {
    re.compile(r"syscall\b|sysenter\b|int +\$"): "a system call",
    re.compile(r"cpuid\b"): "cpuid: stops the pipeline, and leaves a virtual machine",
    re.compile(r"rdrand\b|rdseed\b"): "a random number: hundreds of cycles",
}

LABEL = re.compile(r"^([0-9a-f]+) <(.+)>:$")
INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t(.+)$")
PREFIX = re.compile(r"^(?:(?:bnd|notrack|cs|ds|data16) )+")
DIRECT = re.compile(r"^(?:call|j[a-z]+)q? +([0-9a-f]+) <")
THROUGH_GOT = re.compile(r"^(?:call|jmp)q? +\*0x[0-9a-f]+\(%rip\) +# [0-9a-f]+ <([\w.]+)@")
INDIRECT = re.compile(r"^(?:call|jmp)q? +\*(.+)$")
TABLE_LOAD = re.compile(r"^movslq .*\(%\w+,%\w+,4\),%(\w+)$")
ADD = re.compile(r"^add +%(\w+),%(\w+)$")
TABLE_OF_ADDRESSES = re.compile(r"^0x[0-9a-f]+\(,%\w+,8\)$")
ENDS = re.compile(r"^(?:ret|jmp|ud2|hlt|call)")
LOOK_BACK = 8  # instructions from a jump table's load to its jump

NOT_BUILT = "no build: meson setup build --buildtype=release"
NOT_OPTIMISED = "this build has optimization={}, b_sanitize={}: the audit reads release builds (--build names one)"
NO_START = f"{START} is not in the program: the audit begins there"
NO_LINES = "the program's packet path has no line tables (-g1 in meson.build's packet_args): inlined code has no name"


@dataclass(frozen=True)
class Function:
    address: int
    name: str
    code: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Frame:
    """A function, inlined or not, and where in it."""
    function: str
    file: str
    line: int


@dataclass(frozen=True)
class Finding:
    address: int
    inside: str  # the symbol
    kind: str  # library, indirect, atomic, clock or forbidden
    what: str


@dataclass
class Audit:
    functions: int = 0
    instructions: int = 0
    allowed: int = 0
    problems: list[Problem] = field(default_factory=list)

    def summary(self) -> str:
        return (f"hot_path: {self.functions} functions, {self.instructions:,} instructions; "
                f"{self.allowed} exceptions, each with its reason in tools/lib/house/hot_path.py")


def functions_in(disassembly: str) -> dict[int, Function]:
    """Of `objdump -d -C --no-show-raw-insn -w`."""
    functions: dict[int, Function] = {}
    current = None
    for line in disassembly.splitlines():
        if match := INSTRUCTION.match(line):
            if current:
                current.code.append((int(match[1], 16), PREFIX.sub("", match[2].strip())))
        elif match := LABEL.match(line):
            current = functions.setdefault(int(match[1], 16), Function(int(match[1], 16), match[2]))
    return functions


def is_left_out(name: str) -> bool:
    return any(re.search(pattern, name) for pattern in LEFT_OUT)


def is_jump_table(code: list[tuple[int, str]], at: int, operand: str) -> bool:
    """`switch`: an offset is loaded from a table and added to the table's address; or a table of addresses."""
    if not code[at][1].startswith("jmp"):
        return False
    if TABLE_OF_ADDRESSES.match(operand):
        return True
    loaded: set[str] = set()
    target = operand.removeprefix("%")
    for _, text in code[max(0, at - LOOK_BACK):at]:
        if match := TABLE_LOAD.match(text):
            loaded.add(match[1])
        elif (match := ADD.match(text)) and match[2] == target and {match[1], match[2]} & loaded:
            return True
    return False


def finding_at(function: Function, at: int) -> Finding | None:
    """What one instruction does that the hot path must not, direct calls apart."""
    address, text = function.code[at]

    def finding(kind: str, what: str) -> Finding:
        return Finding(address, function.name, kind, what)

    if match := THROUGH_GOT.match(text):
        return finding("library", match[1])
    if match := INDIRECT.match(text):
        return None if is_jump_table(function.code, at, match[1]) else finding("indirect", f"indirect call: {text}")
    if ATOMIC.match(text):
        return finding("atomic", f"atomic read-modify-write or full barrier: {text}")
    if CLOCK.match(text):
        return finding("clock", "reads the clock: only Worker::run itself may, once a loop")
    for pattern, what in FORBIDDEN.items():
        if pattern.match(text):
            return finding("forbidden", f"{what}: {text}")
    return None


class Walk:
    """Everything that the start reaches by direct calls and jumps."""

    def __init__(self, functions: dict[int, Function], start: Function) -> None:
        self.functions = functions
        self.addresses = sorted(functions)
        self.reached: dict[int, Function] = {}
        self.findings: list[Finding] = []
        todo = [start]
        while todo:
            function = todo.pop()
            if function.address not in self.reached and not is_left_out(function.name):
                self.reached[function.address] = function
                todo += self.visit(function)

    def visit(self, function: Function) -> Iterator[Function]:
        """Notes the function's findings; yields what it calls."""
        for at, (address, text) in enumerate(function.code):
            if match := DIRECT.match(text):
                callee = self.function_at(int(match[1], 16))
                if callee.name.endswith("@plt"):
                    name = callee.name.removesuffix("@plt")
                    self.findings.append(Finding(address, function.name, "library", name))
                elif callee is not function:
                    yield callee
            elif found := finding_at(function, at):
                self.findings.append(found)
        last = next((text for _, text in reversed(function.code) if not text.startswith(("nop", "xchg", "int3"))), "ret")
        if not ENDS.match(last) and (after := self.next_function(function)):
            yield after

    def function_at(self, address: int) -> Function:
        return self.functions[self.addresses[bisect.bisect_right(self.addresses, address) - 1]]

    def next_function(self, function: Function) -> Function | None:
        after = bisect.bisect_right(self.addresses, function.address)
        return self.functions[self.addresses[after]] if after < len(self.addresses) else None


def reader_of_clock(frames: list[Frame]) -> str:
    """The function that asked DPDK or the compiler's header for the time."""
    return next((frame.function for frame in frames if not frame.function.startswith(("rte_", "_"))), "")


def names_of(frames: Iterable[Frame]) -> set[str]:
    """Plain names, as the tables have them: without arguments and the compiler's suffixes."""
    return {re.split(r"[(.]| \[", frame.function)[0] for frame in frames}


def is_allowed(finding: Finding, frames: list[Frame]) -> bool:
    if any(is_left_out(frame.function) for frame in frames):
        return True
    names = names_of([*frames, Frame(finding.inside, "", 0)])
    if finding.kind == "library":
        return finding.what in LIBRARY_FUNCTIONS
    if finding.kind == "indirect":
        return bool(names & INDIRECT_CALLS.keys())
    if finding.kind == "atomic":
        return bool(names & ATOMICS.keys())
    return finding.kind == "clock" and reader_of_clock(frames) == START


def problem_of(finding: Finding, frames: list[Frame], root: Path, program: Path) -> Problem:
    """Where weir's source has it."""
    what = finding.what
    if finding.kind == "library":
        what = f"calls {finding.what}, a library's function without a reason in tools/lib/house/hot_path.py"
    for frame in frames:
        file = os.path.relpath(os.path.normpath(frame.file), root)
        if frame.line and not file.startswith(".."):
            return Problem(file, frame.line, f"{what} (in {finding.inside})")
    return Problem(program.name, 0, f"{what} (in {finding.inside}, at {finding.address:#x})")


def frames_of(program: Path, addresses: list[int]) -> dict[int, list[Frame]]:
    """The functions that each instruction was inlined from, innermost first."""
    done = subprocess.run(["llvm-symbolizer", f"--obj={program}", "--inlining", "--output-style=JSON"], check=True,
                          input="".join(f"{address:#x}\n" for address in addresses), capture_output=True, text=True)
    known = {}
    for address, line in zip(addresses, done.stdout.splitlines(), strict=True):
        known[address] = [Frame(symbol["FunctionName"], symbol["FileName"], symbol["Line"])
                          for symbol in json.loads(line)["Symbol"]]
    return known


def audit(program: Path, root: Path) -> Audit:
    disassembly = subprocess.run(["objdump", "-d", "-C", "--no-show-raw-insn", "-w", str(program)], check=True,
                                 capture_output=True, text=True).stdout
    functions = functions_in(disassembly)
    start = next((function for function in functions.values() if function.name == START), None)
    if start is None:
        return Audit(problems=[Problem(program.name, 0, NO_START)])
    walk = Walk(functions, start)
    frames = frames_of(program, [start.address, *(finding.address for finding in walk.findings)])
    if not any(frame.line for frame in frames[start.address]):
        return Audit(problems=[Problem(program.name, 0, NO_LINES)])
    bad = [finding for finding in walk.findings if not is_allowed(finding, frames[finding.address])]
    by_line: dict[tuple[str, int, str], Problem] = {}  # one line of source may be in the program many times
    for finding in bad:
        problem = problem_of(finding, frames[finding.address], root, program)
        by_line.setdefault((problem.file, problem.line, finding.kind), problem)
    return Audit(len(walk.reached), sum(len(function.code) for function in walk.reached.values()),
                 len(walk.findings) - len(bad), list(by_line.values()))


def build_problem(build: Path) -> Problem | None:
    """Brings build/weir up to date; the audit of an old program would tell nothing."""
    if not (build / "build.ninja").exists():
        return Problem(build.name, 1, NOT_BUILT)
    options = {option["name"]: option["value"]
               for option in json.loads((build / "meson-info" / "intro-buildoptions.json").read_text())}
    if options["optimization"] not in ("2", "3") or options["b_sanitize"] != "none":
        return Problem(build.name, 1, NOT_OPTIMISED.format(options["optimization"], options["b_sanitize"]))
    done = subprocess.run(["ninja", "-C", str(build), "weir"], capture_output=True, text=True, check=False)
    if done.returncode:
        return Problem(build.name, 1, "weir does not build: " + " ".join(done.stdout.split())[-300:])
    return None


def problems(root: Path, build: Path) -> list[Problem]:
    """Prints what was looked at; an audit of nothing must not look like a good one."""
    if os.uname().machine != "x86_64":
        print("hot_path: not judged: it reads x86-64 programs, and this machine builds others")
        return []
    if problem := build_problem(build):
        return [problem]
    result = audit(build / "weir", root)
    if result.functions:
        print(result.summary())
    return result.problems
