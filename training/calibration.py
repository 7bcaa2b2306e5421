"""Calibration: raw outputs on images that were not trained on in, temperatures out.

Source: temperature scaling, Guo et al. 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.model import tempered

LOWEST, HIGHEST = 0.2, 5.0
"""Temperatures searched. Outside them the network has learnt nothing that could be calibrated."""

_TINY = 1e-12
"""Probabilities are kept above it, so that one confident error does not rule the fit alone."""


def fit_temperatures(
    age_output: npt.NDArray[Any],
    gender_output: npt.NDArray[Any],
    ages: npt.NDArray[Any],
    female: npt.NDArray[Any],
) -> dict[str, float]:
    """Temperatures with the least negative log-likelihood of the labels.

    age_output: (N, bins) probabilities of integer ages, or (N, 1) years, whose temperature is 1.
    gender_output: (N, 1), probability of `female`. ages: years, (N,). female: 0 or 1, (N,).
    Returns the keys of `calibration` in model.json.
    """
    gender = np.clip(np.asarray(gender_output, np.float64)[:, 0], _TINY, 1 - _TINY)
    two_classes = np.stack([1 - gender, gender], axis=1)
    age_temperature = 1.0
    if age_output.shape[1] > 1:
        distribution = np.maximum(np.asarray(age_output, np.float64), _TINY)
        classes = np.clip(np.rint(ages), 0, age_output.shape[1] - 1).astype(int)
        age_temperature = _temperature(distribution, classes)
    return {
        "age_temperature": age_temperature,
        "gender_temperature": _temperature(two_classes, (female == 1).astype(int)),
    }


def _temperature(p: npt.NDArray[np.float64], classes: npt.NDArray[np.int_]) -> float:
    """The temperature that suits distributions p (N, K) and true classes (N,) best."""
    rows = np.arange(len(p))

    def loss(log_temperature: float) -> float:
        chosen = tempered(p, float(np.exp(log_temperature)))[rows, classes]
        return float(-np.log(np.maximum(chosen, _TINY)).mean())

    best = golden_section(loss, float(np.log(LOWEST)), float(np.log(HIGHEST)))
    return round(float(np.exp(best)), 4)


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
