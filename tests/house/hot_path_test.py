"""The audit of the hot path finds what it is there to find: in small disassemblies, and in small programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from house import hot_path
from house.hot_path import Audit, Finding, Frame

RUN = "weir::Worker::run()"


def disassembly(**functions: str) -> dict[int, hot_path.Function]:
    """`name="instruction; instruction"`, each function at the next multiple of 0x100."""
    text = ""
    for number, (name, code) in enumerate(functions.items(), 1):
        label = RUN if name == "run" else name.replace("_plt", "@plt")
        text += f"\n{number * 0x100:016x} <{label}>:\n"
        text += "".join(f"  {number * 0x100 + at:6x}:\t{line.strip()}\n" for at, line in enumerate(code.split(";")))
    return hot_path.functions_in(text)


def findings(**functions: str) -> list[tuple[str, str]]:
    known = disassembly(**functions)
    return [(finding.kind, finding.what) for finding in hot_path.Walk(known, known[0x100]).findings]


@pytest.mark.parametrize(("code", "kind"), [
    ("lock xadd %eax,(%rdi)", "atomic"),
    ("lock addl $0x0,-0x80(%rsp)", "atomic"),
    ("xchg %rax,(%rdi)", "atomic"),
    ("xchgl %eax,0x8(%rdi)", "atomic"),
    ("mfence", "atomic"),
    ("syscall", "forbidden"),
    ("int    $0x80", "forbidden"),
    ("cpuid", "forbidden"),
    ("rdrand %rax", "forbidden"),
    ("rdtsc", "clock"),
    ("rdtscp", "clock"),
    ("call   *(%rbx)", "indirect"),
    ("call   *%rax", "indirect"),
    ("notrack jmp *%rax", "indirect"),
    ("jmp    *0x10(%rdi)", "indirect"),
    ("bnd jmp *%rax", "indirect"),
    ("call   *0x2fb2(%rip)        # 3ff0 <malloc@GLIBC_2.2.5>", "library"),
    ("jmp    *0x2fb2(%rip)        # 3ff0 <some_table>", "indirect"),
])
def test_an_instruction_is_caught(code: str, kind: str) -> None:
    assert [found for found, _ in findings(run=f"push %rbx; {code}; ret")] == [kind]


@pytest.mark.parametrize("code", [
    "xchg   %ax,%ax", "xchg %rax,%rbx", "int3", "prefetcht0 (%rax)", "data16 cs nopw 0x0(%rax,%rax,1)", "ud2",
    "movslq (%rdx,%rax,4),%rax; add    %rdx,%rax; notrack jmp *%rax",
    "lea 0x10(%rip),%rcx        # 200 <x>; movslq (%rcx,%rsi,4),%rdx; mov %rdi,%rbx; add %rdx,%rcx; jmp    *%rcx",
    "notrack jmp *0x4020(,%rax,8)",
])
def test_harmless_code_is_not(code: str) -> None:
    assert findings(run=f"{code}; ret") == []


def test_a_call_is_no_jump_table() -> None:
    code = "movslq (%rdx,%rax,4),%rax; add %rdx,%rax; call *%rax; ret"
    assert [kind for kind, _ in findings(run=code)] == ["indirect"]
    other = "movslq (%rdx,%rax,4),%rcx; add %rdx,%rcx; jmp *%rax"
    assert [kind for kind, _ in findings(run=other)] == ["indirect"]


def test_calls_jumps_and_falling_through_are_followed() -> None:
    found = findings(run="call 200 <a>; je 300 <b+0x5>; jmp 400 <c>", a="call 500 <malloc@plt>; ret",
                     b="lock inc (%rax); ret", c="cpuid; ret", malloc_plt="jmp *0x8(%rip)        # 9 <x@G>", d="syscall")
    assert sorted(kind for kind, _ in found) == ["atomic", "forbidden", "library"] and ("library", "malloc") in found
    assert findings(run="jmp 200 <a>", a="mov %rax,%rbx; nop", b="cpuid; ret")[0][0] == "forbidden"


def test_what_nothing_reaches_and_what_is_left_out_does_not_count() -> None:
    known = disassembly(run="call 200 <x>; ret", rest="lock inc (%rax); ret", unreached="syscall; ret")
    rest = hot_path.Function(0x200, "weir::Idle::rest(weir::Reader&, unsigned int)", known[0x200].code)
    assert hot_path.Walk({**known, 0x200: rest}, known[0x100]).findings == []


@pytest.mark.parametrize(("kind", "what", "functions", "allowed"), [
    ("library", "memcpy", [RUN], True),
    ("library", "malloc", [RUN], False),
    ("library", "malloc", ["weir::Idle::rest(weir::Reader&, unsigned int)", RUN], True),
    ("library", "rte_get_tsc_hz", ["TickClock", RUN], True),
    ("indirect", "", ["rte_eth_rx_burst", "weir::Worker::poll()"], True),
    ("indirect", "", ["rte_mempool_ops_enqueue_bulk.part.0"], True),
    ("indirect", "", ["weir::Plugin::call()", RUN], False),
    ("atomic", "", ["__rte_mbuf_refcnt_update", "rte_pktmbuf_free"], True),
    ("atomic", "", ["std::__atomic_base<int>::fetch_add(int)", "weir::Counter::add()"], False),
    ("atomic", "", ["rte_eth_rx_burst"], False),
    ("clock", "", ["__rdtsc", "rte_rdtsc", RUN], True),
    ("clock", "", ["rte_rdtsc", "weir::Pipeline::run(weir::Burst&)", RUN], False),
    ("clock", "", ["rte_rdtsc", "helper", RUN], False),
    ("forbidden", "", ["rte_eth_rx_burst"], False),
])
def test_exceptions(kind: str, what: str, functions: list[str], allowed: bool) -> None:
    frames = [Frame(function, "f.h", 1) for function in functions]
    assert hot_path.is_allowed(Finding(0x100, RUN, kind, what), frames) == allowed


PROGRAM = """
#include <cstdlib>
#include <cstring>
#include <ctime>
namespace weir {{
int shared;
void* kept;
int (*hook)(int);
struct Idle {{ void rest() noexcept; }}; struct Worker {{ void run() noexcept; }};
[[gnu::noinline]] int step(int x) {{
    {step}
    return x;
}}
[[gnu::noinline]] void Idle::rest() noexcept {{
    kept = std::malloc(1);
}}
[[gnu::noinline]] void Worker::run() noexcept {{
    for (int x = 0; x < 1000; ++x) shared = step(x);
    Idle().rest();
}}
}}  // namespace weir
int main() {{ weir::Worker().run(); }}
"""


def audit_of(step: str, folder: Path, *options: str) -> Audit:
    (folder / "loop.cc").write_text(PROGRAM.format(step=step))
    subprocess.run(["g++", "-std=c++20", "-O2", "-g1", *options, "-o", "loop", "loop.cc"], cwd=folder, check=True)
    return hot_path.audit(folder / "loop", folder)


@pytest.mark.parametrize(("step", "said"), [
    ("kept = std::malloc(static_cast<unsigned>(x));", "calls malloc"),
    ("x += __atomic_fetch_add(&shared, 1, __ATOMIC_RELAXED);", "lock xadd"),
    ("x += __atomic_exchange_n(&shared, x, __ATOMIC_RELAXED);", "xchg"),
    ("x += hook(x);", "indirect call"),
    ("kept = new int[static_cast<unsigned>(x)];", "calls operator new[](unsigned long)"),
    ("x += static_cast<int>(std::time(nullptr));", "calls time"),
    ('asm volatile("syscall");', "a system call"),
    ("x += static_cast<int>(__builtin_ia32_rdtsc());", "reads the clock"),
])
def test_a_program_with_one_sin_is_caught(step: str, said: str, tmp_path: Path) -> None:
    problems = audit_of(step, tmp_path).problems
    assert len(problems) == 1 and said in problems[0].what, problems
    assert (problems[0].file, problems[0].line) == ("loop.cc", 11)


@pytest.mark.parametrize("step", [
    "x ^= shared;",
    "switch (x) { case 0: x = 7; break; case 1: shared = 8; break; case 2: x = shared * 3; break; case 3: x ^= 9; break;"
    " case 4: kept = nullptr; break; case 5: x = -x; break; case 6: shared ^= x; break; default: x = 4; }",
])
def test_a_program_without_is_clean(step: str, tmp_path: Path) -> None:
    audit = audit_of(step, tmp_path)
    assert audit.problems == [] and audit.functions == 2 and audit.instructions > 10, audit


def test_nothing_to_read_is_no_success(tmp_path: Path) -> None:
    bare = audit_of("x ^= 1;", tmp_path, "-g0")
    assert [problem.what for problem in bare.problems] == [hot_path.NO_LINES]
    (tmp_path / "empty.cc").write_text("int main() {}\n")
    subprocess.run(["g++", "-g1", "-o", "empty", "empty.cc"], cwd=tmp_path, check=True)
    empty = hot_path.audit(tmp_path / "empty", tmp_path)
    assert [problem.what for problem in empty.problems] == [hot_path.NO_START]


def test_a_missing_build_is_told(tmp_path: Path) -> None:
    problem = hot_path.build_problem(tmp_path)
    assert problem is not None and problem.what == hot_path.NOT_BUILT
