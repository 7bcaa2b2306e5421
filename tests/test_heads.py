"""Heads: estimates against distributions worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.errors import AnnotateError
from annotate.heads import estimates, quantile, whole_years


def info(kind: str = "distribution", age_t: float = 1.0, gender_t: float = 1.0) -> dict[str, Any]:
    return {
        "heads": {"age": {"kind": kind}},
        "calibration": {"age_temperature": age_t, "gender_temperature": gender_t},
    }


def distribution(**weights: float) -> np.ndarray[Any, Any]:
    """distribution(a30=1.0): a row of 117 probabilities."""
    row = np.zeros((1, 117), np.float32)
    for name, weight in weights.items():
        row[0, int(name[1:])] = weight
    return row


GENDER = np.array([[0.8]], np.float32)


@pytest.mark.parametrize(
    ("weights", "age", "p10", "p90", "sd", "minor"),
    [
        # All weight on 30: the year from 29.5 to 30.5, evenly filled.
        ({"a30": 1.0}, 30.0, 29.6, 30.4, 0.0, 0.0),
        # Ten equal years from 9.5 to 19.5; sd of 0 to 9 is sqrt((100 - 1) / 12).
        ({f"a{a}": 0.1 for a in range(10, 20)}, 14.5, 10.5, 18.5, 2.8723, 0.8),
        # Half on 0 (-0.5 to 0.5), half on 40: p10 would be -0.3 and is cut at 0.
        ({"a0": 0.5, "a40": 0.5}, 0.5, 0.0, 40.3, 20.0, 0.5),
        # The last year ends at 116.5.
        ({"a116": 1.0}, 116.0, 115.6, 116.4, 0.0, 0.0),
        # 17 is a minor, 18 is not.
        ({"a17": 0.25, "a18": 0.75}, 18.0, 16.9, 18.3667, 0.4330, 0.25),
    ],
)
def test_estimates_of_distributions_worked_out_by_hand(
    weights: dict[str, float], age: float, p10: float, p90: float, sd: float, minor: float
) -> None:
    found = estimates(distribution(**weights), GENDER, info())
    assert found.age_p10 is not None
    assert found.age_p90 is not None
    assert found.age_sd is not None
    assert found.minor_probability is not None
    values = (found.age, found.age_p10, found.age_p90, found.age_sd, found.minor_probability)
    assert [float(v[0]) for v in values] == pytest.approx([age, p10, p90, sd, minor], abs=1e-3)
    assert {v.dtype for v in values} == {np.dtype(np.float32)}


def test_temperature_flattens_ages_and_gender() -> None:
    # sqrt(0.8) : sqrt(0.2) is 2 : 1. p10 lies 3/20 into the first year, -0.5 to 0.5, and p90
    # 7/10 into the next one; the median lies 3/4 into the first, which is nearest to 0.
    found = estimates(np.array([[0.8, 0.2]], np.float32), GENDER, info(age_t=2.0, gender_t=2.0))
    assert found.age_p90 is not None
    assert found.age_p90[0] == pytest.approx(1.2, abs=1e-6)
    assert found.age[0] == 0.0
    assert found.female_probability[0] == pytest.approx(2 / 3, abs=1e-6)


def test_certainty_stays_certain_and_within_0_to_1() -> None:
    sure = np.array([[0.0], [1.0]], np.float32)
    ages = np.concatenate([distribution(a5=1.0)] * 2)
    assert estimates(ages, sure, info()).female_probability.tolist() == [0.0, 1.0]
    # Kept 1e-5 away from the ends: odds of 1e-5 to the power of 1/5 are 0.1 to 1.
    found = estimates(ages, sure, info(gender_t=5.0)).female_probability
    assert found.tolist() == pytest.approx([0.1 / 1.1, 1 / 1.1], abs=1e-4)


def test_the_last_digits_of_a_sure_network_do_not_matter() -> None:
    near = np.float32(1.0)
    sure = np.array([[near], [np.nextafter(near, np.float32(0))]], np.float32)
    ages = np.concatenate([distribution(a5=1.0)] * 2)
    found = estimates(ages, sure, info(gender_t=5.0)).female_probability
    assert abs(found[0] - found[1]) < 1e-3


def test_a_regression_head_gives_no_intervals_and_no_negative_age() -> None:
    raw = np.array([[-3.5], [41.25]], np.float32)
    found = estimates(raw, np.array([[0.5], [0.25]], np.float32), info("regression"))
    assert found.age.tolist() == [0.0, 41.25]
    assert found.female_probability.tolist() == [0.5, 0.25]
    assert found.gender.tolist() == ["female", "male"]
    assert found.age_p10 is None
    assert found.age_sd is None
    assert found.minor_probability is None


@pytest.mark.parametrize(
    ("age", "gender", "said"),
    [
        (distribution(a3=np.nan), GENDER, "not numbers"),
        (distribution(a3=1.0), np.array([[np.inf]], np.float32), "not numbers"),
        (distribution(a3=1.0), np.array([[1.5]], np.float32), "outside 0 to 1"),
        (distribution(a3=0.2), GENDER, "do not sum to 1"),
        (distribution(a3=1.5, a4=-0.5), GENDER, "do not sum to 1"),
    ],
)
def test_values_that_are_no_probabilities_are_refused(age: Any, gender: Any, said: str) -> None:
    with pytest.raises(AnnotateError, match=said):
        estimates(age, gender, info())


@settings(deadline=None)
@given(
    st.lists(st.floats(0.01, 1.0), min_size=3, max_size=40),
    st.lists(st.floats(0.05, 0.95), min_size=2, max_size=5),
)
def test_quantiles_invert_the_cumulative_distribution(
    weights: list[float], shares: list[float]
) -> None:
    p = np.array([weights]) / np.sum(weights)
    edges = np.arange(len(weights) + 1) - 0.5
    cumulative = np.concatenate([[0.0], np.cumsum(p[0])])
    for share in shares:
        expected = max(0.0, float(np.interp(share, cumulative, edges)))
        assert quantile(p, share)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("years", "said"),
    [
        (30.0, 30.0),
        (30.2, 30.0),
        (30.45, 30.0),
        (30.475, 30.25),
        (30.5, 30.5),
        (30.525, 30.75),
        (30.55, 31.0),
        (31.5, 31.5),
        (0.0, 0.0),
        (0.3, 0.0),
        (116.5, 116.5),
    ],
)
def test_ages_are_whole_years_but_for_a_ramp_between_them(years: float, said: float) -> None:
    assert whole_years(np.array([years]))[0] == pytest.approx(said, abs=1e-9)


@given(st.floats(0, 120), st.floats(-1e-4, 1e-4))
def test_what_engines_differ_by_never_makes_a_year(years: float, difference: float) -> None:
    a, b = whole_years(np.array([years, max(years + difference, 0.0)]))
    assert abs(a - b) <= 10 * abs(difference) + 1e-9
    assert abs(a - years) <= 0.45 + 1e-9
