"""Corrections: what a person says, and the journal that keeps it through any end."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import durable
from annotate.errors import AnnotateError
from annotate.review.corrections import NOTHING, FaceName, Line, Said, parse_line
from annotate.review.journal import Journal, journal_path, locked_journal

FACE = FaceName("ab" * 32, (1.5, 2.0, 30.25, 40.0), 0, "/f", "a/<img src=x onerror=alert(1)>.jpg")
OTHER = FaceName("cd" * 32, None, None, None, "\\xff\u202e\n.jpg")


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        (NOTHING, {"gender": "female"}, Said("female")),
        (Said("female"), {"age": 34}, Said("female", 34.0)),
        (Said("female", 34), {"gender": "male"}, Said("male", 34.0)),
        (Said("female", 34), {"gender": None}, Said(None, 34.0)),
        (Said("female", 34), {"verdict": "not_a_face"}, Said(verdict="not_a_face")),
        (Said(verdict="not_a_face"), {"gender": "male"}, Said("male")),
        (Said(verdict="not_a_face"), {"verdict": "wrong_box"}, Said(verdict="wrong_box")),
        (Said(verdict="wrong_box"), {"age": 3}, Said(None, 3.0, "wrong_box")),
        (Said("male", None, "wrong_box"), {"verdict": None}, Said("male")),
        (NOTHING, {"verdict": "skip"}, Said(verdict="skip")),
        (Said("male"), {"verdict": "skip"}, Said("male")),
        (Said(verdict="wrong_box"), {"verdict": "skip"}, Said(verdict="wrong_box")),
        (Said(verdict="skip"), {"age": 0}, Said(None, 0.0)),
        (Said(verdict="skip"), {"verdict": None}, NOTHING),
        (NOTHING, {"age": 34, "gender": "female"}, Said("female", 34.0)),
        (Said("male", 3, "wrong_box"), {"gender": None, "age": None, "verdict": None}, NOTHING),
    ],
)
def test_the_later_word_counts(before: Said, change: dict[str, Any], after: Said) -> None:
    assert before.changed(change) == after


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"gender": "Female"},
        {"gender": 1},
        {"age": -0.1},
        {"age": 130.5},
        {"age": "34"},
        {"age": True},
        {"age": math.nan},
        {"age": math.inf},
        {"age": 10**400},
        {"verdict": "a face"},
        {"path": "x"},
        {"gender": ["female"]},
        {"verdict": {}},
    ],
)
def test_anything_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says something else
        NOTHING.changed(change)


SAID = st.one_of(
    st.builds(
        Said,
        st.sampled_from([None, "female", "male"]),
        st.one_of(st.none(), st.floats(0, 130)),
        st.sampled_from([None, "wrong_box"]),
    ),
    st.sampled_from([Said(verdict="not_a_face"), Said(verdict="skip")]),
)
EDGE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.builds(
    FaceName,
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.one_of(st.none(), st.tuples(EDGE, EDGE, EDGE, EDGE)),
    st.one_of(st.none(), st.integers(0, 2000)),
    st.one_of(st.none(), st.text()),
    st.one_of(st.none(), st.text()),
)


@given(st.integers(0, 2**50), NAMES, SAID, st.one_of(st.none(), st.integers(0, 2**50)))
def test_a_line_is_one_line_and_comes_back(
    number: int, face: FaceName, said: Said, undoes: int | None
) -> None:
    line = Line(number, "2026-01-02T03:04:05.678+00:00", face, said, undoes)
    raw = line.to_bytes()
    assert raw.count(b"\n") == 1
    assert raw.decode("ascii")[:-1].isprintable()
    assert parse_line(raw) == line


WHOLE = json.loads(Line(1, "now", FACE, Said("female")).to_bytes())


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"nonsense",
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 5000,
        *(
            json.dumps(WHOLE | change).encode()
            for change in (
                {"version": 0},
                {"version": None},
                {"number": -1},
                {"number": "1"},
                {"number": 1e300},
                {"undoes": "x"},
                {"sha256": "AB" * 32},
                {"sha256": None},
                {"box": [1, 2, 3]},
                {"box": "abcd"},
                {"box": [1, 2, 3, None]},
                {"box": [1, 2, 3, 10**400]},
                {"face_index": "0"},
                {"path": 3},
                {"gender": "both"},
                {"age": 131},
                {"verdict": "skip"},
                {"verdict": 7},
            )
        ),
        b'{"version": 1, "number": 1, "at": "", "undoes": null, "gender": null, "age": NaN,'
        b' "verdict": null, "sha256": "' + b"ab" * 32 + b'", "box": null, "face_index": null,'
        b' "source": null, "path": null}',
    ],
)
def test_what_is_no_line_is_told_as_such(spoilt: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says, nobody sees it
        parse_line(spoilt)


def test_a_newer_annotate_is_named() -> None:
    with pytest.raises(AnnotateError, match=r"newer annotate .version 2"):
        parse_line(json.dumps({"version": 2, "anything": 1}).encode())


def test_a_journal_lies_beside_its_output(tmp_path: Path) -> None:
    assert journal_path(tmp_path / "p.parquet") == tmp_path / "p.parquet.corrections.jsonl"
    assert journal_path(f"{tmp_path}/people/") == tmp_path / "people.corrections.jsonl"


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    journal = Journal(path)
    first = journal.append(FACE, Said("female", 34))
    second = journal.append(OTHER, Said(verdict="skip"))
    third = journal.append(OTHER, NOTHING, undoes=second.number)
    assert [line.number for line in (first, second, third)] == [1, 2, 3]
    again = Journal(path)
    assert again.lines == [first, second, third]
    assert again.unreadable == 0
    assert again.append(FACE, NOTHING).number == 4


def test_a_line_that_a_crash_cut_short_costs_that_line(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    journal = Journal(path)
    kept = [journal.append(FACE, Said("female")), journal.append(OTHER, Said("male"))]
    start = path.stat().st_size
    journal.append(FACE, Said("male", 50))
    whole = path.read_bytes()
    for end in range(start, len(whole) - 1):
        path.write_bytes(whole[:end])
        torn = Journal(path)
        assert torn.lines == kept
        assert torn.unreadable == (end > start)
        added = torn.append(OTHER, Said(verdict="skip"))
        after = Journal(path)
        assert after.lines == [*kept, added]
        assert path.read_bytes().startswith(whole[:end])


def test_lines_that_cannot_be_read_are_counted_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    lines = [Line(n, "now", FACE, Said("female", n)).to_bytes() for n in (1, 2)]
    spoilt = lines[0] + b"\x00\xff{\n\n" + b"x" * (3 * 2**20) + b"\n" + lines[1]
    path.write_bytes(spoilt)
    journal = Journal(path)
    assert [line.said.age for line in journal.lines] == [1, 2]
    assert journal.unreadable >= 2
    journal.append(FACE, NOTHING)
    assert path.read_bytes().startswith(spoilt)


def test_a_full_disk_is_told_and_the_next_line_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.jsonl"
    journal = Journal(path)
    first = journal.append(FACE, Said("female"))
    true = durable.append

    def full(where: Path, data: bytes) -> None:
        with where.open("ab") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(durable, "append", full)
    with pytest.raises(AnnotateError, match=r"cannot write the corrections .*No space left"):
        journal.append(FACE, Said("male"))
    assert journal.lines == [first]
    monkeypatch.setattr(durable, "append", true)
    third = journal.append(FACE, Said("male"))
    assert Journal(path).lines == [first, third]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.jsonl")
    with pytest.raises(AnnotateError, match="is no file"):
        Journal(tmp_path / "c.jsonl")


def hold(out: Path, held: Any, done: Any) -> None:
    with locked_journal(out) as journal:
        journal.append(FACE, Said("female"))
        held.set()
        done.wait(60)


def test_two_reviews_of_one_output_are_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    out = tmp_path / "people.parquet"
    other = context.Process(target=hold, args=(out, held, done), daemon=True)
    other.start()
    assert held.wait(60)
    with (
        pytest.raises(
            AnnotateError, match=f"being reviewed by another annotate: process {other.pid}"
        ),
        locked_journal(out),
    ):
        pass
    other.kill()
    other.join(60)
    # A lock that a dead process left is no obstacle, and what it kept is there.
    with locked_journal(out) as journal:
        assert [line.said for line in journal.lines] == [Said("female")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.parquet.corrections.jsonl"]


def test_a_folder_where_nothing_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(AnnotateError, match="copy the output to a folder where you may write"),
        locked_journal(tmp_path / "file" / "people.parquet"),
    ):
        pass
