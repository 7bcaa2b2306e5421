"""Plots of an evaluation: what they say that they show, and what they leave as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from annotate import EvaluationReport
from annotate.metrics import Metric
from annotate.report.evaluation_plots import NAMES, evaluation_plots
from annotate.report.plots import Plot, band, dot, figure, look, png, values
from tests.conftest import ROOT

Forty = tuple[EvaluationReport, Path]


@pytest.fixture(scope="module")
def plots(forty_report: Forty) -> dict[str, Plot]:
    before = dict(mpl.rcParams)
    drawn = evaluation_plots(forty_report[0].scores)
    assert dict(mpl.rcParams) == before
    return drawn


def test_plots_are_named_in_order(plots: dict[str, Plot]) -> None:
    assert tuple(plots) == NAMES
    assert all(plot.name == name for name, plot in plots.items())
    assert all(plot.caption.endswith(".") for plot in plots.values())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        # All of forty are 3 years too old; 19 men are right, one is taken for a woman.
        ("age-cumulative-score", "100.0 % within 5 years and 100.0 % within 10 years"),
        ("age-error-histogram", "100 % of the estimates are too old"),
        ("age-bias-by-band", "10-17: 3.0; 18-29: 3.0; 30-39: 3.0; 40-49: 3.0; 50-59: 3.0."),
        ("age-error-by-label", "It is largest, 3.0 years, at 15 to 24 years."),
        ("gender-confusion", "labelled female, predicted female: 20;"),
        ("gender-confusion", "labelled male, predicted female: 1;"),
        (
            "gender-reliability",
            "0.1 to 0.2: 0 % of 19; 0.8 to 0.9: 100 % of 20; 0.9 to 1.0: 0 % of 1",
        ),
        ("minor-reliability", "0.0 to 0.1: 0 % of 37; 0.7 to 0.8: 100 % of 3"),
        ("gender-accuracy-by-band", "10-17: 66.7 %; 18-29: 100.0 %"),
    ],
)
def test_a_plot_says_in_words_what_it_shows(plots: dict[str, Plot], name: str, said: str) -> None:
    assert said in plots[name].alt


def test_no_state_of_the_whole_program_is_touched(forty_report: Forty) -> None:
    program = (
        "import sys\n"
        "from annotate.report.age_plots import cumulative_score\n"
        "from annotate.report.plots import look\n"
        "from tests.test_curves import curves, pairs\n"
        "with look():\n"
        "    print(len(cumulative_score(curves(pairs(label=[30.0], age=[31.0])).age).png) > 1000)\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_a_figure_without_an_interval_is_a_dot_and_none_is_nothing() -> None:
    found = [Metric(1.0, 0.5, 1.5, 9), Metric(2.0, None, None, 1), Metric(None, None, None, 0)]
    assert values(found)[:2] == [1.0, 2.0]
    with look():
        made, axes = figure()
        for place, metric in enumerate(found):
            dot(axes, place, metric)
        # An interval and a dot, a dot, nothing.
        assert len(axes.lines) == 3
        band(axes, [0, 1, 2], found)
        assert png(made) == png(made)
