"""Thresholds: age labels and estimates of many faces in, who would pass an age check out.

As tests of age estimation report it: the share of 13 to 17 year-olds who pass as adults, and the
share of adults who do not pass and would have to show a document. Source of the protocol: NIST IR
8525, Face Analysis Technology Evaluation: Age Estimation and Verification, 2024, "Challenge T".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotate.curves import Flags, LabelBin, label_bins
from annotate.heads import ADULT_AGE
from annotate.metrics import Floats, Metric, share
from annotate.slices import GENDERS, Pairs

LOOKS = (18.0, 21.0, 25.0, 30.0)
"""Years. Who looks at least so old passes."""

MINOR_PROBABILITIES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Who is less likely to be a minor passes."""

TEENS = (13, 17)
"""Years, both included. Younger children pass less often and would hide how often these do."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a check by one threshold would do. All figures are shares of faces.

    estimate: "age" (at least `threshold` years pass) or "minor_probability" (below it pass).
    teens_passing: labelled 13 to 17 who pass; by gender too. adults_failing: labelled 18 or more
    who do not pass. above_failing: labelled `threshold` years or more who do not; None for
    probabilities.
    """

    estimate: str
    threshold: float
    teens_passing: Metric
    teens_passing_by_gender: Mapping[str, Metric]
    adults_failing: Metric
    above_failing: Metric | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        by_gender = self.teens_passing_by_gender
        return {
            "estimate": self.estimate,
            "threshold": self.threshold,
            "teens_passing": self.teens_passing.to_dict(),
            "teens_passing_by_gender": {name: by_gender[name].to_dict() for name in GENDERS},
            "adults_failing": self.adults_failing.to_dict(),
            "above_failing": self.above_failing and self.above_failing.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class PassingAt:
    """Of the faces of one bin of labels, the share that looks at least as old, for all of LOOKS."""

    labels: LabelBin
    passing: tuple[Metric, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        found = zip(LOOKS, self.passing, strict=True)
        rows = [{"threshold": at, **metric.to_dict()} for at, metric in found]
        return self.labels.to_dict() | {"passing": rows}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Who would pass, by rule, and for the rules about looks by labelled age."""

    rules: tuple[Rule, ...]
    passing_by_label: tuple[PassingAt, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        return {
            "rules": [rule.to_dict() for rule in self.rules],
            "passing_by_label": [found.to_dict() for found in self.passing_by_label],
        }


def thresholds(pairs: Pairs) -> Thresholds | None:
    """Who would pass, of the faces with an age label; None where there are none.

    Rules about probabilities are left out where no face has one.
    """
    known = np.isfinite(pairs.age_label) & np.isfinite(pairs.age)
    if not known.any():
        return None
    aged = pairs.take(known)
    rules = [_rule("age", at, aged, aged.age >= at) for at in LOOKS]
    judged = aged.take(np.isfinite(aged.minor_probability))
    if len(judged):
        rules += [
            _rule("minor_probability", at, judged, judged.minor_probability < at)
            for at in MINOR_PROBABILITIES
        ]
    by_label = tuple(
        PassingAt(labels, tuple(_share_at_least(aged.age[labels.faces], at) for at in LOOKS))
        for labels in label_bins(aged.age_label)
    )
    return Thresholds(tuple(rules), by_label)


def _rule(estimate: str, at: float, pairs: Pairs, passing: Flags) -> Rule:
    """What one check does to faces that all have a label. passing: bool (N,), who passes it."""
    label = pairs.age_label
    teens = (label >= TEENS[0]) & (label < TEENS[1] + 1)
    are = dict(zip(GENDERS, (1.0, 0.0), strict=True))
    return Rule(
        estimate=estimate,
        threshold=at,
        teens_passing=_share(passing, teens),
        teens_passing_by_gender={
            name: _share(passing, teens & (pairs.female_label == code))
            for name, code in are.items()
        },
        adults_failing=_share(~passing, label >= ADULT_AGE),
        above_failing=_share(~passing, label >= at) if estimate == "age" else None,
    )


def _share(counted: Flags, among: Flags) -> Metric:
    return share(int((counted & among).sum()), int(among.sum()))


def _share_at_least(ages: Floats, at: float) -> Metric:
    return share(int((ages >= at).sum()), len(ages))
