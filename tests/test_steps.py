"""Steps: what becomes of inputs and of the rows of an earlier output, for any of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.plan import Found, Plan
from annotate.previous import Previous
from annotate.records import Cursor, Kept, Source
from annotate.rows import schema
from annotate.run_config import RunConfig
from annotate.steps import Steps, changes, expected_inputs, plan_of_failures
from annotate.writers import write_parquet

FIRST = Cursor()
START = datetime(2020, 1, 1, tzinfo=UTC)
NAMES = [f"{letter}{number}.jpg" for letter in "ab" for number in range(5)]
MEMBERS = [f"z.zip!/{number}.jpg" for number in range(4)]


@dataclass(frozen=True)
class Entry:
    """An input: its path, and a version that stands for size and time."""

    path: str
    version: int = 0
    status: str = "ok"


def written(entries: list[Entry], folder: Path) -> Previous:
    """An output with these inputs, a row each, below /photos."""
    columns: dict[str, list[Any]] = {
        "source": ["/photos"] * len(entries),
        "path": [entry.path for entry in entries],
        "size_bytes": [entry.version for entry in entries],
        "modified_at": [START + timedelta(seconds=entry.version) for entry in entries],
        "sha256": [f"{hash(entry.path) % 2**60:064x}" for entry in entries],
        "status": [entry.status for entry in entries],
    }
    bare = schema({"model_sha256": "x"})
    arrays = []
    for field in bare:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        values = columns.get(field.name, [None] * len(entries))
        arrays.append(pa.array(values, kind).cast(field.type))
    write_parquet(pa.Table.from_arrays(arrays, schema=bare), folder / "old.parquet")
    return Previous(folder / "old.parquet")


def time_ns(version: int) -> int:
    return int((START + timedelta(seconds=version)).timestamp()) * 10**9


def planned(entries: list[Entry]) -> Plan:
    """A plan of these inputs; those of an archive stand together."""
    plan = Plan()
    for entry in entries:
        if "!/" not in entry.path:
            version = entry.version
            plan.append(Found(b"/photos", entry.path.encode(), version, time_ns(version)))
        elif not len(plan) or plan.location(len(plan) - 1) != b"/photos/z.zip":
            plan.append(Found(b"/photos", b"z.zip", 9, 9, is_archive=True))
    return plan


class Stream:
    """The inputs of a plan from a place on, as annotate.inputs gives them."""

    def __init__(self, plan: Plan, entries: list[Entry], start: Cursor) -> None:
        self._plan, self._entries, self._start = plan, entries, start
        self.has_ended = False

    def __iter__(self) -> Iterator[Source]:
        for source in self._all():
            place = Cursor(source.key, source.place or 0)
            if place >= self._start:
                yield source
        self.has_ended = True

    def _all(self) -> Iterator[Source]:
        for item in self._plan:
            if not item.is_archive:
                yield item
                continue
            members = [entry for entry in self._entries if "!/" in entry.path]
            for place, entry in enumerate(members):
                version = entry.version
                yield replace(
                    item, path=entry.path, size_bytes=version, modified_ns=time_ns(version),
                    place=place, is_archive=False, data=b"x",
                )  # fmt: skip


def steps_of(
    old: Previous, new: list[Entry], start: Cursor = FIRST, seen: Any = None, **ways: bool
) -> list[Source | Kept]:
    plan = planned(new)
    steps = Steps(
        plan, old, expected_inputs(plan, old), start=start, seen=seen,
        position=0 if seen is None or not seen.any() else int(np.flatnonzero(seen)[-1]) + 1, **ways,
    )  # fmt: skip
    return list(steps.over(Stream(plan, new, start)))  # type: ignore[arg-type]


def told(steps: list[Source | Kept], old: list[Entry]) -> list[tuple[str, str]]:
    """Each input with what becomes of it."""
    flat: list[tuple[str, str]] = []
    for step in steps:
        if isinstance(step, Source):
            flat.append((step.path, "label"))
        else:
            flat += [(old[q].path, "keep") for q in range(step.start, step.stop)]
    return flat


def versions(paths: list[str]) -> st.SearchStrategy[list[Entry]]:
    """Some of these paths in this order, each of version 0 or 1."""
    return st.lists(st.sampled_from(range(len(paths))), unique=True).flatmap(
        lambda chosen: st.tuples(*[st.booleans() for _ in chosen]).map(
            lambda changed: [
                Entry(paths[i], int(c)) for i, c in zip(sorted(chosen), changed, strict=True)
            ]
        )
    )


WHOLE = [*NAMES, *MEMBERS]
SETTINGS = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SETTINGS
@given(old=versions(WHOLE), new=versions(WHOLE), prune=st.booleans())
def test_every_input_has_one_step_in_order(
    old: list[Entry], new: list[Entry], prune: bool, tmp_path: Path
) -> None:
    previous = written(old, tmp_path)
    result = told(steps_of(previous, new, prune=prune), old)
    paths = [path for path, _ in result]
    assert len(set(paths)) == len(paths)
    here = [entry.path for entry in new]
    assert [path for path in paths if path in here] == here
    beside = {entry.path for entry in old} - set(here)
    # No file of these exists: whatever the plan does not have has vanished.
    assert set(paths) - set(here) == (set() if prune else beside)
    for path, what in result:
        is_same = Entry(path, {e.path: e.version for e in new}.get(path, -1)) in old
        assert what == ("keep" if is_same or path in beside else "label")
    # Rows that were there stand as they stood; of an archive, those that are gone come last.
    were_there = [entry.path for entry in old if "!/" not in entry.path]
    assert [p for p in paths if p in were_there] == [p for p in were_there if p in paths]
    members = [number for number, path in enumerate(paths) if "!/" in path]
    assert members == list(range(min(members, default=0), max(members, default=-1) + 1))


@SETTINGS
@given(old=versions(WHOLE), new=versions(WHOLE), cut=st.integers(0, 20), prune=st.booleans())
def test_a_run_that_is_taken_up_anywhere_goes_on_as_it_would_have(
    old: list[Entry], new: list[Entry], cut: int, prune: bool, tmp_path: Path
) -> None:
    previous = written(old, tmp_path)
    whole = steps_of(previous, new, prune=prune)
    first = whole[:cut]
    cursor, seen = Cursor(), np.zeros(len(previous), bool)
    for step in first:
        cursor = step.cursor
        if isinstance(step, Kept):
            seen[step.start : step.stop] = True
        else:
            seen[list(previous.find(step))] = True
    rest = steps_of(previous, new, start=cursor, seen=seen, prune=prune)
    assert told(first, old) + told(rest, old) == told(whole, old)


def test_what_failed_is_labelled_again(tmp_path: Path) -> None:
    old = [
        Entry("a0.jpg"), Entry("a1.jpg", status="decode_error"), Entry("a2.jpg", status="no_face"),
        Entry("z.zip!/0.jpg"), Entry("z.zip!/1.jpg", status="crashed"),
        Entry("z.zip!/2.jpg", status="unsupported"),
    ]  # fmt: skip
    previous = written(old, tmp_path)
    plan = plan_of_failures(previous, RunConfig().scan_options)
    assert [(item.path, item.is_archive) for item in plan] == [("a1.jpg", False), ("z.zip", True)]
    assert plan.wanted(1) == {b"1.jpg": None}
    assert plan.files == 2
    expected = expected_inputs(plan, previous)
    assert expected.tolist() == [False, True, False, False, True, False]
    again = [entry for entry in old if entry.status in ("decode_error", "crashed")]
    steps = Steps(plan, previous, expected, retry=True)
    result = told(list(steps.over(Stream(plan, again, Cursor()))), old)  # type: ignore[arg-type]
    assert result == [
        ("a0.jpg", "keep"), ("a1.jpg", "label"), ("a2.jpg", "keep"), ("z.zip!/0.jpg", "keep"),
        ("z.zip!/1.jpg", "label"), ("z.zip!/2.jpg", "keep"),
    ]  # fmt: skip
    assert steps.besides == 4


def test_changes_are_counted(tmp_path: Path) -> None:
    previous = written([Entry("a0.jpg"), Entry("a1.jpg"), Entry("a2.jpg")], tmp_path)
    found = changes(planned([Entry("a0.jpg"), Entry("a1.jpg", 1), Entry("b0.jpg")]), previous)
    assert (found.new, found.changed, found.vanished) == (1, 1, 1)
    assert str(found) == "1 new, 1 changed, 1 not found any more"


@pytest.mark.parametrize("count", [0, 1, 255, 256, 600])
def test_rows_that_are_kept_pass_together(tmp_path: Path, count: int) -> None:
    old = [Entry(f"{i:03d}.jpg") for i in range(count)]
    steps = steps_of(written(old, tmp_path), old)
    assert len(steps) == -(-count // 256)
    assert told(steps, old) == [(entry.path, "keep") for entry in old]
    if steps:
        assert steps[-1].cursor == Cursor(count)
