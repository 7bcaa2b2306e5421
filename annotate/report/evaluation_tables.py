"""Tables of an evaluation: its report in, rows of words and digits for pages and Markdown out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotate.evaluation_report import EvaluationReport
from annotate.gaps import Gap, Side, differing
from annotate.report.pages import count
from annotate.report.wording import (
    Say,
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
from annotate.slices import FEW, Slice
from annotate.thresholds import Rule


@dataclass(frozen=True)
class Table:
    """What `parts.table` of the templates and `markdown.table` take.

    rows: the first cell of each names it. texts: columns of words, the rest are numbers. muted:
    rows that are to be believed less.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    texts: tuple[int, ...] = (0,)
    muted: tuple[int, ...] = ()


AGE_FIGURES: tuple[tuple[str, str, Say, Say], ...] = (
    ("mae", "mean absolute error, years", years, interval),
    ("median_error", "median absolute error, years", years, interval),
    ("rmse", "RMSE, years", years, interval),
    ("mse", "MSE, years²", lambda m: years(m, 1), lambda m: interval(m, 1)),
    ("bias", "bias, years (above 0: too old)", years, interval),
    ("cs5", "within 5 years (CS@5), %", share, share_interval),
    ("interval_coverage", "labels inside the 80 % interval, %", share, share_interval),
)
GENDER_FIGURES: tuple[tuple[str, str, Say, Say], ...] = (
    ("accuracy", "accuracy, %", share, share_interval),
    ("balanced_accuracy", "balanced accuracy, %", share, share_interval),
    ("auc", "AUC", lambda m: number(m.value, 4), lambda m: interval(m, 4)),
    (
        "calibration_error",
        "calibration error",
        lambda m: number(m.value, 3),
        lambda m: interval(m, 3),
    ),
)
MINOR_FIGURES: tuple[tuple[str, str, Say, Say], ...] = (
    ("auc", "AUC", lambda m: number(m.value, 4), lambda m: interval(m, 4)),
    (
        "calibration_error",
        "calibration error",
        lambda m: number(m.value, 3),
        lambda m: interval(m, 3),
    ),
    ("brier", "Brier score", lambda m: number(m.value, 3), lambda m: interval(m, 3)),
    ("share_minor", "labelled below 18, %", share, share_interval),
)
"""Name, words, and how its value and its interval are said."""


def figures(metrics: Any, chosen: Sequence[tuple[str, str, Say, Say]], caption: str = "") -> Table:
    """Figures one below the other, but for those that rest on no face, as the coverage of intervals
    which a model does not give. metrics: what has them as attributes.
    """
    found = [
        (words, metric, say, say_interval)
        for name, words, say, say_interval in chosen
        if (metric := getattr(metrics, name)).n
    ]
    return Table(
        ("Figure", "Value", "95 % interval", "Faces"),
        [(words, say(m), say_interval(m), count(m.n)) for words, m, say, say_interval in found],
        caption,
    )


AGE_COLUMNS: tuple[tuple[str, Callable[[Slice], str]], ...] = (
    ("Age error, years", lambda part: years(part.age.mae)),
    ("95 % interval", lambda part: interval(part.age.mae)),
    ("Bias, years", lambda part: years(part.age.bias)),
    ("Within 5 years, %", lambda part: share(part.age.cs5)),
)
GENDER_COLUMNS: tuple[tuple[str, Callable[[Slice], str]], ...] = (
    ("Gender right, %", lambda part: share(part.gender.accuracy)),
    ("95 % interval", lambda part: share_interval(part.gender.accuracy)),
)
COVERAGE_COLUMNS: tuple[tuple[str, Callable[[Slice], str]], ...] = (
    ("Inside the 80 % interval, %", lambda part: share(part.age.interval_coverage)),
    ("95 % interval", lambda part: share_interval(part.age.interval_coverage)),
)


def slices(report: EvaluationReport, name: str, *, least_n: int = 0) -> Table | None:
    """The slices of one dimension or crossing; None where there are none.

    least_n: slices of fewer faces are left out, and the caption says how many.
    """
    parts = report.scores.slices.get(name, ())
    shown_parts = [part for part in parts if part.n >= least_n]
    if not shown_parts:
        return None
    left_out = len(parts) - len(shown_parts)
    caption = f"By labelled {crossing(name)}"
    if left_out:
        caption += f"; {some(left_out, 'group')} of fewer than {least_n} faces left out"
    return _slice_table(crossing(name).capitalize(), shown_parts, _columns(report), caption)


def predicted_bands(report: EvaluationReport) -> Table | None:
    """What an estimate in each age band is worth; None where no age is scored."""
    parts = report.scores.predicted_age_bands
    if not parts:
        return None
    columns = AGE_COLUMNS[:3]
    if report.scores.overall.age.interval_coverage.n:
        columns += COVERAGE_COLUMNS
    return _slice_table("Estimate", parts, columns, "By the age band of the estimate")


def _columns(report: EvaluationReport) -> tuple[tuple[str, Callable[[Slice], str]], ...]:
    """The columns for which there are labels."""
    overall = report.scores.overall
    return (AGE_COLUMNS if overall.age.mae.n else ()) + (
        GENDER_COLUMNS if overall.gender.accuracy.n else ()
    )


def _slice_table(
    head: str,
    parts: Sequence[Slice],
    columns: Sequence[tuple[str, Callable[[Slice], str]]],
    caption: str,
) -> Table:
    few = tuple(place for place, part in enumerate(parts) if part.few)
    if few:
        caption += f"; * fewer than {FEW} faces: the interval is too narrow to be trusted"
    return Table(
        (head, "Faces", *(title for title, _ in columns)),
        [
            (
                group(part.where) + (" *" if part.few else ""),
                count(part.n),
                *(say(part) for _, say in columns),
            )
            for part in parts
        ],
        caption,
        muted=few,
    )


GAP_FIGURES: Mapping[str, tuple[str, Say]] = {
    "age_mae": ("age error, years", years),
    "gender_accuracy": ("gender right, %", share),
}


def gaps(report: EvaluationReport) -> Table | None:
    """Between which groups the figures differ most; None where no two that differ can be."""
    found = differing(report.scores.largest_gaps)
    if not found:
        return None
    ordered = [gap for figure in GAP_FIGURES for gap in found if gap.figure == figure]
    return Table(
        ("Figure", "By labelled", "Gap", "Worst", "Best"),
        [
            (
                GAP_FIGURES[gap.figure][0],
                crossing(gap.dimension),
                gap_size(gap),
                side(gap, gap.worst),
                side(gap, gap.best),
            )
            for gap in ordered
        ],
        f"Groups of {some(found[0].least_n, 'face')} or more. The largest of many gaps is partly"
        " chance.",
        texts=(0, 1, 3, 4),
    )


def gap_size(gap: Gap) -> str:
    """How large a gap is, in the unit of its figure."""
    return number(gap.gap, 2) if gap.figure == "age_mae" else percent(gap.gap)


def side(gap: Gap, one: Side) -> str:
    """One side of a gap: its figure, its group and how many faces it has."""
    said = GAP_FIGURES[gap.figure][1](one.metric)
    return f"{said}: {group(one.where)} ({one.metric.n:,})"


def thresholds(report: EvaluationReport) -> Iterator[Table]:
    """What checks by age and by probability would do; nothing where no age is labelled."""
    found = report.scores.thresholds
    for estimate in ("age", "minor_probability"):
        rules = [rule for rule in found.rules if rule.estimate == estimate] if found else []
        if rules:
            yield _threshold_table(estimate, rules)


def _threshold_table(estimate: str, rules: Sequence[Rule]) -> Table:
    by_age = estimate == "age"
    heads = ["Passes who", "13–17 passing, %", "95 % interval", "Female, %", "Male, %"]
    heads += ["18+ failing, %", "95 % interval"] + ["At or above failing, %"] * by_age
    rows = []
    for rule in rules:
        at = f"{rule.threshold:g}"
        name = f"looks {at}+" if by_age else f"has P(age < 18) below {at}"
        sides = rule.teens_passing_by_gender
        row = [name, share(rule.teens_passing), share_interval(rule.teens_passing)]
        row += [share(sides["female"]), share(sides["male"])]
        row += [share(rule.adults_failing), share_interval(rule.adults_failing)]
        rows.append(row + ([share(rule.above_failing)] if rule.above_failing else []))
    first = rules[0]
    by_gender = first.teens_passing_by_gender
    return Table(
        heads,
        rows,
        f"{some(first.teens_passing.n, 'face')} labelled 13 to 17 ({by_gender['female'].n:,}"
        f" female, {by_gender['male'].n:,} male), {first.adults_failing.n:,} labelled 18 or more"
        + "; last column: those labelled at or above the threshold"
        * by_age,
    )


def inputs(report: EvaluationReport) -> Table:
    """What became of every input; the numbers sum to the first."""
    rows = [("images", count(report.inputs)), ("scored", count(report.scores.scored))]
    rows += [
        (f"not scored: {reason.replace('_', ' ')}", count(n))
        for reason, n in sorted(report.not_scored.items())
    ]
    return Table(("Inputs", "Number"), rows)
