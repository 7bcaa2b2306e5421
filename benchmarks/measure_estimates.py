"""Measure what is made of a network's outputs: point estimates, mirrored crops, calibration.

    python benchmarks/measure_estimates.py --model base $UTKFACE [--part validation]

Prints tables for one part of the model's own split: age MAE and CS@5 of the median, mean and
mode, with and without the mirror image of each crop; coverage of the 80 % interval by predicted
age with one temperature for all ages, with temperatures by age, and with calibrated levels too,
each fitted on the validation part; what rules for `uncertain` would flag; and what the ages of the
bands gain if probabilities are divided by a power of the training images' frequencies, beyond what
export did.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.errors import AnnotateError
from annotate.heads import age_temperatures, estimates, quantile, tempered
from annotate.labels import labels_from_names
from annotate.metrics import minor_metrics
from annotate.model import Model, load_model
from annotate.records import Predictions
from annotate.slices import AGE_BANDS, BAND_NAMES, age_band
from training.calibration import fit_calibration, fit_temperature
from training.data import FaceData, FolderData, load_parts
from training.scoring import own_split

Raw = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

RULES = ((8.0, 0.3), (9.0, 0.25), (10.0, 0.2), (12.0, 0.25), (12.0, 0.1))
"""For `uncertain`: age_sd in years above which, and the distance from 0 and 1 of the gender
beyond which a face would be flagged."""


def point_estimates(
    raw: Raw, predictions: Predictions, calibration: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """(name, ages (N,)) of each way to make one age of a calibrated distribution."""
    p = raw[0].astype(np.float64)
    p = tempered(p, age_temperatures(p, calibration["age_temperature"]))
    yield "median in whole years", predictions.age
    yield "median", quantile(p, 0.5)
    yield "mean", p @ np.arange(p.shape[1])
    yield "mode", p.argmax(axis=1)


def print_points(rows: Iterator[tuple[str, Any]], ages: Any) -> None:
    """A line for each point estimate."""
    for name, estimate in rows:
        error = np.abs(estimate - ages)
        print(f"| {name} | {error.mean():.2f} | {(error <= 5).mean():.3f} |")


def print_gender(name: str, predictions: Predictions, female: Any) -> None:
    """A line on the gender of one way of looking."""
    right = (predictions.female_probability > 0.5) == (female > 0.5)
    print(f"| {name} | {right.mean():.4f} |")


def print_coverage(name: str, predictions: Predictions, ages: Any) -> None:
    """A line on one calibration: coverage of all, and by predicted age band."""
    inside = (predictions.age_p10 <= ages) & (ages <= predictions.age_p90)
    bands = age_band(predictions.age.astype(np.float64))
    cells = [
        f"{inside[bands == band].mean():.2f}" if (bands == band).sum() >= 30 else "–"
        for band in range(len(AGE_BANDS))
    ]
    is_minor = (ages < 18).astype(np.float64)
    minor = minor_metrics(is_minor, predictions.minor_probability.astype(np.float64))
    assert minor is not None
    error = minor.calibration_error.value
    print(f"| {name} | {inside.mean():.3f} | {' | '.join(cells)} | {error:.4f} |")


def print_rules(predictions: Predictions, faces: FaceData) -> None:
    """A line for each rule: the share that it flags, and how good flagged and others are."""
    error = np.abs(predictions.age - faces.ages)
    right = (predictions.female_probability > 0.5) == (faces.female > 0.5)
    for sd, margin in RULES:
        female = predictions.female_probability
        flagged = (predictions.age_sd > sd) | ((female > margin) & (female < 1 - margin))
        cells = [
            f"{error[mask].mean():.2f} | {right[mask].mean():.3f}" for mask in (flagged, ~flagged)
        ]
        print(f"| {sd:g} | {margin:g} | {flagged.mean():.3f} | {' | '.join(cells)} |")


def calibrations(raw: Raw, faces: FaceData) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, `calibration` of a model.json) of each way to calibrate, fitted on these faces."""
    whole = fit_calibration(*raw, faces.ages, faces.female)
    one = {
        "age_temperature": fit_temperature(raw[0].astype(np.float64), faces.ages.astype(int)),
        "gender_temperature": whole["gender_temperature"],
    }
    yield "none", {"age_temperature": 1.0, "gender_temperature": 1.0}
    yield "one temperature", one
    yield "temperatures by age", {k: v for k, v in whole.items() if k != "interval_levels"}
    yield "and levels", whole


SMOOTHED_YEARS = 4.0
"""Standard deviation by which the counts of ages are smoothed: people say round ages too often."""

BALANCES = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Powers of the ages' frequencies by which probabilities are divided."""


def age_frequencies(ages: npt.ArrayLike, bins: int) -> npt.NDArray[np.float64]:
    """How frequent each age is, (bins,), smoothed, all above 0, of sum 1. ages: whole years."""
    counts = np.bincount(np.asarray(ages, np.int64), minlength=bins)[:bins]
    grid = np.arange(bins)
    near = np.exp(-0.5 * ((grid[:, None] - grid) / SMOOTHED_YEARS) ** 2)
    # What would be smoothed beyond the first and the last age stays within.
    smoothed = (near / near.sum(axis=0)) @ counts + 1.0
    return np.asarray(smoothed / smoothed.sum())


def print_balances(
    model: Model, raw: Raw, validation: Raw, part: FaceData, whole: FolderData
) -> None:
    """A line for each power: age MAE and CS@5 of all, MAE by the band of the label.

    raw: of the faces to measure. validation: of those that the calibration is fitted on.
    """
    learnt = labels_from_names(whole.hashes["train"]).labels.values()
    ages = [label.age for label in learnt if label.age is not None]
    frequencies = age_frequencies(ages, raw[0].shape[1])
    fitted_on = whole.parts["validation"]
    bands = age_band(part.ages.astype(np.float64))
    for power in BALANCES:
        calibration = fit_calibration(
            _divided(validation[0], frequencies**power),
            validation[1],
            fitted_on.ages,
            fitted_on.female,
        )
        info = model.info | {"calibration": calibration}
        found = estimates(_divided(raw[0], frequencies**power), raw[1], info)
        error = np.abs(found.age - part.ages)
        cells = [f"{error[bands == band].mean():.2f}" for band in range(len(AGE_BANDS))]
        print(
            f"| {power:g} | {error.mean():.2f} | {(error <= 5).mean():.3f} | {' | '.join(cells)} |"
        )


def _divided(p: npt.NDArray[np.float32], by: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    divided = p / by
    return np.asarray(divided / divided.sum(axis=1, keepdims=True), np.float32)


def raw_outputs(model: Model, faces: FaceData) -> Raw:
    """What the network says of the faces of one part."""
    return model.predict_raw(faces.pixels)


def load(options: argparse.Namespace) -> tuple[Model, Model, FolderData]:
    """The model, the same with mirrored crops, and the parts of its own split to measure on.

    Raises AnnotateError, too, for a model that gives no distribution of ages.
    """
    model = load_model(options.model, engine="onnx")
    if model.info["heads"]["age"]["kind"] != "distribution":
        raise AnnotateError(
            f"the model {model.name} gives one number for age: what is measured here is what can"
            " be made of a distribution"
        )
    preset, seed, limit = own_split(options.model)
    parts = ("validation", options.part)
    folder = load_parts(options.data, preset, seed=seed, limit=limit, parts=parts)
    return model, load_model(options.model, engine="onnx", tta=True), folder


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder that the model was trained on")
    parser.add_argument("--model", default="base")
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    options = parser.parse_args()
    try:
        model, mirrored, folder = load(options)
    except AnnotateError as error:
        sys.exit(f"error: {error}")
    faces, fitted_on = folder.parts[options.part], folder.parts["validation"]
    raw = raw_outputs(model, faces)
    predictions = estimates(*raw, model.info)
    both = raw_outputs(mirrored, faces)
    print(f"{model.name}, {len(faces):,} faces of the {options.part} part\n")
    print("| point estimate | age MAE | CS@5 |\n|---|---|---|")
    print_points(point_estimates(raw, predictions, model.info["calibration"]), faces.ages)
    mirrored_rows = point_estimates(both, estimates(*both, model.info), model.info["calibration"])
    print_points(((f"{name}, --tta", ages) for name, ages in mirrored_rows), faces.ages)
    print("\n| gender | accuracy |\n|---|---|")
    print_gender("as it is", predictions, faces.female)
    print_gender("--tta", estimates(*both, model.info), faces.female)
    print(f"\n| calibration | all | {' | '.join(BAND_NAMES)} | ECE of P(age < 18) |")
    print("|---" * (len(BAND_NAMES) + 3) + "|")
    on_validation = raw_outputs(model, fitted_on)
    for name, calibration in calibrations(on_validation, fitted_on):
        print_coverage(name, estimates(*raw, model.info | {"calibration": calibration}), faces.ages)
    print(
        "\n| age_sd over | gender within | flagged | age MAE | gender | others' age MAE | gender |"
    )
    print("|---|---|---|---|---|---|---|")
    print_rules(predictions, faces)
    print(f"\n| balance | age MAE | CS@5 | {' | '.join(BAND_NAMES)} |")
    print("|---" * (len(BAND_NAMES) + 3) + "|")
    print_balances(model, raw, on_validation, faces, folder)


if __name__ == "__main__":
    main()
