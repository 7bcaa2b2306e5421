"""Workers: order, crashes, bugs, leaving early, and what is in flight."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from annotate import AnnotateError, pool, workers
from annotate.workers import OrderedMap
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills processes by signal")


def mapped(function: Callable[[int], Any], count: int, **options: Any) -> OrderedMap[int, Any]:
    items = options.pop("items", range(count))
    settings = {"workers": 2, "window": 8, "chunk": 3, "on_crash": crash} | options
    return OrderedMap(function, items, **settings)


def crash(item: int) -> str:
    return f"crash of {item}"


def square(item: int) -> int:
    return item * item


def slow_at_first(item: int) -> int:
    time.sleep(0.3 if item % 8 == 0 else 0)
    return item


def mark(folder: str, item: int) -> int:
    """Leave a trace of having been started."""
    Path(folder, str(item)).touch()
    return item


def die(how: str, where: tuple[int, ...], item: int) -> int:
    if item in where:
        if how == "exit":
            os._exit(7)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        # Halfway through the answer, as when memory runs out while it is sent.
        multiprocessing.connection.Connection._send = send_a_bit_and_die  # type: ignore[attr-defined]
    return item * item


def send_a_bit_and_die(self: multiprocessing.connection.Connection, data: bytes) -> None:
    os.write(self.fileno(), bytes(data)[:6])
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(trace: str, item: int) -> int:
    if item == 4 and not Path(trace).exists():
        Path(trace).touch()
        os._exit(1)
    return item


def fail_at_5(item: int) -> int:
    if item == 5:
        raise ZeroDivisionError("a bug")
    return item


def nap(folder: str, item: int) -> int:
    mark(folder, item)
    time.sleep(0.05)
    return item


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 50])
@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order(count: int, processes: int) -> None:
    with mapped(square, count, workers=processes) as results:
        assert list(results) == [i * i for i in range(count)]


def test_a_slow_item_does_not_lose_its_place() -> None:
    with mapped(slow_at_first, 24, workers=3, chunk=1) as results:
        assert list(results) == list(range(24))


@pytest.mark.parametrize(("how", "where"), [("exit", (19,)), ("kill", (0, 12, 13))])
def test_an_item_that_ends_its_process_gets_the_crash_result(
    how: str, where: tuple[int, ...]
) -> None:
    """The first, two in one chunk, the last; all others are right."""
    with mapped(partial(die, how, where), 20) as results:
        expected = [crash(i) if i in where else i * i for i in range(20)]
        assert list(results) == expected


def test_one_worker_survives_a_crash_too() -> None:
    with mapped(partial(die, "kill", (3,)), 6, workers=1) as results:
        assert list(results) == [0, 1, 4, "crash of 3", 16, 25]


def test_a_worker_that_dies_while_it_answers_hangs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "STUCK_S", 0.5)
    with mapped(partial(die, "answer", (5,)), 12) as results:
        assert list(results) == [crash(i) if i == 5 else i * i for i in range(12)]


def test_an_item_whose_process_died_for_other_reasons_is_simply_done_again(tmp_path: Path) -> None:
    with mapped(partial(die_once, str(tmp_path / "trace")), 10) as results:
        assert list(results) == list(range(10))


def test_processes_that_never_start_are_the_run_s_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the failure of every single input."""
    monkeypatch.setattr(workers, "_run_chunk", _die_at_once)
    with mapped(square, 5) as results, pytest.raises(AnnotateError, match="as soon as they start"):
        list(results)


def _die_at_once(*_: object) -> None:
    os._exit(1)


def test_an_exception_of_the_function_is_a_bug_and_propagates() -> None:
    with pytest.raises(ZeroDivisionError, match="a bug"), mapped(fail_at_5, 30) as results:
        list(results)
    with mapped(square, 5) as results:  # and nothing stale is left
        assert list(results) == [0, 1, 4, 9, 16]


def test_an_exception_of_the_items_propagates_behind_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield from range(8)
        raise ZeroDivisionError

    with mapped(square, 0, items=items()) as results:
        stream = iter(results)
        assert [next(stream) for _ in range(8)] == [i * i for i in range(8)]
        with pytest.raises(ZeroDivisionError):
            next(stream)


def test_an_exception_of_the_items_propagates() -> None:
    class Broken(list[int]):
        def __iter__(self) -> Any:
            yield 1
            raise ZeroDivisionError

    broken = OrderedMap(square, Broken(), on_crash=crash, workers=2, window=4, chunk=2)
    with broken as results, pytest.raises(ZeroDivisionError):
        list(results)


def test_leaving_early_starts_nothing_more(tmp_path: Path) -> None:
    """Of 2,000 naps of 50 ms, 256 in a window, those that had begun are the last."""
    naps = partial(nap, str(tmp_path))
    with mapped(naps, 2000, window=256, chunk=16) as results:
        while not any(tmp_path.iterdir()):
            time.sleep(0.01)
    started = len(list(tmp_path.iterdir()))
    assert started < 128
    del results
    with mapped(square, 20) as fresh:  # the next map is not taken for the one that was left
        assert list(fresh) == [i * i for i in range(20)]
    assert len(list(tmp_path.iterdir())) == started


def test_an_exception_in_the_consumer_leaves_too() -> None:
    def consume() -> None:
        with mapped(square, 10_000) as results:
            for result in results:
                if result == 49:
                    raise KeyError(result)

    with pytest.raises(KeyError, match="49"):
        consume()


@pytest.mark.parametrize("processes", [1, 2])
def test_at_most_three_windows_are_in_flight(tmp_path: Path, processes: int) -> None:
    """Items started less items consumed, however slow the consumer is."""
    most = 0
    with mapped(partial(mark, str(tmp_path)), 120, workers=processes) as results:
        for consumed, _ in enumerate(results):
            if consumed % 5 == 0:
                time.sleep(0.1)
            most = max(most, len(list(tmp_path.iterdir())) - consumed)
    assert 8 <= most <= 3 * 8


@pytest.mark.parametrize("workers_", [1, 2, 3])
def test_windows_end_where_their_items_carry_enough(
    monkeypatch: pytest.MonkeyPatch, workers_: int
) -> None:
    """Items of 0 to 9 bytes, windows of 10: one more than needed is never taken."""
    monkeypatch.setattr(workers, "WINDOW_BYTES", 10)
    monkeypatch.setattr(workers, "WINDOW_BYTES_PER_WORKER", 1)
    weights = [i * 7 % 10 for i in range(50)]
    weights[20] = 1000
    with mapped(square, 50, weight=weights.__getitem__, window=16, workers=workers_) as results:
        assert list(results) == [i * i for i in range(50)]
    windows = [
        [key for key, _ in window]
        for window in mapped(square, 50, weight=weights.__getitem__, window=16)._windows()
    ]
    assert [key for window in windows for key in window] == list(range(50))
    for window in windows[:-1]:
        carried = [weights[key] for key in window]
        assert sum(carried) >= 10 or len(window) == 16
        assert sum(carried[:-1]) < 10


def test_items_are_read_while_others_are_worked_on(tmp_path: Path) -> None:
    """An item of the first window ends when one of the second has been read."""

    def read_items() -> Iterator[int]:
        for item in range(12):
            mark(str(tmp_path), item)
            yield item

    with mapped(partial(wait_for_a_later_one, str(tmp_path)), 0, items=read_items()) as results:
        assert list(results) == [True] * 4 + [False] * 8


def wait_for_a_later_one(folder: str, item: int) -> bool:
    """Whether the item 8 behind this one is read within five minutes, where there is one."""
    deadline = time.monotonic() + (300 if item < 4 else 0)
    while time.monotonic() < deadline and not Path(folder, str(item + 8)).exists():
        time.sleep(0.01)
    return Path(folder, str(item + 8)).exists()


def test_leaving_early_stops_the_items() -> None:
    """Also those of which the next one would take for ever."""
    stopped = threading.Event()

    def endless() -> Iterator[int]:
        yield from range(8)
        waited_for.append(stopped.wait(300))

    waited_for: list[bool] = []
    with mapped(square, 0, items=endless(), stop_items=stopped.set) as results:
        assert next(iter(results)) == 0
    assert waited_for == [True]


def test_waiting_for_items_is_not_taken_for_a_stuck_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even if all workers were dead; once an item is there, they would have to be looked after."""
    given = threading.Event()
    monkeypatch.setattr(workers, "LOOK_S", 0.1)
    monkeypatch.setattr(pool, "STUCK_S", 0.2)
    monkeypatch.setattr(pool, "_dead_worker", lambda: None if given.is_set() else "dead")
    monkeypatch.setattr(pool, "break_pool", lambda: pytest.fail("broken"))

    def late() -> Iterator[int]:
        time.sleep(1)
        given.set()
        yield 3

    with mapped(square, 0, items=late()) as results:
        assert list(results) == [9]


def test_workers_end_soon_after_a_main_process_that_was_killed(tmp_path: Path) -> None:
    """Also one that has nothing to do: whoever reads the program's stderr sees its end."""
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from functools import partial\n"
        "from tests.test_workers import mapped, nap\n"
        f"with mapped(partial(nap, {str(tmp_path)!r}), 3) as results:\n"
        "    print(list(results), flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"[0, 1, 2]\n"
    process.kill()
    process.wait()
    started = time.monotonic()
    assert process.stdout.read() == b""  # the workers hold the other end, too
    process.stdout.close()
    assert time.monotonic() - started < 150  # by themselves they stay for 300


def test_workers_import_nothing_heavy(tmp_path: Path) -> None:
    """A worker that decodes needs no model and no tables; each would cost it 100 MB or more."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from annotate.decoding import decode_source\n"
        "from annotate.workers import _run_chunk\n"
        "heavy = {'onnxruntime', 'tensorflow', 'keras', 'pandas', 'pyarrow', 'onnx', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.stdout == "[]\n"
