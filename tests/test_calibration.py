"""Calibration: what made drawn models too sure or too unsure is found again, and used."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from annotate.heads import estimates, is_calibration
from training.calibration import KNOTS, fit_calibration, golden_section

Floats = npt.NDArray[np.float64]

BINS = 90


def test_golden_section_finds_the_valley() -> None:
    assert golden_section(lambda x: (x - 0.7) ** 2, -3, 5) == pytest.approx(0.7, abs=1e-4)


def test_temperatures_undo_what_made_a_model_too_sure() -> None:
    # Labels are drawn from p; the "model" says p squared, so a temperature of 2 is right.
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 4000)
    classes = np.array([rng.choice(5, p=row) for row in p])
    sure = p**2 / (p**2).sum(axis=1, keepdims=True)
    female = (rng.random(4000) < p[:, 0]).astype(np.float32)
    odds = (p[:, :1] / (1 - p[:, :1])) ** 2
    found = fit_calibration(sure, odds / (1 + odds), classes.astype(np.float32), female)
    assert found["age_temperature"]["temperatures"][0] == pytest.approx(2.0, abs=0.15)
    assert found["gender_temperature"] == pytest.approx(2.0, abs=0.15)


def test_a_linear_age_has_no_temperature() -> None:
    half = np.full((4, 1), 0.6)
    found = fit_calibration(half * 50, half, np.arange(4.0), np.array([0, 1, 1, 0]))
    assert found["age_temperature"] == 1.0
    assert "interval_levels" not in found


def _bells(centres: Floats, sigma: float | Floats) -> Floats:
    """Gaussian distributions over whole ages, (N, BINS); rows sum to 1."""
    weights = stats.norm.pdf(np.arange(BINS), centres[:, None], np.reshape(sigma, (-1, 1)))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _drawn(centres: Floats, sigma: float, rng: np.random.Generator) -> Floats:
    """An age of each distribution that _bells gives."""
    cumulative = _bells(centres, sigma).cumsum(axis=1)
    return np.asarray((cumulative < rng.random((len(centres), 1))).sum(axis=1), np.float64)


SIGMA = 4.0
"""Years by which labels scatter around what can be seen."""


def _too_sure(centres: Floats) -> Floats:
    """What the drawn model's temperature should be: 2 up to 15 years, 0.5 from 45 on."""
    return np.asarray(np.exp(np.interp(centres, [15.0, 45.0], np.log([2.0, 0.5]))))


@pytest.fixture(scope="module")
def calibrated() -> dict[str, Any]:
    """Fitted on 1,500 faces; the model is too sure of the young and too unsure of the old.

    A Gaussian to the power of T is one whose sigma is smaller by the root of T.
    """
    rng = np.random.default_rng(1)
    centres = rng.uniform(0, 80, 1500)
    raw = _bells(centres, SIGMA / np.sqrt(_too_sure(centres)))
    half = np.full((1500, 1), 0.5)
    return fit_calibration(raw, half, _drawn(centres, SIGMA, rng), np.arange(1500) % 2)


def test_temperatures_follow_the_age(calibrated: dict[str, Any]) -> None:
    found = calibrated["age_temperature"]
    assert found["ages"] == list(KNOTS)
    # Some 300 faces at each knot: the logarithm of their variance is known within
    # sqrt(2 / 300) = 0.08, and less at the ends.
    wanted = np.log(_too_sure(np.array(KNOTS)))
    assert np.log(found["temperatures"]) == pytest.approx(wanted, abs=0.25)
    assert found["temperatures"][0] > 1.5 > 0.7 > found["temperatures"][-1]


def test_intervals_cover_what_they_promise_at_every_age(calibrated: dict[str, Any]) -> None:
    rng = np.random.default_rng(2)
    centres = rng.uniform(8, 80, 6000)
    labels = _drawn(centres, SIGMA, rng)
    raw = _bells(centres, SIGMA / np.sqrt(_too_sure(centres))).astype(np.float32)
    info = {"heads": {"age": {"kind": "distribution"}}, "calibration": calibrated}
    half = np.full((6000, 1), 0.5, np.float32)

    def coverage(chosen: npt.NDArray[np.bool_]) -> float:
        said = estimates(raw[chosen], half[chosen], info)
        assert said.age_p10 is not None
        assert said.age_p90 is not None
        return float(np.mean((said.age_p10 <= labels[chosen]) & (labels[chosen] <= said.age_p90)))

    assert coverage(centres > 0) == pytest.approx(0.8, abs=0.02)
    for low, high in ((8, 25), (25, 45), (45, 80)):
        assert coverage((centres >= low) & (centres < high)) == pytest.approx(0.8, abs=0.06)
    # Without it they are too narrow for the young and too wide for the old.
    info["calibration"] = {"age_temperature": 1.0, "gender_temperature": 1.0}
    assert coverage(centres < 20) < 0.7
    assert coverage(centres > 50) > 0.9


def test_interval_levels_allow_for_a_bias() -> None:
    # Labels lie 1.5 years above what the model says.
    rng = np.random.default_rng(3)
    centres = rng.uniform(20, 60, 1200)
    labels = _drawn(centres + 1.5, SIGMA, rng)
    found = fit_calibration(_bells(centres, SIGMA), np.full((1200, 1), 0.5), labels, labels > 40)
    # The likeliest variance is that of the labels around the model's centres.
    sigma = math.hypot(SIGMA, 1.5)
    assert np.sqrt(found["age_temperature"]["temperatures"][2:4]) * SIGMA == pytest.approx(
        sigma, rel=0.1
    )
    wanted = stats.norm.cdf((1.5 + SIGMA * stats.norm.ppf([0.1, 0.9])) / sigma)
    assert found["interval_levels"] == pytest.approx(wanted, abs=0.03)
    assert found["interval_levels"][0] > 0.15


def test_what_a_fit_gives_is_a_calibration(calibrated: dict[str, Any]) -> None:
    few = fit_calibration(
        _bells(np.array([30.0]), 4.0), np.array([[0.9]]), np.array([31.0]), np.array([1.0])
    )
    linear = fit_calibration(np.full((2, 1), 30.0), np.full((2, 1), 0.3), np.ones(2), np.ones(2))
    for found in (calibrated, few, linear):
        assert is_calibration(json.loads(json.dumps(found)))


def _three_ages(centre: int) -> npt.NDArray[np.float32]:
    """0.2 on the age ten years below, 0.6 on the centre, 0.2 ten years above: its median."""
    row = np.zeros((1, 117), np.float32)
    row[0, [centre - 10, centre, centre + 10]] = 0.2, 0.6, 0.2
    return row


@pytest.mark.parametrize(
    ("centre", "temperature"),
    [
        (10, 2.0),  # the first knot
        (40, 0.5),  # the last
        (90, 0.5),  # constant outside
        # Half of the way in years is half of the way between the logarithms: sqrt(2 * 0.5).
        (25, 1.0),
        # A third of the way: 2^(2/3) * 0.5^(1/3).
        (20, 2 ** (1 / 3)),
    ],
)
def test_the_temperature_of_an_age_lies_between_those_of_the_knots(
    centre: int, temperature: float
) -> None:
    by_age = {"ages": [10.0, 40.0], "temperatures": [2.0, 0.5]}
    info = {
        "heads": {"age": {"kind": "distribution"}},
        "calibration": {"age_temperature": by_age, "gender_temperature": 1.0},
    }
    found = estimates(_three_ages(centre), np.array([[0.5]], np.float32), info)
    side, middle = 0.2 ** (1 / temperature), 0.6 ** (1 / temperature)
    # Two weights, each ten years away.
    expected_sd = 10 * math.sqrt(2 * side / (2 * side + middle))
    assert found.age_sd is not None
    assert found.age_sd[0] == pytest.approx(expected_sd, rel=1e-4)
    assert found.age[0] == pytest.approx(centre, abs=1e-4)


def test_the_ends_of_an_interval_are_read_at_its_levels() -> None:
    row = np.zeros((1, 117), np.float32)
    row[0, 10:20] = 0.1  # evenly from 9.5 to 19.5
    calibration: dict[str, Any] = {"age_temperature": 1.0, "gender_temperature": 1.0}
    info = {"heads": {"age": {"kind": "distribution"}}, "calibration": calibration}
    half = np.array([[0.5]], np.float32)
    plain = estimates(row, half, info)
    calibration["interval_levels"] = [0.2, 0.75]
    found = estimates(row, half, info)
    for said, ends in ((plain, (10.5, 18.5)), (found, (11.5, 17.0))):
        assert said.age_p10 is not None
        assert said.age_p90 is not None
        assert (said.age_p10[0], said.age_p90[0]) == pytest.approx(ends, abs=1e-4)
    assert found.age[0] == plain.age[0]


FINE: dict[str, Any] = {
    "age_temperature": {"ages": [3.0, 15, 30.0], "temperatures": [1.5, 1.0, 0.8]},
    "gender_temperature": 1.2,
    "interval_levels": [0.09, 0.92],
}

NAN, INFINITY = float("nan"), float("inf")

MALFORMED: list[tuple[tuple[str, ...], Any]] = [
    *[(("gender_temperature",), value) for value in (NAN, INFINITY, -1.0, 0.0, 1e9, "1.0", None)],
    *[(("gender_temperature",), value) for value in (True, 1, [1.0], {})],
    *[(("age_temperature",), value) for value in (NAN, INFINITY, 0.001, "1.0", None, [1.0], True)],
    *[(("age_temperature",), value) for value in ({}, {"ages": [3.0]}, {"temperatures": [1.0]})],
    *[(("age_temperature", "ages"), value) for value in (3.0, None, "abc", {}, [], [3.0, 15.0])],
    *[
        (("age_temperature", "ages"), [3.0, 15.0, value])
        for value in (NAN, INFINITY, -1.0, 15.0, 14.0, 1e4, "30", None, [30.0], True)
    ],
    (("age_temperature", "ages"), [False, True, 30.0]),
    (("age_temperature", "ages"), [3.0, NAN, 30.0]),
    (("age_temperature", "ages"), [3.0, 15.0, 30.0, 45.0]),
    *[
        (("age_temperature", "temperatures"), [1.5, 1.0, value])
        for value in (NAN, INFINITY, -1.0, 0.0, 1e9, "1.0", None, [1.0], True)
    ],
    *[
        (("age_temperature", "temperatures"), value)
        for value in (1.0, None, "abc", {}, [], [1.0, 1.0], [1.0] * 4)
    ],
    *[(("interval_levels",), value) for value in (None, 0.1, "ab", {}, [], [0.1], [0.1, 0.9, 0.9])],
    *[
        (("interval_levels",), value)
        for value in ([0.9, 0.1], [0.1, 0.1], [0.6, 0.9], [0.1, 0.4], [0.0, 0.9], [0.1, 1.0])
    ],
    *[
        (("interval_levels",), value)
        for value in ([NAN, 0.9], [0.1, NAN], [-INFINITY, 0.9], [0.1, INFINITY], ["0.1", "0.9"])
    ],
    (("interval_levels",), {"0.1": 0, "0.9": 1}),
]


@pytest.mark.parametrize(("keys", "value"), MALFORMED, ids=lambda case: json.dumps(case))
def test_a_malformed_calibration_is_refused(keys: tuple[str, ...], value: Any) -> None:
    """Whatever JSON can hold: False, or an error that the reader of model.json turns into one."""
    found = copy.deepcopy(FINE)
    assert is_calibration(found)
    place = found
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    assert _is_refused(found)


@pytest.mark.parametrize("found", [None, 1.0, "age_temperature", [], {}, [FINE]])
def test_what_is_no_calibration_at_all_is_refused(found: Any) -> None:
    assert _is_refused(found)


def test_more_knots_than_years_are_refused() -> None:
    count = 1001
    ages = [index / count for index in range(count)]
    found = FINE | {"age_temperature": {"ages": ages, "temperatures": [1.0] * count}}
    assert _is_refused(found)


def _is_refused(found: Any) -> bool:
    try:
        return not is_calibration(json.loads(json.dumps(found)))
    except (KeyError, TypeError):
        return True
