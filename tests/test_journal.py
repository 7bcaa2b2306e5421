"""The journal: a crash at any step of a commit, a full disk at any byte, and the order on disk."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotate import AnnotateError, durable
from annotate.journal import HEADER, LINES, PARTS, Journal
from annotate.parts import Part
from annotate.plan import Found, Plan
from annotate.records import Cursor
from annotate.rows import schema
from annotate.summary import Tally

POSIX = pytest.mark.skipif(os.name != "posix", reason="forks processes")

COUNT = 2
"""Parts of a run; of 5 inputs each."""

CRASHED = 77


def plan() -> Plan:
    made = Plan()
    for number in range(COUNT * 5):
        made.append(Found(b"/photos", b"%02d.jpg" % number, 10, 10**18))
    return made


def part(number: int) -> Part:
    """The part whose inputs are 5 * number and the four behind it."""
    bare = schema({"a": 1})
    paths = [f"{number * 5 + i:02d}.jpg" for i in range(5)]
    columns = {"path": paths, "status": ["ok"] * 5}
    arrays = []
    for field in bare:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        arrays.append(pa.array(columns.get(field.name, [None] * 5), kind).cast(field.type))
    tally = Tally(5, 5, Counter(ok=5), Counter())
    return Part(pa.Table.from_arrays(arrays, schema=bare), tally, Cursor(number * 5 + 5))


def header(kind: str) -> dict[str, Any]:
    return {"kind": kind, "attributes": {}, "skipped": {}}


def go_on(target: Path, kind: str) -> None:
    """What a run does with its journal, from wherever an earlier one ended."""
    with Journal(target) as journal:
        if journal.finish():
            return
        if journal.header is None:
            journal.begin(header(kind), plan())
        assert len(journal.plan()) == COUNT * 5
        for number in range(len(journal.parts), COUNT):
            assert journal.cursor == Cursor(number * 5)
            assert journal.tally.done == number * 5
            journal.commit(part(number), Counter(hidden=1))
        assert journal.skipped == Counter(hidden=COUNT)
        if kind == "parquet":
            with durable.new_file(journal.made) as file:
                pq.write_table(pa.concat_tables(journal.tables()), file)
        journal.publish(journal.made)


def check(target: Path) -> None:
    """The output is whole, and nothing is left beside it."""
    table = pq.read_table(target)
    assert table["path"].to_pylist() == [f"{i:02d}.jpg" for i in range(COUNT * 5)]
    assert [entry.name for entry in target.parent.iterdir()] == [target.name]


@pytest.fixture(params=["parquet", "folder"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def target(tmp_path: Path, kind: str) -> Path:
    return tmp_path / ("out.parquet" if kind == "parquet" else "out")


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a forked process that does some work; minus a signal's number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


def crash_at(step: int, target: Path, kind: str) -> None:
    """Go on in a process that ends, as if killed, at a step of what it does to the disk."""
    left = step
    real = os.fsync

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(CRASHED)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STEPS and str(target.parent) in os.fsdecode(str(arguments[0])):
            count()

    def fsync(handle: int) -> None:
        count()
        real(handle)
        count()

    os.fsync = fsync
    sys.addaudithook(look)
    go_on(target, kind)


@POSIX
@pytest.mark.parametrize("has_old", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_crash_at_every_step_loses_nothing(target: Path, kind: str, has_old: bool) -> None:
    step, codes = 0, []
    while CRASHED in codes[-1:] or not codes:
        if has_old:
            go_on(target, kind)  # an output that the next one replaces
        code = in_child(partial(crash_at, step, target, kind))
        codes.append(code)
        if target.exists():
            check_readable(target)
        assert in_child(partial(crash_at, step % 17, target, kind)) in (0, CRASHED)
        go_on(target, kind)
        go_on_to_the_end(target, kind)
        check(target)
        remove(target)
        step += 1
    assert set(codes[:-1]) == {CRASHED}
    assert codes[-1] == 0
    assert len(codes) > 40


def check_readable(target: Path) -> None:
    assert pq.read_table(target).num_rows == COUNT * 5


def go_on_to_the_end(target: Path, kind: str) -> None:
    """After `finish`, a run begins anew: it is the same output again."""
    if not target.exists():
        go_on(target, kind)


def remove(target: Path) -> None:
    if target.is_dir():
        for entry in target.iterdir():
            entry.unlink()
        target.rmdir()
    else:
        target.unlink()


@POSIX
def test_a_disk_that_is_full_at_any_byte_loses_nothing(target: Path, kind: str) -> None:
    """No file may grow beyond so many bytes, as where that is all the room there is."""
    failed = 0
    for room in (*range(0, 400, 23), *range(400, 20_000, 487)):
        code = in_child(partial(limited, room, target, kind))
        assert code in (0, 3)
        failed += code == 3
        if code == 3:
            assert not target.exists()
            go_on(target, kind)
        check(target)
        remove(target)
    assert failed > 20


def limited(room: int, target: Path, kind: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    try:
        go_on(target, kind)
    except OSError:
        os._exit(3)


def test_a_part_is_on_disk_before_the_journal_says_so(
    target: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed, flushed, renamed, the folder flushed, and only then recorded, and that flushed."""
    told: list[tuple[str, str]] = []
    names: dict[int, str] = {}
    real = {name: getattr(os, name) for name in ("fsync", "replace", "open")}

    def name_of(handle: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{handle}")).name

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")

    def fsync(handle: int) -> None:
        told.append(("fsync", name_of(handle)))
        real["fsync"](handle)

    def replace(old: Path, new: Path) -> None:
        told.append(("rename", Path(new).name))
        real["replace"](old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    with Journal(target) as journal:
        journal.begin(header(kind), plan())
        assert told[-2:] == [("rename", HEADER), ("fsync", journal.folder.name)]
        told.clear()
        journal.commit(part(0), Counter())
        first = "part-00000.parquet"
        assert told == [
            ("fsync", f".{first}.part"),
            ("rename", first),
            ("fsync", PARTS),
            ("fsync", LINES),
        ]
    assert not names


@pytest.fixture
def half_done(target: Path, kind: str) -> Path:
    """A run of which two parts are done. Gives the work folder."""
    with Journal(target) as journal:
        journal.begin(header(kind), plan())
        for number in range(2):
            journal.commit(part(number), Counter(hidden=1))
    return journal.folder


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_line_that_was_cut_short_counts_for_nothing(
    half_done: Path, target: Path, kind: str, cut: int
) -> None:
    lines = half_done / LINES
    lines.write_bytes(lines.read_bytes()[:-cut])
    with Journal(target) as journal:
        assert [p.name for p in journal.parts] == ["part-00000.parquet"]
    assert [p.name for p in (half_done / PARTS).iterdir()] == ["part-00000.parquet"]
    go_on(target, kind)
    check(target)


@pytest.mark.parametrize("harm", ["removed", "cut", "replaced"])
def test_a_part_that_was_harmed_is_made_again(
    half_done: Path, target: Path, kind: str, harm: str
) -> None:
    first = half_done / PARTS / "part-00000.parquet"
    if harm == "removed":
        first.unlink()
    elif harm == "cut":
        first.write_bytes(first.read_bytes()[:-9])
    else:
        first.write_bytes(bytes(first.stat().st_size))
    with Journal(target) as journal:
        assert journal.parts == []
    go_on(target, kind)
    check(target)


def test_what_is_no_part_is_removed(half_done: Path, target: Path, kind: str) -> None:
    """Such as one that was renamed, but not recorded yet."""
    for name in ("part-00002.parquet", ".part-00002.parquet.part"):
        (half_done / PARTS / name).write_bytes(b"half")
    with Journal(target) as journal:
        assert len(journal.parts) == 2
    left = sorted(entry.name for entry in (half_done / PARTS).iterdir())
    assert left == ["part-00000.parquet", "part-00001.parquet"]
    go_on(target, kind)
    check(target)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 99}', "\x00" * 50])
def test_a_work_folder_that_cannot_be_read_is_left_alone(
    half_done: Path, target: Path, text: str
) -> None:
    (half_done / HEADER).write_text(text)
    with pytest.raises(AnnotateError, match="start again"):
        Journal(target)
    assert (half_done / PARTS / "part-00001.parquet").exists()


def test_a_plan_that_was_changed_is_refused(half_done: Path, target: Path) -> None:
    said = json.loads((half_done / HEADER).read_text())
    (half_done / HEADER).write_text(json.dumps(said | {"plan": "0" * 32}))
    with Journal(target) as journal, pytest.raises(AnnotateError, match="not the one"):
        journal.plan()
    (half_done / "plan.arrow").write_bytes(b"ARROW1 no")
    with Journal(target) as journal, pytest.raises(AnnotateError, match="cannot read the plan"):
        journal.plan()


def test_an_empty_work_folder_does_not_stay(target: Path) -> None:
    with Journal(target) as journal:
        assert journal.header is None
        assert journal.folder.exists()
    assert list(target.parent.iterdir()) == []


@POSIX
def test_a_link_of_the_work_folder_s_name_is_not_followed(target: Path) -> None:
    elsewhere = target.parent / "elsewhere"
    elsewhere.mkdir()
    (target.parent / f".{target.name}.annotate").symlink_to(elsewhere)
    with pytest.raises(OSError, match="directory"):
        Journal(target)
    assert list(elsewhere.iterdir()) == []
