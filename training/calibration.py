"""Calibration: raw outputs on images that were not trained on in, temperatures out.

Source: temperature scaling, Guo et al. 2017; here the temperature of an age depends on the age,
because a year is much for a child and little for the old.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.heads import age_temperatures, quantile, tempered

LOWEST, HIGHEST = 0.2, 5.0
"""Temperatures searched. Outside them the network has learnt nothing that could be calibrated."""

KNOTS = (3.0, 15.0, 30.0, 45.0, 65.0)
"""Predicted ages in years that have a temperature of their own."""

SMOOTHNESS = 5.0
"""Faces that a squared difference of log temperatures of neighbouring knots weighs as much as."""

SWEEPS = 4
"""Times that each knot is fitted with the others as they are."""

_TINY = 1e-12
"""Probabilities are kept above it, so that one confident error does not rule the fit alone."""


def fit_calibration(
    age_output: npt.NDArray[Any],
    gender_output: npt.NDArray[Any],
    ages: npt.NDArray[Any],
    female: npt.NDArray[Any],
) -> dict[str, Any]:
    """Temperatures with the least negative log-likelihood, and the levels of the 80 % interval.

    age_output: (N, bins) probabilities of integer ages, or (N, 1) years, whose temperature is 1.
    gender_output: (N, 1), probability of `female`. ages: years, (N,). female: 0 or 1, (N,).
    Returns the keys of `calibration` in model.json.
    """
    gender = np.clip(np.asarray(gender_output, np.float64)[:, 0], _TINY, 1 - _TINY)
    two_classes = np.stack([1 - gender, gender], axis=1)
    found: dict[str, Any] = {
        "age_temperature": 1.0,
        "gender_temperature": fit_temperature(two_classes, (female == 1).astype(int)),
    }
    if age_output.shape[1] > 1:
        p = np.maximum(np.asarray(age_output, np.float64), _TINY)
        found["age_temperature"] = _temperature_by_age(p, np.asarray(ages, np.float64))
        p = tempered(p, age_temperatures(p, found["age_temperature"]))
        found["interval_levels"] = _interval_levels(p, np.asarray(ages, np.float64))
    return found


def _temperature_by_age(
    p: npt.NDArray[np.float64], ages: npt.NDArray[np.float64]
) -> dict[str, list[float]]:
    """A temperature for each of KNOTS, by the median of p; coordinate descent over them."""
    classes = np.clip(np.rint(ages), 0, p.shape[1] - 1).astype(int)
    logs = np.full(len(KNOTS), np.log(fit_temperature(p, classes)))

    def loss(knot: int, log_temperature: float) -> float:
        tried = logs.copy()
        tried[knot] = log_temperature
        by_age = {"ages": list(KNOTS), "temperatures": np.exp(tried).tolist()}
        # Where labels are few, neighbouring ages say what is likely.
        roughness = float(np.square(np.diff(tried)).sum()) * SMOOTHNESS / len(p)
        return _loss(tempered(p, age_temperatures(p, by_age)), classes) + roughness

    for _ in range(SWEEPS):
        for knot in range(len(KNOTS)):
            logs[knot] = golden_section(
                partial(loss, knot), float(np.log(LOWEST)), float(np.log(HIGHEST)), 1e-4
            )
    return {"ages": list(KNOTS), "temperatures": [round(float(t), 4) for t in np.exp(logs)]}


def _interval_levels(
    p: npt.NDArray[np.float64], ages: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """The levels of p below which a tenth, and nine tenths, of the labels lie."""

    def off(share: float, level: float) -> float:
        return abs(float((ages < quantile(p, level)).mean()) - share)

    low = golden_section(partial(off, 0.1), 0.01, 0.3, tolerance=1e-4)
    high = golden_section(partial(off, 0.9), 0.7, 0.99, tolerance=1e-4)
    return round(low, 4), round(high, 4)


def fit_temperature(p: npt.NDArray[np.float64], classes: npt.NDArray[np.int_]) -> float:
    """The temperature that suits distributions p (N, K) and true classes (N,) best."""
    best = golden_section(
        lambda logarithm: _loss(tempered(p, float(np.exp(logarithm))), classes),
        float(np.log(LOWEST)),
        float(np.log(HIGHEST)),
    )
    return round(float(np.exp(best)), 4)


def _loss(p: npt.NDArray[np.float64], classes: npt.NDArray[np.int_]) -> float:
    """Mean negative log-likelihood of true classes (N,) under distributions p (N, K)."""
    chosen = p[np.arange(len(p)), classes]
    return float(-np.log(np.maximum(chosen, _TINY)).mean())


def golden_section(
    loss: Callable[[float], float], low: float, high: float, tolerance: float = 1e-5
) -> float:
    """Where a function with one valley between low and high is least. Source: Kiefer 1953."""
    ratio = (5**0.5 - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > tolerance:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return (low + high) / 2
