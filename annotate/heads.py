"""Heads: raw outputs of a network in, the estimates that rows hold out. Pure NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.errors import AnnotateError
from annotate.records import Predictions

ADULT_AGE = 18
"""Years. Ages below it count as minor."""

INTERVAL_LEVELS = (0.1, 0.9)
"""Where an age distribution ends its 80 % interval, unless calibration says otherwise."""

STEP_YEARS = 0.1
"""Between two whole years, the part of the year in which an age goes over from one to the other."""

_SATURATED = 1e-5
_MAX_KNOTS = 100


def age_outputs(info: dict[str, Any]) -> int:
    """Width of the age head: the number of ages, or 1 for a regression head."""
    age = info["heads"]["age"]
    return 1 if age["kind"] == "regression" else int(age["bins"])


def estimates(
    age_output: npt.NDArray[np.float32],
    gender_output: npt.NDArray[np.float32],
    info: dict[str, Any],
) -> Predictions:
    """Raw outputs of a network to what is written in rows; training validates with it too.

    age_output: (N, bins), probability of each integer age 0 to bins - 1, or (N, 1) years for a
    regression head. gender_output: (N, 1), probability of `female`. info: model.json.
    Raises AnnotateError where the network gives values that are not numbers or probabilities.

    Integer age a stands for the years from a - 0.5 to a + 0.5, because labels are whole numbers
    and the training labels are spread evenly around them: a distribution with all its weight on
    30 has the median 30. p10 and p90 are interpolated linearly inside that year; age is the median
    in whole years, see whole_years. Nothing is below 0 years. minor_probability is the weight of
    the integer ages below 18.
    Calibration: age p^(1/T), renormalised; gender logit / T (Guo et al. 2017). T of an age may
    depend on the median that the network gives. p10 and p90 are read at the calibrated levels.
    """
    age, gender = (np.asarray(raw, np.float64) for raw in (age_output, gender_output))
    if not (np.isfinite(age).all() and np.isfinite(gender).all()):
        raise AnnotateError("the model gives values that are not numbers: its weights are damaged")
    if ((gender < 0) | (gender > 1)).any():
        raise AnnotateError("the model gives gender probabilities outside 0 to 1")
    calibration = info["calibration"]
    female = _tempered_probability(gender[:, 0], calibration["gender_temperature"])
    if info["heads"]["age"]["kind"] == "regression":
        return Predictions(_float32(np.maximum(age[:, 0], 0.0)), _float32(female))
    if (age < 0).any() or (np.abs(age.sum(axis=1) - 1) > 0.01).any():
        raise AnnotateError("the model gives age probabilities that do not sum to 1")
    p = tempered(age, age_temperatures(age, calibration["age_temperature"]))
    low, high = calibration.get("interval_levels", INTERVAL_LEVELS)
    years = np.arange(p.shape[1], dtype=np.float64)
    mean = (p * years).sum(axis=1)
    variance = np.maximum((p * (years - mean[:, None]) ** 2).sum(axis=1), 0.0)
    return Predictions(
        age=_float32(whole_years(quantile(p, 0.5))),
        female_probability=_float32(female),
        age_p10=_float32(quantile(p, low)),
        age_p90=_float32(quantile(p, high)),
        age_sd=_float32(np.sqrt(variance)),
        minor_probability=_float32(np.clip(p[:, :ADULT_AGE].sum(axis=1), 0.0, 1.0)),
    )


def whole_years(years: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ages as people say them and data sets label them: in whole years, (N,).

    Halfway between two of them is a ramp of STEP_YEARS instead of a step: a difference in the last
    digit, which another engine makes, must not be a difference of a year. An age of 30.2 becomes
    30, of 30.475 30.25, of 30.5 it stays, and of 30.525 it becomes 30.75.
    """
    nearest = np.round(years)
    beyond = np.abs(years - nearest) - (1 - STEP_YEARS) / 2
    return np.asarray(nearest + np.sign(years - nearest) * np.maximum(beyond, 0.0) / STEP_YEARS)


def age_temperatures(
    p: npt.NDArray[np.float64], temperature: float | Mapping[str, Sequence[float]]
) -> npt.NDArray[np.float64]:
    """The temperature of each distribution of ages, (N, 1).

    p: (N, bins), raw. temperature: one for all, or {"ages": years, rising, "temperatures": one
    each}: by the median of p, the logarithm interpolated linearly and constant outside.
    """
    if not isinstance(temperature, Mapping):
        return np.full((len(p), 1), temperature, np.float64)
    logs = np.log(np.asarray(temperature["temperatures"], np.float64))
    return np.exp(np.interp(quantile(p, 0.5), temperature["ages"], logs))[:, None]


def is_calibration(found: Any) -> bool:
    """Whether the `calibration` of a model.json can be used. Raises KeyError, TypeError."""
    age = found["age_temperature"]
    by_age = isinstance(age, dict)
    knots = age["ages"] if by_age else [0.0]
    temperatures = [*(age["temperatures"] if by_age else [age]), found["gender_temperature"]]
    levels = found.get("interval_levels", INTERVAL_LEVELS)
    return (
        all(isinstance(t, float) and 0.01 <= t <= 100 for t in temperatures)
        and all(type(x) in (int, float) and 0 <= x <= 1000 for x in knots)
        and 0 < len(knots) == len(temperatures) - 1 <= _MAX_KNOTS
        and all(low < high for low, high in itertools.pairwise(knots))
        and len(levels) == 2
        and all(isinstance(level, float) for level in levels)
        and 0 < levels[0] < 0.5 < levels[1] < 1
    )


def tempered(
    p: npt.NDArray[np.float64], temperature: float | npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Distributions p (N, bins), sharpened (T < 1) or flattened (T > 1); rows sum to 1.

    temperature: one for all, or (N, 1).
    """
    powered = p ** (1.0 / temperature)
    return np.asarray(powered / powered.sum(axis=1, keepdims=True))


def _tempered_probability(
    p: npt.NDArray[np.float64], temperature: float
) -> npt.NDArray[np.float64]:
    """1 / (1 + exp(-logit(p) / T)). Without calibration (T is 1) nothing changes.

    float32 has few digits left near 1, and high temperatures would magnify what is missing.
    """
    if temperature == 1.0:
        return p
    p = np.clip(p, _SATURATED, 1.0 - _SATURATED)
    yes, no = p ** (1.0 / temperature), (1.0 - p) ** (1.0 / temperature)
    return np.asarray(yes / (yes + no))


def quantile(p: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """Ages in years below which `share` of each distribution lies, (N,), at least 0.

    p: (N, bins), rows sum to 1; bin a reaches from a - 0.5 to a + 0.5 years, evenly filled.
    """
    cumulative = np.cumsum(p, axis=1)
    # Rounding may end a row just below 1, or below a share of 1.
    cumulative[:, -1] = np.maximum(cumulative[:, -1], 1.0)
    index = np.argmax(cumulative >= share, axis=1)[:, None]
    inside = np.take_along_axis(p, index, axis=1)
    below = np.take_along_axis(cumulative, index, axis=1) - inside
    fraction = np.clip((share - below) / np.where(inside > 0, inside, 1.0), 0.0, 1.0)
    return np.asarray(np.maximum(index + fraction - 0.5, 0.0)[:, 0])


def _float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return values.astype(np.float32)
