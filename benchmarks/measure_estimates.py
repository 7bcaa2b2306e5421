"""Measure what is made of a network's outputs: point estimates, mirrored crops, calibration.

    python benchmarks/measure_estimates.py --model base $UTKFACE [--part validation]

Prints three tables for one part of the model's own split: age MAE and CS@5 of the median, mean
and mode, with and without the mirror image of each crop; coverage of the 80 % interval by
predicted age with one temperature for all ages, with temperatures by age, and with calibrated
levels too, each fitted on the validation part; and what rules for `uncertain` would flag.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.heads import age_temperatures, estimates, quantile, tempered
from annotate.metrics import minor_metrics
from annotate.model import Model, load_model
from annotate.records import Predictions
from annotate.slices import AGE_BANDS, BAND_NAMES, age_band
from training.calibration import fit_calibration, fit_temperature
from training.data import FaceData, load_parts
from training.presets import PRESETS

Raw = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

RULES = ((8.0, 0.3), (9.0, 0.25), (10.0, 0.2), (12.0, 0.25), (12.0, 0.1))
"""For `uncertain`: age_sd in years above which, and the distance from 0 and 1 of the gender
beyond which a face would be flagged."""


def point_estimates(
    raw: Raw, predictions: Predictions, calibration: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """(name, ages (N,)) of each way to make one age of a distribution."""
    p = raw[0].astype(np.float64)
    calibrated = tempered(p, age_temperatures(p, calibration["age_temperature"]))
    yield "median in whole years", predictions.age
    yield "median", quantile(calibrated, 0.5)
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


def raw_outputs(model: Model, faces: FaceData) -> Raw:
    """What the network says of the faces of one part."""
    return model.predict_raw(faces.pixels)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder that the model was trained on")
    parser.add_argument("--model", default="base")
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    options = parser.parse_args()
    model = load_model(options.model, engine="onnx")
    mirrored = load_model(options.model, engine="onnx", tta=True)
    preset = PRESETS[model.info["preset"]]
    parts = load_parts(options.data, preset, parts=("validation", options.part)).parts
    faces, fitted_on = parts[options.part], parts["validation"]
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
    for name, calibration in calibrations(raw_outputs(model, fitted_on), fitted_on):
        print_coverage(name, estimates(*raw, model.info | {"calibration": calibration}), faces.ages)
    print(
        "\n| age_sd over | gender within | flagged | age MAE | gender | others' age MAE | gender |"
    )
    print("|---|---|---|---|---|---|---|")
    print_rules(predictions, faces)


if __name__ == "__main__":
    main()
