"""Mistakes: which faces are named, and whose label is doubted."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from annotate.labels import Label, LabelSet
from annotate.mistakes import (
    DOUBT_AGE_SD,
    DOUBT_PROBABILITY,
    MOST_LISTED,
    WORST_AGES,
    WORST_GENDERS,
    Mistakes,
    mistakes,
)
from annotate.scoring import score
from tests.hand_made import guess, table_of


def found(rows: list[dict[str, Any]], labels: dict[str, Label]) -> Mistakes:
    return mistakes(score(table_of(*rows), LabelSet(labels), resamples=0).table)


def paths(faces: Any) -> list[str]:
    return [face.path for face in faces]


def test_the_largest_errors_come_first_and_no_more_than_are_shown() -> None:
    names = [f"{i:02d}" for i in range(60)]
    rows = [guess(name, 30 + (i if i % 2 else -i), 0.9) for i, name in enumerate(names)]
    ages = found(rows, dict.fromkeys(names, Label(30.0))).ages
    assert paths(ages) == names[::-1][:WORST_AGES]
    assert [ages[0].error_years, ages[1].error_years] == [29 + 30, -58]


def test_equal_errors_keep_the_order_of_the_rows() -> None:
    rows = [guess(name, age, 0.9) for name, age in (("b", 35), ("a", 25), ("c", 35))]
    assert paths(found(rows, dict.fromkeys("abc", Label(30.0))).ages) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("age", "sd", "is_doubted"),
    [
        (45.1, 5.0, True),  # 15.1 years, 3.02 standard deviations
        (45.0, 5.0, False),  # 3 exactly is not more than 3
        (39.9, 1.0, False),  # 9.9 of them, but under 10 years
        (40.0, 1.0, True),
        (40.0, 0.001, True),
        (29.0, 0.001, False),
        (99.0, 10.5, False),  # 6.6 of them, but the model is not certain
        (99.0, DOUBT_AGE_SD, True),
        (99.0, None, False),
        (99.0, float("nan"), False),
        (99.0, -3.0, False),
    ],
)
def test_an_age_label_is_doubted_where_the_model_is_certain_and_far_away(
    age: float, sd: float | None, is_doubted: bool
) -> None:
    doubted = found([guess("a", age, 0.9, age_sd=sd)], {"a": Label(30.0)}).doubted_ages
    assert bool(doubted) == is_doubted


@pytest.mark.parametrize(
    ("label", "probability", "is_doubted"),
    [
        ("female", 1 - DOUBT_PROBABILITY - 0.001, True),
        ("female", 1 - DOUBT_PROBABILITY + 0.001, False),
        ("male", DOUBT_PROBABILITY + 0.001, True),
        ("male", DOUBT_PROBABILITY - 0.001, False),
        ("female", 0.999, False),
        ("male", 3.0, False),  # no probability at all
    ],
)
def test_a_gender_label_is_doubted_where_the_other_is_all_but_certain(
    label: str, probability: float, is_doubted: bool
) -> None:
    doubted = found([guess("a", 30, probability)], {"a": Label(30.0, label)}).doubted_genders
    assert bool(doubted) == is_doubted


def test_wrong_genders_are_named_by_how_sure_they_are_without_those_that_are_doubted() -> None:
    rows = [guess("sure", 30, 0.97), guess("surest", 30, 0.99), guess("unsure", 30, 0.6)]
    rows += [guess("right", 30, 0.1), guess("unlabelled", 30, 0.97)]
    labels = dict.fromkeys(("sure", "surest", "unsure", "right"), Label(30.0, "male"))
    faces = found(rows, labels | {"unlabelled": Label(30.0)})
    assert paths(faces.genders) == ["sure", "unsure"]
    assert paths(faces.doubted_genders) == ["surest"]
    assert faces.doubted_genders[0].against_label == pytest.approx(0.99, abs=1e-6)


def test_the_largest_errors_of_age_are_the_largest_also_where_labels_are_doubted() -> None:
    rows = [guess("doubted", 80, 0.9, age_sd=2.0), guess("wrong", 60, 0.9, age_sd=12.0)]
    rows.append(guess("near", 31, 0.9, age_sd=2.0))
    faces = found(rows, dict.fromkeys(("doubted", "wrong", "near"), Label(30.0)))
    # The model is not certain of the second: 30 years are 2.5 of its standard deviations.
    assert paths(faces.ages) == ["doubted", "wrong", "near"]
    assert paths(faces.doubted_ages) == ["doubted"]


def test_no_more_wrong_genders_are_named_than_are_shown() -> None:
    names = [str(i) for i in range(WORST_GENDERS + 5)]
    rows = [guess(name, 30, 0.6) for name in names]
    assert len(found(rows, dict.fromkeys(names, Label(gender="male"))).genders) == WORST_GENDERS


def test_only_faces_that_are_scored_are_named() -> None:
    rows = [guess("a", 99, 0.9), guess("b", None, None, status="decode_error"), guess("c", 99, 0.9)]
    faces = found(rows, {"a": Label(30.0), "b": Label(30.0)})
    assert paths(faces.ages) == ["a"]
    assert faces.ages[0].label_gender is None
    assert faces.ages[0].against_label is None


def test_a_face_knows_its_row_in_the_table() -> None:
    rows = [guess("none", 30, 0.5), guess("a", 31, 0.9), guess("b", 90, 0.9)]
    table = score(table_of(*rows), LabelSet({"a": Label(30.0), "b": Label(30.0)})).table
    for face in mistakes(table).ages:
        assert table.column("path")[face.row].as_py() == face.path


def test_all_are_counted_and_so_many_are_listed() -> None:
    names = [f"{i:04d}" for i in range(MOST_LISTED + 1)]
    rows = [guess(name, 90, 0.001, age_sd=2.0) for name in names]
    told = found(rows, dict.fromkeys(names, Label(30.0, "female"))).to_dict()
    for what in ("age", "gender"):
        assert told["likely_label_errors"][what]["count"] == MOST_LISTED + 1
        assert len(told["likely_label_errors"][what]["list"]) == MOST_LISTED


def test_a_table_without_a_scored_row_names_nobody() -> None:
    table = score(table_of(guess("a", 30, 0.5)), LabelSet({})).table
    assert isinstance(table, pa.Table)
    assert mistakes(table) == Mistakes((), (), (), ())
