"""Evaluation pages: a report, its plots and its thumbnails in, `report.html` out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotate.errors import shown
from annotate.evaluation_report import EvaluationReport
from annotate.metrics import Metric
from annotate.mistakes import DOUBT_PROBABILITY, DOUBT_SDS, DOUBT_YEARS, Mistake
from annotate.report import evaluation_tables as tables
from annotate.report.evaluation_words import made, notices, said, sentences
from annotate.report.faults import faults
from annotate.report.pages import MISSING, count, render_page
from annotate.report.paired_section import paired_section
from annotate.report.plots import Plot
from annotate.report.wording import (
    Say,
    interval,
    number,
    share,
    share_interval,
    signed,
    some,
    years,
)
from annotate.slices import FEW
from annotate.version import __version__

FAULTS_SHOWN = 50
"""Faults of a kind that are named; metrics.json lists all."""

MISTAKES_SHOWN = 48
"""Likely label errors of age and of gender that are shown, each."""

CHALLENGE_YEARS = 25.0
"""The rule that the headlines name."""

CROSSINGS = ("age_band_x_gender", "age_band_x_race", "gender_x_race", "age_band_x_gender_x_race")


@dataclass(frozen=True)
class Sheet:
    """Faces to look at: rows of the report's table and what is said of each, and what the sheet
    is. pictures: thumbnails, as many as there are faces; empty where none are to be shown.
    """

    title: str
    meaning: str
    mistakes: Sequence[Mistake]
    pictures: Sequence[bytes | None] = field(default=(), repr=False)

    @property
    def items(self) -> Iterator[dict[str, Any]]:
        """What `parts.sheet` takes."""
        pictures = self.pictures or [None] * len(self.mistakes)
        for mistake, picture in zip(self.mistakes, pictures, strict=True):
            lines = [_unbroken(line) for line in said(mistake)]
            yield {"picture": picture, "lines": [*lines, shown(mistake.path, 90, quote=False)]}


def evaluation_page(
    report: EvaluationReport, plots: Mapping[str, Plot], sheets: Mapping[str, Sheet]
) -> str:
    """The text of `report.html`. sheets: as `mistake_sheets` gives them, with their pictures."""
    scores = report.scores
    return render_page(
        "evaluation.html",
        title=f"Evaluation of {shown(report.model or 'predictions', quote=False)}",
        report=report,
        plots=plots,
        sheets=sheets,
        notices=list(notices(report)),
        sentences=list(sentences(report)),
        tiles=list(_tiles(report)),
        inputs=tables.inputs(report),
        faults=list(faults(report)),
        faults_shown=FAULTS_SHOWN,
        age=tables.figures(scores.overall.age, tables.AGE_FIGURES),
        gender=tables.figures(scores.overall.gender, tables.GENDER_FIGURES),
        minor=scores.minor and tables.figures(scores.minor, tables.MINOR_FIGURES),
        predicted_bands=tables.predicted_bands(report),
        slices=[tables.slices(report, name) for name in ("age_band", "gender", "race")],
        crossings=[tables.slices(report, name, least_n=FEW) for name in CROSSINGS],
        gaps=tables.gaps(report),
        thresholds=list(tables.thresholds(report)),
        paired=paired_section(report.compared),
        made=list(made(report)),
        few=FEW,
        has_pictures=any(any(sheet.pictures) for sheet in sheets.values()),
        has_deviations=any(
            mistake.age_sd is not None for sheet in sheets.values() for mistake in sheet.mistakes
        ),
        version=__version__,
    )


def mistake_sheets(report: EvaluationReport) -> dict[str, Sheet]:
    """The faces that the page shows, by section, without their pictures; only sheets with faces."""
    found = report.scores.mistakes
    doubted_ages, doubted_genders = found.doubted_ages, found.doubted_genders
    sheets = {
        "ages": Sheet(
            "Age",
            f"{some(len(found.ages), 'face')} whose estimate is farthest from the label."
            f"{_again(found.ages)}",
            found.ages,
        ),
        "genders": Sheet(
            "Gender",
            f"{some(len(found.genders), 'face')} whose gender is wrong, those first of which the"
            f" model is surest.{_apart(doubted_genders)}",
            found.genders,
        ),
        "doubted_ages": Sheet(
            "Age",
            f"{some(len(doubted_ages), 'face')} whose label is more than {DOUBT_SDS:g} standard"
            f" deviations, and at least {DOUBT_YEARS:g} years, from an estimate that is certain."
            f"{_likeliest(doubted_ages)}",
            doubted_ages[:MISTAKES_SHOWN],
        ),
        "doubted_genders": Sheet(
            "Gender",
            f"{some(len(doubted_genders), 'face')} whose other gender has a probability of"
            f" {100 * DOUBT_PROBABILITY:g} % or more.{_likeliest(doubted_genders)}",
            doubted_genders[:MISTAKES_SHOWN],
        ),
    }
    return {name: sheet for name, sheet in sheets.items() if sheet.mistakes}


def _again(ages: Sequence[Mistake]) -> str:
    """What the sheet of the largest errors of age adds where some of them come again below."""
    doubted = sum(face.doubts_age for face in ages)
    return f" Of likely wrong labels there are {doubted:,}, shown again below." if doubted else ""


def _apart(doubted: Sequence[Mistake]) -> str:
    """What a sheet of errors adds where some of them are in another sheet."""
    return " Likely label errors are not among them: they are shown below." if doubted else ""


def _likeliest(found: Sequence[Mistake]) -> str:
    """What a sheet adds that does not show all."""
    return f" The {MISTAKES_SHOWN} likeliest are shown." if len(found) > MISTAKES_SHOWN else ""


def _unbroken(text: str) -> str:
    """Words and digits that stay together where a line ends."""
    return text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")


def _tiles(report: EvaluationReport) -> Iterator[tuple[str, str, str]]:
    """(what, value, interval and n) of the headline figures."""
    overall = report.scores.overall
    age, gender = overall.age, overall.gender
    if age.mae.n:
        yield "Age error, years", years(age.mae), _below(age.mae, interval)
        yield "Within 5 years", f"{share(age.cs5)} %", _below(age.cs5, share_interval)
        yield "Age bias, years", signed(age.bias, years), _below(age.bias, interval)
    if age.interval_coverage.n:
        found = age.interval_coverage
        yield "Inside the 80 % interval", f"{share(found)} %", _below(found, share_interval)
    if gender.accuracy.n:
        yield "Gender right", f"{share(gender.accuracy)} %", _below(gender.accuracy, share_interval)
        yield (
            "Gender AUC",
            number(gender.auc.value, 4),
            _below(gender.auc, lambda m: interval(m, 4)),
        )
    thresholds = report.scores.thresholds
    for rule in thresholds.rules if thresholds else ():
        if rule.estimate == "age" and rule.threshold == CHALLENGE_YEARS and rule.teens_passing.n:
            found = rule.teens_passing
            yield "13–17 who look 25+", f"{share(found)} %", _below(found, share_interval)


def _below(metric: Metric, say: Say) -> str:
    said = say(metric)
    n = f"n\u00a0{count(metric.n)}"
    return n if said == MISSING else f"{said}, {n}"
