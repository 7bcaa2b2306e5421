"""Words of an evaluation: its report in, what it comes to in sentences out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from annotate.errors import shown
from annotate.evaluation_report import EvaluationReport
from annotate.gaps import Gap, Side, differing
from annotate.metrics import Metric
from annotate.mistakes import Mistake
from annotate.report.machine import machine_facts
from annotate.report.text import DETECTION, trained_on_none
from annotate.report.wording import (
    NO_DISTRIBUTION,
    crossing,
    group,
    interval,
    number,
    percent,
    share,
    share_interval,
    some,
    years,
)
from annotate.rows import attributes_of
from annotate.slices import FEW, Slice

RIGHT_COVERAGE = 0.8


def notices(report: EvaluationReport) -> Iterator[tuple[str, str]]:
    """(kind, text) of what has to be known before any figure is believed."""
    training, scores = report.scores.training, report.scores
    if not training.known:
        yield "note", "It is not known which of these images the model was trained on."
    elif not training.scored_train and not training.scored_validation:
        yield "note", trained_on_none(training)
    else:
        part = scores.not_trained_on
        others = ""
        if part is not None:
            others = (
                f" Of the {part.n:,} scored images that it was not trained on: age error"
                f" {years(part.age.mae)} years ({interval(part.age.mae)}), gender right"
                f" {share(part.gender.accuracy)} % ({share_interval(part.gender.accuracy)})."
            )
        yield (
            "warn",
            f"The model was trained on {training.scored_train:,} of the scored images, and"
            f" {training.scored_validation:,} more chose among its weights: figures over images"
            f" that a model has met flatter it.{others}",
        )
    if scores.scored < FEW:
        yield (
            "warn",
            f"Only {some(scores.scored, 'face')} could be scored: the figures say next to nothing.",
        )


def sentences(report: EvaluationReport) -> Iterator[str]:
    """The findings in words."""
    overall, scores = report.scores.overall, report.scores
    age, gender = overall.age, overall.gender
    if age.mae.n:
        yield (
            f"The age estimate is off by {years(age.mae)} years on average"
            f" ({interval(age.mae)}); half of the estimates are within {years(age.median_error)}"
            f" years, {share(age.cs5)} % within 5."
        )
        yield from _on_bias(scores.slices.get("age_band", ()))
    if age.interval_coverage.n:
        yield _on_coverage(age.interval_coverage)
    elif age.mae.n:
        yield NO_DISTRIBUTION
    if gender.accuracy.n:
        yield (
            f"The gender is the labelled one for {share(gender.accuracy)} % of the faces"
            f" ({share_interval(gender.accuracy)})."
        )
    yield from _on_gaps(scores.largest_gaps)


def _on_bias(bands: Sequence[Slice]) -> Iterator[str]:
    """Which ages are taken for older and which for younger, most of all."""
    known = [
        (part.age.bias.value, part)
        for part in bands
        if part.age.bias.value is not None and part.age.bias.n >= FEW
    ]
    if len(known) < 2:
        return
    (low, young), (high, old) = min(known, key=_first), max(known, key=_first)
    told = []
    if high > 0:
        told.append(f"{group(old.where)} ({number(high)} years too old)")
    if low < 0:
        told.append(f"{group(young.where)} ({number(-low)} years too young)")
    if told:
        yield (
            f"Of the labelled age bands with {FEW} faces or more, the bias is largest at"
            f" {' and '.join(told)}."
        )


def _on_gaps(gaps: Sequence[Gap]) -> Iterator[str]:
    """The largest gap of each figure, and the largest that is not about ages."""
    for figure, said in (("age_mae", "age error"), ("gender_accuracy", "gender accuracy")):
        found = [gap for gap in differing(gaps) if gap.figure == figure]
        if not found:
            continue
        widest = max(found, key=lambda gap: gap.gap)
        yield _on_gap(widest, f"The largest gap in {said}")
        apart = [gap for gap in found if "age_band" not in gap.dimension]
        if apart and widest not in apart:
            widest = max(apart, key=lambda gap: gap.gap)
            yield _on_gap(widest, f"Leaving age aside, the largest gap in {said}")


def _on_gap(gap: Gap, said: str) -> str:
    least, by = f"{some(gap.least_n, 'face')} or more", crossing(gap.dimension)
    worst, best = _side(gap, gap.worst), _side(gap, gap.best)
    return f"{said} among groups of {least} is by {by}: {worst}, {best}."


def _side(gap: Gap, one: Side) -> str:
    """One side of a gap: its figure, which group has it, and how many faces that is."""
    years_off = gap.figure == "age_mae"
    said = f"{years(one.metric)} years" if years_off else f"{share(one.metric)} %"
    return f"{said} for {group(one.where)} (n {one.metric.n:,})"


def _first(pair: tuple[float, Slice]) -> float:
    return pair[0]


def _on_coverage(coverage: Metric) -> str:
    said = f"{share(coverage)} % of the labels lie inside the 80 % interval"
    if coverage.low is None or coverage.high is None:
        return f"{said}."
    verdict = "as it should be"
    if coverage.low > RIGHT_COVERAGE:
        verdict = "which is wider than it needs to be"
    if coverage.high < RIGHT_COVERAGE:
        verdict = "which is too narrow"
    return f"{said} ({share_interval(coverage)}), {verdict}."


def said(mistake: Mistake) -> Iterator[str]:
    """What is said of a face: its label and its prediction."""
    labels = [] if mistake.label_age is None else [f"{mistake.label_age:g}"]
    labels += [] if mistake.label_gender is None else [mistake.label_gender]
    yield f"label: {', '.join(labels)}"
    told = [] if mistake.age is None else [number(mistake.age, 0)]
    if mistake.age is not None and mistake.age_sd is not None:
        told[0] += f" ± {number(mistake.age_sd, 0)}"
    if mistake.gender is not None and mistake.female_probability is not None:
        female = mistake.female_probability
        sure = female if mistake.gender == "female" else 1 - female
        told.append(f"{mistake.gender} {_sureness(sure)} %")
    yield f"model: {', '.join(told)}"


def _sureness(probability: float) -> str:
    """In per cent; above 99 in tenths, and never 100: a model is not so sure."""
    if probability <= 0.99:
        return percent(probability, 0)
    return number(min(99.9, 100 * probability), 1)


def made(report: EvaluationReport) -> Iterator[tuple[str, str]]:
    """(what, which) of how the figures came about: model, options, machine and time."""
    attributes = attributes_of(report.scores.table.schema)
    yield "Model", shown(report.model or "unknown", quote=False)
    yield "Model SHA-256", shown(report.model_sha256 or "unknown", quote=False)
    engine = shown(report.engine or "unknown", quote=False)
    device = attributes.get("device")
    yield "Engine", engine + (f", {shown(device, quote=False)}" if device is not None else "")
    yield "Folder", shown(report.folder, 300, quote=False)
    detects = report.options.get("faces") == "detect"
    told = {
        name: value
        for name, value in report.options.items()
        if value is not None and (detects or name not in DETECTION)
    }
    yield (
        "Options",
        ", ".join(f"{name} {shown(value, 200, quote=False)}" for name, value in told.items()),
    )
    if report.joined is not None:
        ways = ", ".join(f"{n:,} {way.replace('_', ' ')}" for way, n in report.joined.items())
        yield "Given predictions", f"images found in them: {ways}"
    started = f"{report.started_at:%Y-%m-%d %H:%M} UTC"
    yield "Evaluated", f"{started}, in {report.seconds:,.0f} s"
    yield from machine_facts()
