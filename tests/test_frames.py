"""Frames: known categories, age bands and paths, whatever the rows hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import annotate
from annotate import AnnotateError
from annotate.frames import age_bands, band_names, files, to_frame
from annotate.records import Status
from annotate.slices import AGE_BANDS, BAND_NAMES, age_band
from tests.conftest import draw
from tests.hand_made import guess, no_face, table_of
from tests.whole_runs import pack


def test_categories_are_known_whichever_occur() -> None:
    female, male = (to_frame(table_of(guess(name, 30, p))) for name, p in (("a", 0.9), ("b", 0.1)))
    for frame in (female, male, to_frame(table_of())):
        assert frame["gender"].cat.categories.tolist() == ["female", "male"]
        assert frame["status"].cat.categories.tolist() == [str(status) for status in Status]
        assert not frame["gender"].cat.ordered
    assert female["gender"].tolist() == ["female"]
    both = pd.concat([female, male])
    assert str(both["gender"].dtype) == "category"
    assert both.groupby("gender", observed=False)["age"].count().to_dict() == {
        "female": 1,
        "male": 1,
    }


def test_sources_are_in_the_order_in_which_they_came() -> None:
    frame = to_frame(table_of(*({"path": "a", "source": s} for s in ("/z", "/a", "/z"))))
    assert frame["source"].cat.categories.tolist() == ["/z", "/a"]


# Age bands --------------------------------------------------------------------------------


def test_the_bands_of_reports_are_in_order_and_hold_their_first_age() -> None:
    ages = np.array([0, 2.999, 3, 9.9, 10, 17.99, 18, 79.5, 80, 120, np.nan], np.float32)
    bands = age_bands(ages)
    assert bands.ordered
    assert tuple(bands.categories) == BAND_NAMES
    expected = ["0-2", "0-2", "3-9", "3-9", "10-17", "10-17", "18-29", "70-79", "80+", "80+"]
    assert list(bands[:-1]) == expected
    assert pd.isna(bands[-1])
    assert (bands[:-1] < "18-29").tolist() == [True] * 6 + [False] * 4


@settings(deadline=None, max_examples=50)
@given(arrays(np.float32, st.integers(0, 50)))
def test_they_are_the_bands_that_evaluation_slices_by(ages: Any) -> None:
    """Infinite ages and such below 0 too, which a stranger's table may hold."""
    with np.errstate(invalid="ignore"):
        assert age_bands(ages).codes.tolist() == age_band(ages.astype(np.float64)).tolist()


def test_edges_make_other_bands() -> None:
    ages = np.array([5, 12.9, 13, 17, 18.5, 70, -1, np.inf], np.float32)
    found = age_bands(ages, [13, 18, 19.0])
    assert found.categories.tolist() == ["13-17", "18", "19+"]
    assert [None if pd.isna(band) else band for band in found] == [
        *(None, None, "13-17", "13-17", "18", "19+", None, None),
    ]
    assert age_bands(ages, range(0, 100, 50)).categories.tolist() == ["0-49", "50+"]
    assert age_bands(ages, (edge for edge in (0, 18))).categories.tolist() == ["0-17", "18+"]
    assert age_bands(ages, np.array([0])).categories.tolist() == ["0+"]


def test_names_of_bands_are_those_of_reports() -> None:
    assert band_names([start for start, _ in AGE_BANDS]) == BAND_NAMES


WRONG = (
    [], [18, 0], [0, 0], [0.5, 3], [-1, 5], [0, np.nan], [0, np.inf], [0, 10**400], [0, 2000],
    "018", ["a"], 18, [None], [[0, 1]],
)  # fmt: skip


@pytest.mark.parametrize("edges", WRONG, ids=str)
def test_edges_that_make_no_bands_are_errors(edges: Any) -> None:
    with pytest.raises(AnnotateError, match="expected True, or the first age of each band") as said:
        age_bands(np.zeros(1, np.float32), edges)
    assert str(said.value).isprintable()


# Paths ------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
    ["a!/b", "t.zip!/x!/y", "\\xff", "\\\\", "\\x21/", "/etc/passwd", "a/../b", "=x", "\\xzz"]
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(NAMES, NAMES), min_size=1))
def test_each_path_is_what_resolve_gives(rows: list[tuple[str, str]]) -> None:
    table = table_of(*({"source": source, "path": path} for source, path in rows))
    frame = to_frame(table)
    expected = [annotate.resolve(row) for row in table.to_pylist()]
    assert files(frame).tolist() == expected


def test_rows_without_a_place_have_no_path() -> None:
    found = files(to_frame(table_of({"path": "a"}, {"path": None}, {"path": "b", "source": None})))
    assert found.tolist() == ["/f/a", None, None]
    assert found.dtype == object


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names")
def test_they_open_the_files_and_members(tmp_path: Path, fake_model: annotate.Model) -> None:
    folder = tmp_path / "faces"
    draw(folder / "plain.png", (1, 2, 3))
    odd = os.fsencode(folder) + b"/odd \xff \\ !.png"
    os.rename(draw(folder / "odd.png", (4, 5, 6)), odd)
    packed = pack(folder, tmp_path / "trip.zip", [b"plain.png"])
    frame = annotate.run([folder, packed], faces="crop", model=fake_model)
    found = files(frame)
    assert [os.fsencode(path) for path in found[:2]] == [odd, os.fsencode(folder / "plain.png")]
    assert found[2] == f"{packed}!/plain.png"
    for path, (_, row) in zip(found[:2], frame.iterrows(), strict=False):
        assert Path(path).read_bytes() == annotate.open_input(row).read()
    assert annotate.open_input(frame.iloc[2]).read() == (folder / "plain.png").read_bytes()


def test_rows_without_faces_have_no_band() -> None:
    frame = to_frame(table_of(no_face("a"), guess("b", 40, 0.2)))
    assert age_bands(frame["age"].to_numpy()).codes.tolist() == [-1, 5]
