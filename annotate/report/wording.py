"""Wording: figures in, the words and digits in which pages and Markdown say them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from annotate.errors import shown
from annotate.metrics import Metric
from annotate.report import pages
from annotate.report.pages import MISSING

DIMENSIONS = {"age_band": "age band", "gender": "gender", "race": "race"}
Say = Callable[[Metric], str]
"""How a figure, or its interval, is said."""

NO_DISTRIBUTION = (
    "The predictions come without a distribution of the age: so nothing is known of 80 % intervals"
    " and of P(age < 18), and no age label can be called likely wrong."
)

LABEL_CHARS = 40
"""Of a race, which may be any text, so many characters are shown."""


def number(value: float | None, digits: int = 2) -> str:
    """A figure in so many decimals; a dash where there is none. What rounds to 0 has no sign."""
    told = pages.number(value, digits)
    return told if any(digit in told for digit in "123456789") else told.lstrip("−")


def percent(value: float | None, digits: int = 1) -> str:
    """A share from 0 to 1 in per cent, without the sign; a dash where there is none."""
    return number(None if value is None else 100 * value, digits)


def signed(metric: Metric, say: Say) -> str:
    """A figure with its sign, "+0.12", "−0.12" or "0.00"; say: how it is said without a plus."""
    told = say(metric)
    is_more = metric.value is not None and metric.value > 0
    return f"+{told}" if is_more and any(digit in told for digit in "123456789") else told


def years(metric: Metric, digits: int = 2) -> str:
    """A figure in years, without the word."""
    return number(metric.value, digits)


def share(metric: Metric, digits: int = 1) -> str:
    """A share in per cent, without the sign."""
    return percent(metric.value, digits)


def interval(metric: Metric, digits: int = 2) -> str:
    """The 95 % interval of a figure: "4.78 to 4.91"; a dash where there is none."""
    if metric.low is None or metric.high is None:
        return MISSING
    return f"{number(metric.low, digits)} to {number(metric.high, digits)}"


def share_interval(metric: Metric, digits: int = 1) -> str:
    """The 95 % interval of a share, in per cent without the sign."""
    if metric.low is None or metric.high is None:
        return MISSING
    return f"{percent(metric.low, digits)} to {percent(metric.high, digits)}"


def crossing(name: str) -> str:
    """The name of a dimension or of a crossing: "age band and race"."""
    parts = [DIMENSIONS.get(part, part.replace("_", " ")) for part in name.split("_x_")]
    return " and ".join((", ".join(parts[:-1]), parts[-1])) if parts[1:] else parts[0]


def group(where: Mapping[str, str]) -> str:
    """The labels that the faces of a slice share: "18-29, female"."""
    return ", ".join(shown(value, LABEL_CHARS, quote=False) for value in where.values())


def some(n: int, one: str, several: str | None = None) -> str:
    """A number of things: "1 image", "1,552 images"."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"
