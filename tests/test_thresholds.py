"""Thresholds: who passes an age check, counted by hand."""

from __future__ import annotations

import pytest

from annotate.thresholds import LOOKS, MINOR_PROBABILITIES, Rule, thresholds
from tests.test_curves import NAN, pairs

# Label, estimate, 1 for women and 0 for men, P(age < 18).
PEOPLE = (
    (12.9, 40, 1, 0.0),  # too young to count, whatever is said
    (13.0, 17.9, 1, 0.60),
    (15.0, 18.0, 0, 0.40),
    (17.9, 26.0, 0, 0.04),
    (17.0, 24.9, 1, 0.10),
    (18.0, 17.0, 1, 0.70),
    (20.0, 24.0, 0, 0.15),
    (24.9, 24.0, NAN, 0.15),
    (25.0, 24.9, 1, 0.05),
    (60.0, 61.0, 0, 0.00),
)


def found() -> dict[tuple[str, float], Rule]:
    label, age, female, minor = (list(column) for column in zip(*PEOPLE, strict=True))
    checks = thresholds(pairs(label=label, age=age, female=female, minor=minor))
    assert checks is not None
    return {(rule.estimate, rule.threshold): rule for rule in checks.rules}


@pytest.mark.parametrize(
    ("rule", "teens", "women", "men", "adults", "above"),
    [
        # Passing of 4 teens, of 2 girls and 2 boys; failing of 5 adults; failing of those above.
        (("age", 18.0), 3, 1, 2, 1, (1, 5)),
        (("age", 25.0), 1, 0, 1, 4, (1, 2)),
        (("age", 30.0), 0, 0, 0, 4, (0, 1)),
        (("minor_probability", 0.5), 3, 1, 2, 1, None),
        (("minor_probability", 0.1), 1, 0, 1, 3, None),  # 0.10 itself does not pass
        (("minor_probability", 0.05), 1, 0, 1, 4, None),
    ],
)
def test_a_check_is_counted(
    rule: tuple[str, float],
    teens: int,
    women: int,
    men: int,
    adults: int,
    above: tuple[int, int] | None,
) -> None:
    one = found()[rule]
    assert (one.teens_passing.value, one.teens_passing.n) == (teens / 4, 4)
    sides = one.teens_passing_by_gender
    assert (sides["female"].value, sides["female"].n) == (women / 2, 2)
    assert (sides["male"].value, sides["male"].n) == (men / 2, 2)
    assert (one.adults_failing.value, one.adults_failing.n) == (adults / 5, 5)
    if above is None:
        assert one.above_failing is None
    else:
        assert one.above_failing is not None
        failing, of = above
        assert (one.above_failing.value, one.above_failing.n) == (failing / of, of)


def test_none_of_few_is_told_with_its_doubt() -> None:
    # Wilson, 0 of 4: the upper end is 3.8415 / (4 + 3.8415) = 0.490.
    nobody = found()["age", 30.0].teens_passing
    assert (nobody.value, nobody.low) == (0.0, 0.0)
    assert nobody.high == pytest.approx(0.490, abs=1e-3)


def test_all_checks_are_told_and_shares_by_labelled_age() -> None:
    assert list(found()) == [
        *(("age", at) for at in LOOKS),
        *(("minor_probability", at) for at in MINOR_PROBABILITIES),
    ]
    checks = thresholds(pairs(label=[20.0] * 30 + [40.0], age=[22.0] * 15 + [19.0] * 15 + [35.0]))
    assert checks is not None
    young, old = checks.passing_by_label
    assert [metric.value for metric in young.passing] == [1.0, 0.5, 0.0, 0.0]
    assert [metric.value for metric in old.passing] == [1.0, 1.0, 1.0, 1.0]
    # A model without an age distribution has no probabilities to judge by.
    assert {rule.estimate for rule in checks.rules} == {"age"}


def test_nobody_of_an_age_is_told_as_nobody() -> None:
    checks = thresholds(pairs(label=[40.0], age=[41.0]))
    assert checks is not None
    assert checks.rules[0].teens_passing.value is None
    assert checks.rules[0].teens_passing.n == 0
    assert thresholds(pairs(label=[NAN], age=[41.0])) is None
