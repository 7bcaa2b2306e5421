"""Model cards: model.json and the training history in, a page in Markdown out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

AGE_FIGURES = (
    ("mae", "mean absolute error, years", 2),
    ("median_error", "median absolute error, years", 2),
    ("rmse", "RMSE, years", 2),
    ("mse", "MSE, years²", 1),
    ("bias", "bias, years (above 0: too old)", 2),
    ("cs5", "within 5 years (CS@5)", 3),
    ("interval_coverage", "labels inside the 80 % interval", 3),
)
GENDER_FIGURES = (
    ("accuracy", "accuracy", 3),
    ("balanced_accuracy", "balanced accuracy", 3),
    ("auc", "AUC", 4),
    ("calibration_error", "expected calibration error", 3),
)
"""Figures of the evaluation that the card shows: key, words, decimals."""

PART_TITLES = {
    "test": "Test part: no choice was made on it",
    "validation": "Validation part: it chose the epoch and the calibration, so it flatters",
}

INTENDED = """\
For labelling collections of aligned face crops with the age and the gender that people would
see in them: for sorting, counting and searching, where an error costs little.

Not for decisions about people, not for age verification, not for telling who somebody is or
what gender somebody has."""

LIMITS = """\
- Gender is binary because the labels are: it says how a face would be labelled, not who the
  person is. It fails most on infants and children; see the age bands above.
- Ages are apparent ages, guessed by people or by a program and checked by people; the few labels
  above 80 years make old faces look younger. See the bias by age band.
- Races are the five groups that UTKFace names. Figures differ between them; see above.
- UTKFace is made of pictures from the web, mostly posed and well lit. On other sources (old
  photographs, surveillance, drawings) expect clearly larger errors.
- It expects crops framed as UTKFace frames them. Anything else, also what is no face at all,
  gets a plausible-looking answer."""


def card(info: Mapping[str, Any], rows: list[dict[str, float]]) -> str:
    """The card of a model. info: model.json but for the card's own hash. rows: the history."""
    sections = [
        f"# {info['name']}\n\n{info['about'][:1].upper()}{info['about'][1:]}.",
        f"## Use\n\n{INTENDED}",
        f"## Data and licence\n\n{_data(info)}",
        f"## Training\n\n{_training(info, rows)}",
        f"## Output\n\n{_output(info)}",
        *(_part(part, found) for part, found in info["figures"].items()),
        f"## Limits\n\n{LIMITS}",
        f"## Files\n\n{_files(info['files'])}",
    ]
    return "\n\n".join(sections) + "\n"


def _data(info: Mapping[str, Any]) -> str:
    data = info["data"]
    images, split = data["images"], data["split"]
    counts = ", ".join(f"{images[part]:,} {part}" for part in images)
    faults = "\n".join(f"- `{fault}`" for fault in data["faults"]) or "- none"
    return "\n\n".join(
        (
            f"{data['name']}. Licence of the images: {data['licence']}.",
            f"Licence of these weights: {info['licence']}.",
            f"{sum(images.values()):,} labelled images: {counts}. Split {split['rule']}; seed"
            f" {split['seed']}, {split['test_share']:.0%} test, {split['validation_share']:.0%} of"
            " the rest validation. Byte-identical images are never in two parts."
            f" `{data['hashes']}` lists the training and validation images by the first 16 digits"
            " of their SHA-256, so that an evaluation can say which images the model has met.",
            "Faults of the data (malformed names were not used, nothing was guessed):",
            faults,
        )
    )


def _training(info: Mapping[str, Any], rows: list[dict[str, float]]) -> str:
    training = info["training"]
    kept = rows[training["epoch_kept"] - 1]
    return "\n\n".join(
        (
            f"    KERAS_BACKEND={training['backend']} {training['command']}",
            f"Preset `{info['preset']}`, architecture `{info['architecture']}`, Keras"
            f" {training['keras']} on {training['backend']}. Cost: {training['seconds'] / 3600:.2f}"
            f" hours for {training['epochs']} epochs on"
            f" {training['machine'] or 'a machine that was not recorded'}."
            f" Kept: epoch {training['epoch_kept']}, with a validation age MAE of"
            f" {kept['val_age_mae']:.2f} years (before calibration) and a validation gender"
            f" accuracy of {kept['val_gender_accuracy']:.3f}."
            f" Commit: {info['commit'] or 'not recorded'}.",
            "Exported by:",
            f"    {info['command']}",
        )
    )


def _output(info: Mapping[str, Any]) -> str:
    size_px = info["input"]["size_px"]
    calibration = info["calibration"]
    lines = [
        f"Input: aligned face crops, {size_px}×{size_px} pixels RGB. Female probability: calibrated"
        f" by temperature {calibration['gender_temperature']:.3f} on the {calibration['n']:,}"
        f" images of the {calibration['fitted_on']} part.",
    ]
    age = info["heads"]["age"]
    if age["kind"] == "distribution":
        first, last = age["ages"]
        lines.append(
            f"Age: a distribution over the integer ages {first} to {last}, calibrated by"
            f" temperature {calibration['age_temperature']:.3f}; integer age a stands for a − 0.5"
            " to a + 0.5 years. The estimate is the median; 10 % and 90 % quantiles are the 80 %"
            " interval; P(age < 18) is the weight of the ages below 18."
        )
    else:
        lines.append("Age: one number, cut at 0 years; this model gives no intervals.")
    return "\n\n".join(lines)


def _part(part: str, found: Mapping[str, Any]) -> str:
    """One part's figures: all faces, the ages 21 to 60, and slices."""
    protocol = found["ages_21_to_60"]
    blocks = [
        f"## {PART_TITLES[part]}",
        f"{found['n']:,} faces; 95 % bootstrap intervals. Measured by:",
        f"    {found['command']}",
        _figures(found["age"], protocol["age"], "Age", AGE_FIGURES),
        _figures(found["gender"], protocol["gender"], "Gender", GENDER_FIGURES),
        "The ages 21 to 60 are those of the published protocol; the images are this split's, not"
        " the protocol's.",
        *(_slices(name, slices) for name, slices in found["slices"].items() if slices),
    ]
    return "\n\n".join(blocks)


def _figures(
    everyone: Mapping[str, Any],
    protocol: Mapping[str, Any],
    title: str,
    figures: Iterable[tuple[str, str, int]],
) -> str:
    rows = [
        (words, *_cell(everyone[key], digits), *_cell(protocol[key], digits))
        for key, words, digits in figures
        if everyone[key]["value"] is not None
    ]
    return _table((title, "all ages", "n", "labelled 21 to 60", "n"), rows)


def _slices(name: str, slices: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for part in slices:
        age, gender = part["age"], part["gender"]
        rows.append(
            (
                part["where"][name],
                f"{part['n']:,}",
                _cell(age["mae"], 2)[0],
                _cell(age["bias"], 2)[0],
                _cell(age["cs5"], 3)[0],
                _cell(gender["accuracy"], 3)[0],
            )
        )
    title = f"by {name.replace('_', ' ')}"
    return _table((title, "n", "age MAE", "age bias", "CS@5", "gender accuracy"), rows)


def _cell(figure: Mapping[str, Any], digits: int) -> tuple[str, str]:
    """("5.01 (4.80 to 5.22)", "1,935") of a figure."""
    if figure["value"] is None:
        return "–", f"{figure['n']:,}"
    text = f"{figure['value']:.{digits}f}"
    if figure["low"] is not None:
        text += f" ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"
    return text, f"{figure['n']:,}"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(header)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *map(list, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _files(files: Mapping[str, str]) -> str:
    return _table(
        ("file", "SHA-256"), ((f"`{name}`", f"`{digest}`") for name, digest in files.items())
    )
