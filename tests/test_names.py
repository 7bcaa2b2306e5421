"""Names: bytes to text and back, in folders and archives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from annotate import resolve
from annotate.names import escape, escape_path, member_path, split_path, unescape
from tests.trees import NAMES, POSIX, found, make


@POSIX
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_found_and_its_row_opens_it(tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(make(tmp_path, b"sub\xff/" + name)), b"sub\xff", name)
    with open(path, "wb") as file:
        file.write(name)
    (source,) = found(tmp_path).plan
    source.path.encode("utf-8")  # is text
    assert source.location == path
    row = {"source": source.source, "path": source.path, "other": 1}
    assert os.fsencode(resolve(row)) == path
    with open(resolve(row), "rb") as file:
        assert file.read() == name


@POSIX
def test_the_escape_is_the_documented_one() -> None:
    assert escape(b"a\xff\\b \xc3\xa9\n") == "a\\xff\\\\b é\n"


@given(st.binary())
@example(b"\\xff")
@example(b"\\\\xff")
@example(b"\xed\xa0\x80")
def test_escape_is_reversible_text(name: bytes) -> None:
    text = escape(name)
    text.encode("utf-8")
    assert unescape(text) == name


@given(st.binary(), st.binary())
def test_different_names_stay_different(one: bytes, other: bytes) -> None:
    assert (escape(one) == escape(other)) == (one == other)


@given(st.binary(), st.binary())
@example(b"x.zip", b"a!/b.png")
@example(b"x!/y.zip", b"\\x21/b.png")
@example(b"x.zip!", b"/b.png")
@example(b"x\\", b"!/")
def test_a_path_splits_at_the_first_bare_mark(file: bytes, member: bytes) -> None:
    assert split_path(escape_path(file)) == (file, None)
    if not file.endswith(b"!"):  # as no archive's name does
        assert split_path(member_path(escape_path(file), member)) == (file, member)
    assert unescape(escape_path(member)) == member


def test_the_mark_is_escaped_in_names_and_in_nothing_else() -> None:
    assert escape_path(b"a!/b!c/!.png") == "a\\x21/b!c/!.png"
    assert member_path("trip.zip", b"in!/1.jpg") == "trip.zip!/in\\x21/1.jpg"
    assert resolve({"source": "/in", "path": "trip.zip!/in\\x21/1.jpg"}) == (
        "/in/trip.zip!/in!/1.jpg"
    )


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\")))
def test_ordinary_names_are_not_touched(name: str) -> None:
    assert escape(name.encode()) == name


def test_resolve_takes_a_pandas_row(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    make(tmp_path, "a.png")
    (source,) = found(tmp_path).plan
    frame = pandas.DataFrame({"source": [source.source], "path": [source.path]})
    frame["source"] = frame["source"].astype("category")
    assert resolve(frame.iloc[0]) == str(tmp_path / "a.png")
