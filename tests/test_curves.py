"""Curves: bins, counts and shares by hand, ROC curves by scikit-learn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from annotate.curves import MOST_ERROR, ROC_STEP, WIDEST_BIN, curves, label_bins, reliability
from annotate.slices import FEW, Pairs

NAN = float("nan")


def pairs(
    *, label: Any = (), age: Any = (), female: Any = (), probability: Any = (), minor: Any = ()
) -> Pairs:
    """Faces with what is given, the rest missing; `female` are labels, 1 or 0."""
    n = max(map(len, (label, age, female, probability, minor)))

    def column(values: Any) -> npt.NDArray[np.float64]:
        return np.array(values if len(values) else [NAN] * n, np.float64)

    probabilities = column(probability)
    return Pairs(
        age_label=column(label),
        age=column(age),
        age_p10=column(()),
        age_p90=column(()),
        female_label=column(female),
        female=np.where(np.isfinite(probabilities), (probabilities >= 0.5) * 1.0, NAN),
        female_probability=probabilities,
        minor_probability=column(minor),
        race=np.full(n, "", np.str_),
    )


def test_bins_of_labels_end_with_enough_faces_or_years() -> None:
    # 30 faces of 20, 29 of 21, 1 of 22; then 5 of 23 and none for long.
    labels = [20.0] * 30 + [21.0] * 29 + [22.5] + [23.9] * 5 + [40.0] * 2
    found = [(one.first, one.last, len(one.faces)) for one in label_bins(np.array(labels))]
    assert found == [(20, 20, 30), (21, 22, 30), (23, 23, 5), (40, 40, 2)]
    mixed = next(label_bins(np.array([21.0] * 29 + [22.5])))
    assert mixed.mean_label == pytest.approx((29 * 21 + 22.5) / 30)
    assert [one.is_small for one in label_bins(np.array(labels))] == [False, False, True, True]


@given(st.lists(st.floats(0, 130), min_size=1, max_size=200))
@settings(max_examples=60, deadline=None)
def test_bins_hold_every_face_once_and_none_is_too_wide(labels: list[float]) -> None:
    bins = list(label_bins(np.array(labels)))
    assert sorted(np.concatenate([one.faces for one in bins]).tolist()) == list(range(len(labels)))
    for one in bins:
        assert all(one.first <= labels[face] < one.last + 1 for face in one.faces)
        assert one.last - one.first < WIDEST_BIN
    for one, after in pairwise(bins):
        assert one.last < after.first
        assert len(one.faces) >= FEW or after.first - one.first >= WIDEST_BIN


def test_the_cumulative_score_counts_the_faces_within_so_many_years() -> None:
    found = curves(pairs(label=[30, 30, 30, 30], age=[30, 31, 25, 70]), resamples=0)
    assert found.age is not None
    shares = [metric.value for metric in found.age.cumulative_score]
    assert shares[:6] == [0.25, 0.5, 0.5, 0.5, 0.5, 0.75]
    assert shares[20] == 0.75
    assert {metric.n for metric in found.age.cumulative_score} == {4}


def test_errors_are_counted_by_whole_years_and_the_ends_hold_the_rest() -> None:
    age = [30.4, 29.5, 28.6, 1e30, 3.0e38]
    found = curves(pairs(label=[30, 30, 30, 30, 0], age=age), resamples=0)
    assert found.age is not None
    counts = found.age.error_histogram
    by_year = {year: n for year, n in enumerate(counts.tolist(), -MOST_ERROR) if n}
    # 0.4 and -0.5 (to even) are 0, -1.4 is -1, and two are far too old.
    assert by_year == {0: 2, -1: 1, MOST_ERROR: 2}
    assert len(counts) == 2 * MOST_ERROR + 1


def test_the_error_by_label_is_that_of_its_faces() -> None:
    label, age = [20.0] * 30 + [50.0] * 30, [23.0] * 30 + [40.0] * 15 + [58.0] * 15
    found = curves(pairs(label=label, age=age), resamples=50)
    assert found.age is not None
    young, old = found.age.error_by_label
    assert (young.mae.value, young.bias.value) == (3.0, 3.0)
    assert (old.mae.value, old.bias.value) == (9.0, -1.0)
    assert old.mae.low is not None
    assert old.mae.high is not None
    assert 8.0 <= old.mae.low < 9.0 < old.mae.high <= 10.0


def test_the_confusion_matrix_is_counted_by_label() -> None:
    found = curves(pairs(female=[1, 1, 1, 0, 0, NAN], probability=[0.9, 0.5, 0.2, 0.1, 0.7, 0.9]))
    assert found.gender is not None
    assert found.gender.confusion == {
        "female": {"female": 2, "male": 1},
        "male": {"female": 1, "male": 1},
    }


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1000)), min_size=2, max_size=300))
@settings(max_examples=60, deadline=None)
def test_the_roc_curve_is_scikit_learns_but_for_what_is_thinned_out(
    faces: list[tuple[bool, int]],
) -> None:
    label = np.array([float(is_female) for is_female, _ in faces])
    probability = np.array([per_mille / 1000 for _, per_mille in faces])
    found = curves(pairs(female=label, probability=probability)).gender
    assert found is not None
    if len(set(label)) < 2:
        assert found.roc is None
        return
    assert found.roc is not None
    males, females, _ = sk.roc_curve(label, probability, drop_intermediate=False)
    points = set(zip(males.round(12), females.round(12), strict=True))
    assert {tuple(point) for point in found.roc.round(12)} <= points
    assert found.roc[0].tolist() == [0.0, 0.0]
    assert found.roc[-1].tolist() == [1.0, 1.0]
    area = sk.auc(found.roc[:, 0], found.roc[:, 1])
    assert area == pytest.approx(sk.roc_auc_score(label, probability), abs=2 * ROC_STEP)


def test_a_long_roc_curve_is_short() -> None:
    rng = np.random.default_rng(3)
    label = (rng.random(20_000) < 0.5).astype(float)
    found = curves(pairs(female=label, probability=rng.random(20_000))).gender
    assert found is not None
    assert found.roc is not None
    assert 2 / ROC_STEP * 0.9 < len(found.roc) <= 2 / ROC_STEP + 2


def test_reliability_is_counted_by_tenths() -> None:
    label = np.array([True, False, False, True, True])
    found = reliability(label, np.array([0.05, 0.0, 0.09, 0.95, 1.0]))
    assert [(one.low, one.high, one.found.value, one.found.n) for one in found] == [
        (0.0, 0.1, pytest.approx(1 / 3), 3),
        (0.9, 1.0, 1.0, 2),
    ]
    assert found[0].mean_probability == pytest.approx(0.14 / 3)
    # Wilson, 2 of 2: 1.9604 / (2 + 3.8415) = 0.342.
    assert found[1].found.low == pytest.approx(0.342, abs=1e-3)


def test_who_is_a_minor_is_decided_by_the_label() -> None:
    found = curves(pairs(label=[17.9, 18.0, 40], minor=[0.55, 0.52, 0.0])).minor
    assert found is not None
    assert [(one.found.value, one.found.n) for one in found] == [(0.0, 1), (0.5, 2)]


def test_where_there_is_nothing_to_show_there_is_none() -> None:
    found = curves(pairs(label=[30.0], age=[NAN], female=[NAN]))
    assert (found.age, found.gender, found.minor) == (None, None, None)
    assert found.to_dict() == {"age": None, "gender": None, "minor": None}
