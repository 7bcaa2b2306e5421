"""Figures of a model card: the `figures` of model.json in, sections in Markdown out.

Which groups do worst, and how large the gaps are, is worked out from the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from annotate.slices import FEW
from training.markdown import figure, listing, number, table
from training.robustness import robustness_table

Figure = Mapping[str, Any]
"""{"value", "low", "high", "n"}, as Metric.to_dict gives it."""

Found = Mapping[str, Any]
"""A part of model.json."""

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
MINOR_FIGURES = (
    ("calibration_error", "expected calibration error", 3),
    ("brier", "Brier score", 3),
    ("auc", "AUC", 4),
    ("share_minor", "share labelled below 18", 3),
)
"""Figures of the evaluation that the card shows: key, words, decimals."""

SLICES = {
    "age_band": "age band",
    "gender": "gender",
    "race": "race",
    "gender_x_race": "gender and race",
}
CROSSINGS = SLICES | {
    "age_band_x_gender": "age band and gender",
    "age_band_x_race": "age band and race",
}
GAP_FIGURES = {"age_mae": ("age MAE, years", 2), "gender_accuracy": ("gender accuracy", 3)}

RIGHT_COVERAGE = 0.8
WORST_SHOWN = 3


def headlines(info: Found) -> Iterator[str]:
    """A list of what matters most, if anything was measured."""
    figures = info["figures"]
    lines = []
    if test := figures.get("test"):
        lines.append(
            f"{test['n']:,} faces of UTKFace that no choice was made on: {_headline(test)}."
        )
        protocol = test["ages_21_to_60"]
        lines.append(f"Of them, those labelled 21 to 60: {_headline(protocol)}.")
    if other := figures.get("appa_real"):
        lines.append(f"{other['n']:,} photographs of APPA-REAL: {_headline(other)}.")
    if lines:
        yield "\n".join(f"- {line}" for line in lines)


def figure_sections(figures: Found) -> Iterator[tuple[str, list[str]]]:
    """(title, blocks) of each section; one without blocks has nothing to say."""
    test = figures.get("test")
    if test:
        yield "Test part: no choice was made on it", list(_part(test))
        yield "Groups", list(_groups(test["slices"], test.get("largest_gaps") or ()))
        yield "Where it fails", list(_failures(test, figures.get("robustness")))
        yield "Calibration", list(_calibration(test))
    yield "Bad conditions", list(_robustness(figures.get("robustness")))
    yield "Another source: APPA-REAL", list(_other_source(figures.get("appa_real")))
    if validation := figures.get("validation"):
        title = "Validation part: it chose the epoch and the calibration, so it flatters"
        yield (
            title,
            [f"{validation['n']:,} faces: {_headline(validation)}.", *_measured(validation)],
        )


def _headline(found: Found) -> str:
    """Age MAE, CS@5 and gender accuracy, as far as they are defined."""
    age, gender = found["age"], found.get("gender")
    parts = [("age MAE {} years", age["mae"], 2), ("within 5 years {}", age["cs5"], 3)]
    if gender is not None:
        parts.append(("gender accuracy {}", gender["accuracy"], 3))
    return ", ".join(
        text.format(figure(value, digits))
        for text, value, digits in parts
        if value["value"] is not None
    )


def _measured(found: Found) -> Iterator[str]:
    yield "Measured by:"
    yield f"    {found['command']}"


def _part(found: Found) -> Iterator[str]:
    """All figures of a part: of all faces, and of those labelled 21 to 60."""
    protocol = found["ages_21_to_60"]
    yield f"{found['n']:,} faces; in brackets 95 % bootstrap intervals."
    yield from _measured(found)
    for title, key, figures in (("Age", "age", AGE_FIGURES), ("Gender", "gender", GENDER_FIGURES)):
        everyone, some = found[key], protocol[key]
        first = figures[0][0]
        header = (
            title,
            f"all ages ({everyone[first]['n']:,})",
            f"labelled 21 to 60 ({some[first]['n']:,})",
        )
        rows = [
            (words, figure(everyone[name], digits), figure(some[name], digits))
            for name, words, digits in figures
            if everyone[name]["value"] is not None
        ]
        yield table(header, rows)
    yield (
        "The ages 21 to 60 are those of the published protocol; the images are this split's, not"
        " the protocol's."
    )


def _groups(slices: Found, gaps: Sequence[Found]) -> Iterator[str]:
    """Tables by age band, gender, race, and gender and race; the largest gaps of all crossings."""
    for name, words in SLICES.items():
        if slices.get(name):
            yield _slice_table(words, slices[name])
    yield from _largest_gaps(gaps)


def _slice_table(words: str, slices: Iterable[Found]) -> str:
    rows = (
        (
            _name(part),
            f"{part['n']:,}",
            figure(part["age"]["mae"], 2),
            figure(part["age"]["bias"], 2),
            figure(part["age"]["cs5"], 3),
            figure(part["gender"]["accuracy"], 3),
        )
        for part in slices
    )
    return table((words, "n", "age MAE", "age bias", "CS@5", "gender accuracy"), rows)


def _name(part: Found) -> str:
    return ", ".join(part["where"].values())


def _mae(part: Found) -> Figure:
    found: Figure = part["age"]["mae"]
    return found


def _accuracy(part: Found) -> Figure:
    found: Figure = part["gender"]["accuracy"]
    return found


def _ranked(slices: Iterable[Found], read: Callable[[Found], Figure]) -> list[Found]:
    """Slices in ascending order of a figure that rests on FEW faces or more."""
    known = (s for s in slices if read(s)["value"] is not None and read(s)["n"] >= FEW)
    return sorted(known, key=lambda part: read(part)["value"])


def _largest_gaps(gaps: Sequence[Found]) -> Iterator[str]:
    """The most different groups within each dimension and crossing, for age and gender."""
    rows = [
        (
            CROSSINGS[gap["dimension"]],
            words,
            number(gap["gap"], digits),
            f"{_name(gap['worst'])}: {figure(gap['worst'], digits)}",
            f"{_name(gap['best'])}: {figure(gap['best'], digits)}",
        )
        for gap in gaps
        for words, digits in [GAP_FIGURES[gap["figure"]]]
    ]
    if rows:
        least = " or ".join(f"{n:,}" for n in sorted({gap["least_n"] for gap in gaps}))
        yield f"The largest gaps between groups of at least {least} faces:"
        yield table(("groups by", "figure", "gap", "worst", "best"), rows)


def _failures(test: Found, robustness: Found | None) -> Iterator[str]:
    """The age bands with the worst figures, and the worst of the bad conditions."""
    bands = test["slices"].get("age_band") or ()
    lines = []
    if far_off := _ranked(bands, _mae)[::-1][:WORST_SHOWN]:
        worst = listing(
            f"{_name(part)} (MAE {number(_mae(part)['value'], 2)},"
            f" bias {number(part['age']['bias']['value'], 2)} years)"
            for part in far_off
        )
        lines.append(f"Ages are farthest off for faces labelled {worst}.")
    if wrong := _ranked(bands, _accuracy)[:WORST_SHOWN]:
        worst = listing(f"{_name(p)} ({number(_accuracy(p)['value'], 3)})" for p in wrong)
        lines.append(f"Genders are least accurate for faces labelled {worst}.")
    if robustness is not None:
        lines += _worst_conditions(robustness)
    if lines:
        yield "\n".join(f"- {line}" for line in lines)


def _worst_conditions(robustness: Found) -> Iterator[str]:
    spoilt = {n: found for n, found in robustness["conditions"].items() if n != "clean"}
    ratios = {n: found["mae_ratio"] for n, found in spoilt.items() if found["mae_ratio"]}
    if ratios:
        worst = max(ratios, key=ratios.__getitem__)
        yield (
            f"Of the bad conditions below, ages suffer most from this one:"
            f" {spoilt[worst]['about']}, with {number(ratios[worst], 2)} times the MAE of the clean"
            " images."
        )
    accuracies = {n: found["gender"]["accuracy"]["value"] for n, found in spoilt.items()}
    accuracies = {n: value for n, value in accuracies.items() if value is not None}
    if accuracies:
        worst = min(accuracies, key=accuracies.__getitem__)
        clean = robustness["conditions"]["clean"]["gender"]["accuracy"]["value"]
        yield (
            f"Genders suffer most from this one: {spoilt[worst]['about']}, with an accuracy of"
            f" {number(accuracies[worst], 3)} instead of {number(clean, 3)}."
        )


def _calibration(test: Found) -> Iterator[str]:
    """Whether probabilities and intervals mean what they say."""
    error = test["gender"]["calibration_error"]
    if error["value"] is not None:
        yield f"Female probability: expected calibration error {figure(error, 3)}."
    if minor := test.get("minor"):
        rows = (
            (words, figure(minor[key], digits))
            for key, words, digits in MINOR_FIGURES
            if key in minor
        )
        yield table((f"P(age < 18), {minor['n']:,} faces", "test part"), rows)
    bands = test.get("predicted_age_bands") or ()
    yield from _covered([part for part in bands if _coverage(part)["value"] is not None])


def _covered(bands: list[Found]) -> Iterator[str]:
    """How many labels lie inside the 80 % interval, by predicted age band."""
    if not bands:
        return
    yield "The 80 % interval by what the model says, which is what a user has:"
    rows = (
        (
            _name(part),
            f"{part['n']:,}",
            figure(_coverage(part), 3),
            figure(part["age"]["mae"], 2),
            figure(part["age"]["bias"], 2),
        )
        for part in bands
    )
    yield table(("predicted age", "n", "labels inside", "age MAE", "age bias"), rows)
    if ranked := _ranked(bands, _coverage):
        worst = max(ranked, key=lambda part: abs(_coverage(part)["value"] - RIGHT_COVERAGE))
        yield (
            f"Farthest from {RIGHT_COVERAGE:.2f}, of bands of at least {FEW} faces: predicted"
            f" {_name(worst)}, {figure(_coverage(worst), 3)}."
        )


def _coverage(part: Found) -> Figure:
    found: Figure = part["age"]["interval_coverage"]
    return found


def _robustness(found: Found | None) -> Iterator[str]:
    if found is None:
        return
    yield (
        f"{found['n']:,} images of the {found['part']} part, each changed before it is scaled to"
        " the network's input. What moves in from outside repeats the edge."
    )
    if found["unreadable"]:
        yield f"{len(found['unreadable']):,} more could not be read."
    yield from _measured(found)
    yield robustness_table(found)


def _other_source(found: Found | None) -> Iterator[str]:
    if found is None:
        return
    met = found["trained_on"]
    yield (
        f"Photographs whose ages are apparent ages. Faces are looked for, and the one nearest the"
        f" centre is scored. {found['not_found']:,} of {found['searched']:,} photographs: no face"
        f" found; not scored. The model met {f'{met:,}' if met else 'none'} of them in its"
        f" training{', which flatters it' if met else ''}."
    )
    others = {kind: n for kind, n in found["faults"].items() if kind != "no_face"}
    if others:
        counts = ", ".join(f"{n:,} `{kind}`" for kind, n in sorted(others.items()))
        yield f"Other faults: {counts}."
    yield from _measured(found)
    for title, key, figures in (("Age", "age", AGE_FIGURES), ("Gender", "gender", GENDER_FIGURES)):
        if found[key] is None:
            continue
        rows = [
            (words, figure(found[key][name], digits))
            for name, words, digits in figures
            if found[key][name]["value"] is not None
        ]
        yield table((title, f"{found[key][figures[0][0]]['n']:,} faces"), rows)
    if found["gender"] is None:
        yield "There are no gender labels."
