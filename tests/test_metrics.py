"""Metrics: figures by hand and by scikit-learn; what is undefined is None."""

from __future__ import annotations

import tracemalloc
from dataclasses import fields

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sk

from annotate.definitions import DEFINITIONS
from annotate.metrics import (
    AgeMetrics,
    GenderMetrics,
    MinorMetrics,
    age_metrics,
    gender_metrics,
    minor_metrics,
    share,
)
from annotate.slices import (
    Pairs,
    all_slices,
    score_slice,
)

Floats = npt.NDArray[np.float64]


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def some_pairs(n: int, seed: int = 0) -> Pairs:
    """Faces with plausible errors, float32 as the rows are, ties among the probabilities."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 101, n).astype(np.float64)
    age = (label + rng.normal(1, 6, n)).astype(np.float32).astype(np.float64)
    female = rng.integers(0, 2, n).astype(np.float64)
    probability = np.clip(np.round(female * 0.5 + rng.normal(0.25, 0.2, n), 2), 0, 1)
    return Pairs(
        age_label=label,
        age=age,
        age_p10=age - 7,
        age_p90=age + 7,
        female_label=female,
        female=(probability >= 0.5).astype(np.float64),
        female_probability=probability,
        race=rng.choice(np.array(["White", "Black", "Asian", ""]), n),
        minor_probability=np.clip(np.round((24 - age) / 12, 2), 0, 1),
    )


def minor_of(label: Floats, probability: Floats, **options: int) -> MinorMetrics:
    found = minor_metrics(label, probability, **options)
    assert found is not None
    return found


def test_age_figures_by_hand() -> None:
    found = age_metrics(
        floats(30, 40, 50, 20),
        floats(32, 37, 60, 25),
        floats(25, 38, 55, 15),
        floats(35, 45, 65, 20),
    )
    # Errors 2, -3, 10, 5; intervals hold 30, 40 and (at its end) 20, but not 50.
    assert found.mae.value == 5.0
    assert found.median_error.value == 4.0
    assert found.mse.value == pytest.approx(34.5)
    assert found.rmse.value == pytest.approx(34.5**0.5)
    assert found.bias.value == 3.5
    assert found.cs5.value == 0.75
    assert found.interval_coverage.value == 0.75
    assert {getattr(found, field.name).n for field in fields(found)} == {4}


def test_gender_figures_by_hand() -> None:
    label = floats(1, 1, 1, 0, 0)
    probability = floats(0.9, 0.5, 0.25, 0.5, 0.05)
    found = gender_metrics(label, (probability >= 0.5).astype(float), probability)
    assert found.accuracy.value == pytest.approx(3 / 5)
    assert found.balanced_accuracy.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    # Of six pairs of a female and a male 0.9 wins two, 0.5 wins one and ties one, 0.25 wins one.
    assert found.auc.value == pytest.approx(4.5 / 6)
    # Bins 0.9: gap 0.1; 0.5: |1.0 - 1| = 0; 0.2: 0.75; 0.0: 0.05.
    assert found.calibration_error.value == pytest.approx((0.1 + 0 + 0.75 + 0.05) / 5)


def test_a_probability_of_one_lies_in_the_last_bin() -> None:
    found = gender_metrics(floats(1, 0), floats(1, 1), floats(1.0, 0.95))
    # One bin: |(1.0 + 0.95) - 1| / 2; in two bins it would be (0 + 0.95) / 2.
    assert found.calibration_error.value == pytest.approx(0.475)


@pytest.mark.parametrize("n", [2, 3, 50, 501])
def test_figures_equal_scikit_learn(n: int) -> None:
    pairs = some_pairs(n, seed=n)
    label, age = pairs.age_label, pairs.age
    found = age_metrics(label, age, resamples=0)
    assert found.mae.value == pytest.approx(sk.mean_absolute_error(label, age))
    assert found.median_error.value == pytest.approx(sk.median_absolute_error(label, age))
    assert found.mse.value == pytest.approx(sk.mean_squared_error(label, age))
    assert found.rmse.value == pytest.approx(sk.root_mean_squared_error(label, age))
    gender = gender_metrics(pairs.female_label, pairs.female, pairs.female_probability, resamples=0)
    truth, guess = pairs.female_label, pairs.female
    assert gender.accuracy.value == pytest.approx(sk.accuracy_score(truth, guess))
    if len(set(truth)) == 2:
        assert gender.balanced_accuracy.value == pytest.approx(
            sk.balanced_accuracy_score(truth, guess)
        )
        assert gender.auc.value == pytest.approx(sk.roc_auc_score(truth, pairs.female_probability))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 8).map(lambda i: i / 8)), min_size=2, max_size=40
    )
)
def test_auc_with_many_ties_equals_scikit_learn(faces: list[tuple[bool, float]]) -> None:
    label = np.array([float(female) for female, _ in faces])
    probability = np.array([p for _, p in faces])
    found = gender_metrics(label, (probability >= 0.5).astype(float), probability, resamples=0)
    if len(set(label)) == 1:
        assert found.auc.value is None
        assert found.balanced_accuracy.value is None
    else:
        assert found.auc.value == pytest.approx(sk.roc_auc_score(label, probability))


def test_intervals_equal_a_plain_bootstrap() -> None:
    """The same figures by a loop over resampled faces, to within the noise of resampling."""
    pairs = some_pairs(150, seed=4)
    rng = np.random.default_rng(1)
    plain: dict[str, list[float]] = {"mae": [], "median_error": [], "rmse": [], "auc": []}
    for _ in range(2000):
        i = rng.integers(0, 150, 150)
        size = np.abs(pairs.age[i] - pairs.age_label[i])
        plain["mae"].append(float(size.mean()))
        plain["median_error"].append(float(np.median(size)))
        plain["rmse"].append(float(np.sqrt((size**2).mean())))
        plain["auc"].append(sk.roc_auc_score(pairs.female_label[i], pairs.female_probability[i]))
    found = score_slice(pairs, {}, resamples=4000)
    for name, draws in plain.items():
        metric = getattr(found.age, name, None) or getattr(found.gender, name)
        low, high = np.percentile(draws, [2.5, 97.5])
        assert metric.low == pytest.approx(low, abs=0.12 * (high - low)), name
        assert metric.high == pytest.approx(high, abs=0.12 * (high - low)), name


@pytest.mark.parametrize("n", [2, 14, 500])
def test_a_share_of_all_or_none_has_the_interval_of_wilson(n: int) -> None:
    """The bootstrap would say 1 to 1. Against SciPy's."""
    label, pairs = np.zeros(n), np.ones(n)
    wilson = binomtest(n, n).proportion_ci(method="wilson")
    right = gender_metrics(pairs, pairs, pairs * 0.9).accuracy
    wrong = gender_metrics(pairs, label, pairs * 0.1).accuracy
    inside = age_metrics(label, pairs, label, pairs).interval_coverage
    near = age_metrics(label, pairs * 5).cs5
    adults = minor_of(label, pairs * 0.1).share_minor
    for metric in (right, inside, near):
        assert (metric.value, metric.n) == (1.0, n)
        assert (metric.low, metric.high) == pytest.approx((wilson.low, wilson.high))
    for metric in (wrong, adults):
        assert metric.value == 0.0
        assert (metric.low, metric.high) == pytest.approx((1 - wilson.high, 1 - wilson.low))


def test_coverage_of_all_is_of_the_faces_that_have_an_interval() -> None:
    nan = float("nan")
    found = age_metrics(floats(*[30] * 8), floats(*[31] * 8), floats(*[29] * 3, *[nan] * 5),
                        floats(*[35] * 8)).interval_coverage  # fmt: skip
    wilson = binomtest(3, 3).proportion_ci(method="wilson")
    assert (found.value, found.n, found.low) == (1.0, 3, pytest.approx(wilson.low))


def test_what_is_no_share_has_no_interval_where_all_are_right() -> None:
    label = floats(1, 1, 0, 0)
    found = gender_metrics(label, label, floats(0.9, 0.8, 0.2, 0.1))
    for metric in (found.balanced_accuracy, found.auc):
        assert (metric.value, metric.low, metric.high, metric.n) == (1.0, None, None, 4)


def test_without_resamples_there_is_no_interval_of_any_kind() -> None:
    found = gender_metrics(floats(1, 1), floats(1, 1), floats(0.9, 0.8), resamples=0)
    assert (found.accuracy.value, found.accuracy.low) == (1.0, None)


def test_one_wrong_face_leaves_the_bootstrap() -> None:
    label = np.ones(50)
    guess = np.where(np.arange(50) == 0, 0.0, 1.0)
    found = gender_metrics(label, guess, label * 0.9).accuracy
    # Of 50 draws of a face that is wrong with 1 in 50: none 36 %, more than 3 under 2 %.
    assert (found.value, found.low, found.high) == pytest.approx((0.98, 0.94, 1.0))


def test_about_95_percent_of_intervals_hold_the_true_mean() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(300):
        error = rng.normal(2.0, 5.0, 60)
        bias = age_metrics(np.zeros(60), error, resamples=400, seed=trial).bias
        assert bias.low is not None
        assert bias.high is not None
        hits += bias.low <= 2.0 <= bias.high
    # 285 expected, standard deviation 3.8; small samples cost the percentile method a little.
    assert 267 <= hits <= 297


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_faces_and_the_other_slices_change_nothing(seed: int) -> None:
    pairs = some_pairs(120, seed)
    shuffled = pairs.take(np.random.default_rng(seed).permutation(120))
    assert score_slice(pairs, {}, resamples=50) == score_slice(shuffled, {}, resamples=50)
    alone = pairs.take(np.flatnonzero(pairs.race == "Black"))
    black = [s for s in all_slices(pairs, resamples=50)["race"] if s.where["race"] == "Black"]
    assert black == list(all_slices(alone, resamples=50)["race"])


def test_the_seed_changes_intervals_and_nothing_else() -> None:
    pairs = some_pairs(80)
    one, same, other = (score_slice(pairs, {}, seed=seed, resamples=100) for seed in (1, 1, 2))
    assert one == same
    assert one.age.mae.value == other.age.mae.value
    assert one.age.mae.low != other.age.mae.low


def figures(found: AgeMetrics | GenderMetrics) -> list[float | None]:
    return [getattr(found, field.name).value for field in fields(found)]


def test_nothing_is_scored_where_there_is_nothing() -> None:
    empty = floats()
    ages, genders = age_metrics(empty, empty), gender_metrics(empty, empty, empty)
    assert figures(ages) == [None] * 7
    assert figures(genders) == [None] * 4
    assert ages.mae.to_dict() == {"value": None, "low": None, "high": None, "n": 0}
    assert all(found == () for found in all_slices(some_pairs(0)).values())


def test_one_face_has_figures_but_no_interval() -> None:
    found = age_metrics(floats(30), floats(33))
    assert (found.mae.value, found.mae.low, found.mae.high, found.mae.n) == (3.0, None, None, 1)


def test_one_gender_has_accuracy_but_no_ranking() -> None:
    found = gender_metrics(floats(1, 1, 1), floats(1, 1, 0), floats(0.9, 0.8, 0.1))
    assert found.accuracy.value == pytest.approx(2 / 3)
    assert found.balanced_accuracy.value is None
    assert found.auc.value is None
    assert found.auc.n == 3


def test_coverage_is_none_for_a_model_without_intervals() -> None:
    found = age_metrics(floats(1, 2, 3), floats(1, 2, 3))
    assert found.interval_coverage.to_dict() == {"value": None, "low": None, "high": None, "n": 0}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.sampled_from([float("nan"), float("inf"), -float("inf"), 0, 1, 30.5])] * 4),
        max_size=12,
    )
)
def test_values_that_are_no_numbers_are_left_out(rows: list[tuple[float, ...]]) -> None:
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    found = age_metrics(*columns, resamples=20)
    known = np.isfinite(columns[0]) & np.isfinite(columns[1])
    assert found.mae.n == known.sum()
    for field in fields(found):
        metric = getattr(found, field.name)
        for value in (metric.value, metric.low, metric.high):
            assert value is None or np.isfinite(value)


def test_memory_does_not_grow_with_resamples_times_faces() -> None:
    pairs = some_pairs(100_000)
    tracemalloc.start()
    score_slice(pairs, {}, resamples=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All resamples at once would be 100 x 100,000 x 8 bytes = 80 MB an array.
    assert peak < 40e6


def test_every_figure_is_defined_in_words() -> None:
    names = {f"age.{f.name}" for f in fields(AgeMetrics)}
    names |= {f"gender.{f.name}" for f in fields(GenderMetrics)}
    names |= {f"minor.{f.name}" for f in fields(MinorMetrics) if f.name != "n"}
    assert names <= DEFINITIONS.keys()


def test_columns_of_different_lengths_are_a_bug() -> None:
    pairs = some_pairs(3)
    columns = {f.name: getattr(pairs, f.name) for f in fields(pairs)}
    with pytest.raises(ValueError, match="race"):
        Pairs(**columns | {"race": np.array(["White"])})


@pytest.mark.parametrize(("count", "n"), [(0, 7), (7, 7), (1, 1), (3, 200), (19_999, 20_000)])
def test_a_share_has_scipys_wilson_interval(count: int, n: int) -> None:
    expected = binomtest(count, n).proportion_ci(0.95, method="wilson")
    found = share(count, n)
    assert (found.value, found.n) == (count / n, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= count / n <= found.high <= 1


def test_a_share_of_nothing_is_not_defined() -> None:
    assert share(0, 0).to_dict() == {"value": None, "low": None, "high": None, "n": 0}
