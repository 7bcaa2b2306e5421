"""The pool: workers that do not end by themselves, and those that cannot be ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate import pool
from tests.conftest import ROOT
from tests.hanging import HANG_S, end_tracers
from tests.test_deadlines import limited

pytestmark = pytest.mark.skipif(os.name != "posix", reason="stops processes by signal")


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_worker_that_is_stopped_is_killed(
    tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own timer cannot end it before it goes on, which it never does."""
    monkeypatch.setattr(pool, "GRACE_S", 0.5)
    with limited({2: "stop", 3: "stop"}, tmp_path, 9, workers=processes) as results:
        assert list(results) == [0, 1, "timeout of 2", "timeout of 3", 16, 25, 36, 49, 64]


@pytest.fixture
def traces(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    end_tracers(tmp_path)


SCRIPT = """
import sys
from pathlib import Path
from annotate import AnnotateError, pool, workers
from tests.test_deadlines import limited
folder, workers.MAX_LOST = Path(sys.argv[1]), int(sys.argv[2])
pool.GRACE_S = pool.JOIN_S = 0.5
try:
    with limited({1: "unkillable", 2: "unkillable"}, folder, 6, chunk=1) as results:
        print(list(results))
except AnnotateError as error:
    print(error)
print(len(pool.living_workers()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs ptrace as Linux has it")
@pytest.mark.parametrize(
    ("most", "found"),
    [
        pytest.param(8, "[0, 'timeout of 1', 'timeout of 2', 9, 16, 25]", marks=pytest.mark.long),
        (
            3,
            "3 decoding processes hang and cannot be killed: is the disk or the network folder"
            " with the inputs gone?",
        ),
    ],
)
def test_a_worker_that_cannot_be_killed_holds_nothing_up(
    traces: Path, most: int, found: str
) -> None:
    """Neither the other items, nor the program's end. It is as with a disk that is gone."""
    output = traces / "output"
    with output.open("w") as file:  # no pipe: the workers that are left keep theirs open
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(traces), str(most)],
            stdout=file,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        code = process.wait(HANG_S * 0.75)
    if (traces / "not-traced").exists():
        pytest.skip("processes may not trace others here")
    said, lost = output.read_text().splitlines()
    assert (code, said) == (0, found)
    assert int(lost) in (3, 4)  # each item twice, but for one that the other made begin anew
