"""tools/test counts what really ran: also in a program that crashed, hung or was skipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from house import tally

GTEST = "[==========] 5 tests ran.\n[  PASSED  ] 3 tests.\n[  SKIPPED ] 1 test, listed below:\n" \
        "[  SKIPPED ] A.b\n[  FAILED  ] 1 test, listed below:\n[  FAILED  ] C.d\n"
PYTEST = "====== 1 failed, 7 passed, 2 skipped in 3.10s ======\n"


@pytest.mark.parametrize(("result", "output", "expected"), [
    ("FAIL", GTEST, (3, 1, 1)),
    ("FAIL", PYTEST, (7, 1, 2)),
    ("OK", "============ 7 passed in 63.10s (0:01:03) ============\n", (7, 0, 0)),
    ("OK", "[  PASSED  ] 12 tests.\n", (12, 0, 0)),
    ("OK", "12 passed, 0 failed\n", (12, 0, 0)),
    ("OK", "says nothing", (1, 0, 0)),
    ("FAIL", "", (0, 1, 0)),
    ("TIMEOUT", "[ RUN      ] A.b\n", (0, 1, 0)),
    ("FAIL", "[  PASSED  ] 12 tests.\nERROR: LeakSanitizer", (12, 1, 0)),
    ("SKIP", "===== 4 skipped in 0.02s =====\n", (0, 0, 4)),
])
def test_of_test(result: str, output: str, expected: tuple[int, int, int]) -> None:
    found = tally.of_test("t", result, output)
    assert (found.passed, found.failed, found.skipped) == expected


def test_log_is_summed(tmp_path: Path) -> None:
    log = tmp_path / "testlog.json"
    log.write_text("".join(json.dumps({"name": "t", "result": result, "stdout": output}) + "\n"
                           for result, output in (("OK", PYTEST.replace("1 failed, ", "")), ("FAIL", GTEST))))
    total = tally.of_log(log)
    assert total.line() == "10 passed, 1 failed, 3 skipped"
    assert total.broken == ["t"]
