"""Deadlines: items that hang are ended, whatever they do, and only those."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from annotate import workers
from annotate.deadlines import Board, board, run_within, serve
from annotate.workers import OrderedMap
from tests.conftest import ROOT
from tests.hanging import HANG_S, square, tries

pytestmark = pytest.mark.skipif(os.name != "posix", reason="timers that end a process")

LIMIT_S = 1.0


def limited(
    ways: dict[int, str], folder: Path, count: int, **options: Any
) -> OrderedMap[int, int | str]:
    """Squares of the numbers below count, of which some hang, in windows of 8."""
    settings: dict[str, Any] = {"workers": 2, "window": 8, "chunk": 2, "timeout_s": LIMIT_S}
    return OrderedMap(
        partial(square, ways, str(folder)),
        range(count),
        on_crash=lambda item: f"crash of {item}",
        on_timeout=lambda item: f"timeout of {item}",
        **settings | options,
    )


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_items_that_hang_get_the_timeout_result(tmp_path: Path, processes: int) -> None:
    """Two in the first window, beside one that crashes, and one in the second window."""
    ways = {1: "sleep", 4: "loop", 6: "exit", 9: "sleep"}
    started = time.monotonic()
    with limited(ways, tmp_path, 12, workers=processes) as results:
        found = list(results)
    expected: list[int | str] = [i * i for i in range(12)]
    expected[1], expected[4], expected[9] = "timeout of 1", "timeout of 4", "timeout of 9"
    expected[6] = "crash of 6"
    assert found == expected
    assert time.monotonic() - started < HANG_S
    assert [tries(tmp_path, i) for i in (1, 4, 6, 9)][-1] == 2  # alone in its window


def test_an_item_that_hangs_the_first_time_is_simply_done_again(tmp_path: Path) -> None:
    with limited({3: "sleep once"}, tmp_path, 10) as results:
        assert list(results) == [i * i for i in range(10)]
    assert tries(tmp_path, 3) == 2


@pytest.mark.long
def test_a_slow_start_is_not_the_item_s(tmp_path: Path) -> None:
    """What is prepared, and what is unpickled, takes three times as long as an item may."""
    slow = SlowToLoad()
    prepare = partial(time.sleep, 3 * LIMIT_S)
    with limited({}, tmp_path, 1, workers=1, prepare=prepare) as results:
        assert list(results) == [0]
    with OrderedMap(
        slow, range(3), on_crash=str, workers=1, window=3, chunk=3, timeout_s=LIMIT_S
    ) as squares:
        assert list(squares) == [0, 1, 4]
    assert tries(tmp_path, 0) == 1


class SlowToLoad:
    """A function that takes long to come out of its pickle."""

    def __call__(self, item: int) -> int:
        return item * item

    def __reduce__(self) -> tuple[Callable[[], SlowToLoad], tuple[()]]:
        return _load_slowly, ()


def _load_slowly() -> SlowToLoad:
    time.sleep(3 * LIMIT_S)
    return SlowToLoad()


def in_a_worker(shared: Board, what: str) -> None:
    """What a process does that serves a board."""
    serve(shared)
    if what == "quick":
        assert [run_within(0.2, abs, -i) for i in range(100)] == list(range(100))
    if what == "raises":
        with pytest.raises(ZeroDivisionError):
            run_within(0.2, (1).__truediv__, 0)
    if what == "hangs":
        run_within(0.2, time.sleep, HANG_S)
    if what == "unlimited":
        run_within(None, time.sleep, 0)
    time.sleep(0.6)  # longer than the limit, but at no item


@pytest.mark.parametrize("what", ["quick", "raises", "unlimited", "hangs"])
def test_a_process_ends_at_its_deadline_and_at_no_other_time(what: str) -> None:
    """Also where whoever started the program has had the signal blocked and ignored."""
    shared = Board()
    process = multiprocessing.get_context("spawn").Process(target=in_a_worker, args=(shared, what))
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.signal(signal.SIGALRM, before)
    process.join(HANG_S / 2)
    assert process.exitcode == (-signal.SIGALRM if what == "hangs" else 0)
    assert shared.has_passed() == (what == "hangs")
    assert (shared.overdue_s(process) > 0) == (what == "hangs")
    shared.clear()
    assert not shared.has_passed()


def test_a_deadline_that_has_not_come_has_not_passed() -> None:
    shared, process = Board(), multiprocessing.get_context("spawn").Process()
    assert shared.overdue_s(process) < 0
    shared.set(process, time.monotonic() + 100)
    assert not shared.has_passed()
    assert -100 <= shared.overdue_s(process) < -90


def test_a_process_that_is_no_worker_is_never_ended() -> None:
    """joblib runs items in the program's own process where it may start no others."""
    run_within(0.05, time.sleep, 0.1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_forked_program_has_a_board_of_its_own() -> None:
    """Its workers have the numbers that those of the other have."""
    ours = board()
    child = os.fork()
    if child == 0:
        os._exit(0 if board() is not ours else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert board() is ours


def test_a_loop_ends_after_a_main_process_that_was_killed(tmp_path: Path) -> None:
    """In it the worker cannot see that; the kernel ends it at its deadline."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from tests.test_deadlines import limited\n"
        f"with limited({{0: 'loop'}}, Path({str(tmp_path)!r}), 1, timeout_s=3) as results:\n"
        "    list(results)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    while not tries(tmp_path, 0):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    started = time.monotonic()
    assert process.stdout.read() == b""  # the worker holds the other end
    process.stdout.close()
    assert time.monotonic() - started < HANG_S / 2


def test_leaving_does_not_wait_for_an_item_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for its deadline."""
    monkeypatch.setattr(workers, "LEAVE_S", 0.5)
    with limited({0: "sleep", 1: "loop"}, tmp_path, 4, timeout_s=HANG_S, chunk=1):
        while not (tries(tmp_path, 0) and tries(tmp_path, 1)):
            time.sleep(0.05)
        started = time.monotonic()
    assert time.monotonic() - started < HANG_S / 2
    with limited({}, tmp_path, 4) as fresh:
        assert list(fresh) == [0, 1, 4, 9]


def test_the_loop_of_these_tests_holds_the_interpreter() -> None:
    """Else they would show less than they say."""
    script = (
        "import threading, time, os\n"
        "from tests.hanging import hold_the_interpreter\n"
        "threading.Timer(0.5, os._exit, [9]).start()\n"
        "hold_the_interpreter()\n"
    )
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=5)
