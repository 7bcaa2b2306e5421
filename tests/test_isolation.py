"""Isolation: what breaks its process, or hangs, is a fault, and the rest goes on."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate.doctor.findings import Finding, Verdict
from annotate.doctor.isolation import Check, Options, examine
from tests.conftest import ROOT

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")


def checks(*names: str, limit_s: float = 60.0) -> list[Check]:
    return [
        Check("Area", name, f"tests.misbehaving:{name}", to_do="mend it", limit_s=limit_s)
        for name in names
    ]


def examined(*names: str, limit_s: float = 60.0) -> list[Finding]:
    return list(examine(checks(*names, limit_s=limit_s), Options(model="mine")))


def test_findings_come_in_order_with_their_area_name_and_figures() -> None:
    first, second = examined("well", "chatters")
    assert first == Finding(Verdict.OK, "well ", "", {"model": "mine"}, "", "well", "Area")
    assert (second.name, second.said) == ("chatters", "said")


def test_exceptions_are_faults_in_one_printable_line() -> None:
    before, raised, told, left, after = examined("raises", "is_told", "leaves", "well")
    assert before.said == "so far"
    assert raised == Finding(
        Verdict.FAULT, "RuntimeError: boom [31m", "mend it", name="raises", area="Area"
    )
    # The kind of an AnnotateError says nothing; its fault has an arrow, as every one has.
    assert told == fault_of("is_told", "it is gone: get it again")
    assert left == fault_of("leaves", "SystemExit: as some packages do")
    assert after.verdict is Verdict.OK


def fault_of(name: str, said: str, to_do: str = "mend it") -> Finding:
    return Finding(Verdict.FAULT, said, to_do, name=name, area="Area")


@POSIX
def test_what_ends_its_process_is_a_fault_and_the_rest_goes_on() -> None:
    ended, well, before, crashed, killed, last = examined(
        "ends", "well", "crashes", "is_killed", "well"
    )
    said = "it ended its process with exit code 7: Fatal: no such instruction"
    assert ended == fault_of("ends", said)
    assert well.verdict is Verdict.OK
    assert before.said == "about to crash"
    assert crashed.said == "it ended its process: SIGSEGV, it crashed"
    assert "SIGKILL, the system killed it, most likely for lack of memory" in killed.said
    assert last.verdict is Verdict.OK


@POSIX
def test_what_hangs_is_a_fault_and_nothing_of_it_is_left() -> None:
    begun, hung, well = examined("hangs", "well", limit_s=2)
    assert hung == fault_of("hangs", "no answer within 2 s")
    assert well.verdict is Verdict.OK
    wait_for_end(*begun.figures.values())


@POSIX
def test_whoever_leaves_ends_the_processes() -> None:
    findings = examine(checks("hangs", "well"), Options())
    assert isinstance(findings, Iterator)
    begun = next(findings)
    findings.close()  # type: ignore[attr-defined]
    wait_for_end(*begun.figures.values())


def wait_for_end(*pids: object) -> None:
    """Return once none of the processes runs, or is left as more than an entry of its parent."""
    deadline = time.monotonic() + 300
    while any(runs(int(str(pid))) for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return Path("/proc/self").exists() is False
    return state != "Z"


def test_a_module_that_is_not_there_is_a_fault() -> None:
    (found,) = examine([Check("Area", "gone", "no.such.module:check")], Options())
    assert found.verdict is Verdict.FAULT
    assert "No module named 'no'" in found.said


def test_modules_of_the_current_folder_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a folder of strangers' files."""
    for name in ("json", "numpy", "annotate"):
        (tmp_path / f"{name}.py").write_text("open('was-run', 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry or str(ROOT) for entry in sys.path])
    (found,) = examined("well")
    assert found.verdict is Verdict.OK
    assert not (tmp_path / "was-run").exists()
