"""Gaps: the pairs worked out by hand from slices of known figures."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from annotate.gaps import differing, largest_gaps
from annotate.metrics import AgeMetrics, GenderMetrics, Metric
from annotate.slices import FEW, Pairs, Slice, all_slices
from training.scoring import card_gaps

ANY = Metric(0.0, None, None, 1000)


def part(n: int, mae: float | None, accuracy: float | None, **where: str) -> Slice:
    """A slice with these two figures, each resting on n faces."""
    age = AgeMetrics(Metric(mae, None, None, n), *[ANY] * 6)
    gender = GenderMetrics(Metric(accuracy, None, None, n), *[ANY] * 3)
    return Slice(where, n, age, gender)


def races(*figures: tuple[int, float | None, float | None]) -> dict[str, tuple[Slice, ...]]:
    return {"race": tuple(part(*each, race="ABC"[i]) for i, each in enumerate(figures))}


def test_the_worst_and_the_best_of_each_figure() -> None:
    slices = races((100, 5.0, 0.9), (400, 7.25, 0.95), (100, 4.0, 0.93))
    age, gender = (gap.to_dict() for gap in largest_gaps(slices))
    assert age == {
        "dimension": "race",
        "figure": "age_mae",
        "worst": {"where": {"race": "B"}, "value": 7.25, "low": None, "high": None, "n": 400},
        "best": {"where": {"race": "C"}, "value": 4.0, "low": None, "high": None, "n": 100},
        "gap": 3.25,
        "least_n": FEW,
    }
    assert (gender["figure"], gender["gap"]) == ("gender_accuracy", 0.05)
    assert [gender[side]["where"]["race"] for side in ("worst", "best")] == ["A", "B"]


def test_every_dimension_has_the_same_least_number_of_faces() -> None:
    """Large slices of one dimension do not keep smaller ones of it out of the comparison."""
    small, large = (FEW, 50.0, 0.1), (1000, 6.0, 0.9)
    bands = tuple(part(*each, age_band=str(i)) for i, each in enumerate((large, large, small)))
    slices = {"age_band": bands} | races((FEW, 5.0, 0.9), (FEW, 7.0, 0.9))
    found = {(gap.dimension, gap.figure): gap for gap in largest_gaps(slices)}
    assert found["age_band", "age_mae"].gap == pytest.approx(44.0)
    assert found["race", "age_mae"].gap == pytest.approx(2.0)
    assert {gap.least_n for gap in found.values()} == {FEW}


def test_a_card_compares_slices_of_a_hundred_faces_or_more_if_it_can() -> None:
    def gaps(*figures: tuple[int, float | None, float | None]) -> list[tuple[float, int]]:
        report: Any = SimpleNamespace(scores=SimpleNamespace(slices=races(*figures)))
        return [(gap["gap"], gap["least_n"]) for gap in card_gaps(report)]

    large = [(100, 5.0, None), (100, 6.5, None)]
    assert gaps(*large, (99, 50.0, None)) == [(1.5, 100)]
    assert gaps(large[0], (99, 50.0, None)) == [(45.0, FEW)]
    assert gaps(large[0]) == []


def test_slices_below_the_least_number_take_no_part() -> None:
    assert largest_gaps(races((FEW, 5.0, 0.9), (FEW - 1, 50.0, 0.1))) == ()
    assert largest_gaps(races((FEW, 5.0, 0.9))) == ()
    assert largest_gaps({}) == ()
    three = races((100, 5.0, 0.9), (100, 6.0, 0.9), (99, 50.0, 0.1))
    gap = largest_gaps(three, least_n=100)[0]
    assert (gap.gap, gap.least_n) == (pytest.approx(1.0), 100)
    assert largest_gaps(three, least_n=101) == ()


def test_what_counts_is_how_many_faces_the_figure_rests_on() -> None:
    """A slice of many faces may have few genders, or none."""
    few_genders = GenderMetrics(Metric(0.1, None, None, FEW - 1), *[ANY] * 3)
    odd = Slice({"race": "C"}, 1000, part(1000, 9.0, None).age, few_genders)
    none = part(1000, 5.5, None, race="D")
    slices = {"race": (*races((100, 5.0, 0.9), (100, 6.0, 0.8))["race"], odd, none)}
    age, gender = largest_gaps(slices)
    assert (age.gap, gender.gap) == (pytest.approx(4.0), pytest.approx(0.1))


def test_equal_slices_have_a_gap_of_nothing() -> None:
    gap = largest_gaps(races((100, 5.0, 0.9), (100, 5.0, 0.9)))[0]
    assert gap.gap == 0
    assert gap.worst.where != gap.best.where


def test_single_dimensions_and_crossings_of_two_each_have_one_gap_a_figure() -> None:
    """Against every pair of groups, compared one by one."""
    rng = np.random.default_rng(8)
    n = 3000
    nan = np.full(n, np.nan)
    label = rng.choice([25.0, 35.0], n)
    female = rng.integers(0, 2, n).astype(np.float64)
    race = rng.choice(np.array(["White", "Black", "Asian"]), n)
    guess = np.where(rng.random(n) < 0.9, female, 1 - female)
    age = label + rng.normal(0, np.where(race == "Asian", 9, 5))
    pairs = Pairs(label, age, nan, nan, female, guess, guess, nan, race)
    found = largest_gaps(all_slices(pairs, resamples=0))
    names = ("age_band", "gender", "race")
    crossings = [f"{a}_x_{b}" for a, b in itertools.combinations(names, 2)]
    assert [gap.dimension for gap in found[::2]] == [*names, *crossings]
    assert [gap.dimension for gap in found[1::2]] == [*names, *crossings]
    errors = [
        np.abs(age - label)[(female == f) & (race == r)].mean()
        for f in (0, 1)
        for r in ("White", "Black", "Asian")
    ]
    (gap,) = (g for g in found if (g.dimension, g.figure) == ("gender_x_race", "age_mae"))
    widest = max(abs(a - b) for a, b in itertools.combinations(errors, 2))
    assert gap.gap == pytest.approx(widest)
    assert gap.worst.where["race"] == "Asian"
    assert set(gap.best.where) == {"gender", "race"}


def test_people_are_told_of_groups_that_differ_alone() -> None:
    gaps = largest_gaps(races((100, 5.0, 1.0), (100, 6.0, 1.0)))
    assert [gap.figure for gap in gaps] == ["age_mae", "gender_accuracy"]
    assert [gap.figure for gap in differing(gaps)] == ["age_mae"]
