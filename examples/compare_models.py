"""Evaluate two models on one labelled folder, and say how sure the difference is.

    python examples/compare_models.py $UTKFACE
    python examples/compare_models.py $UTKFACE --models nano runs/mine/model --limit 2000

Two intervals that overlap do not say that two models are equally good: both erred on the same
faces. So faces are paired, and the mean of their differences gets the interval. `annotate evaluate
FOLDER --report DIR --compare OTHER_DIR` has all of that, by group, as a page.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from labelled import run

import annotate

RESAMPLES = 1000
FIGURES = (("age", "mae"), ("age", "bias"), ("age", "cs5"), ("gender", "accuracy"))


def headline(report: annotate.EvaluationReport) -> dict[str, str]:
    """The most asked for figures, with their 95 % intervals."""
    found = report.to_dict()
    shown = {}
    for head, name in FIGURES:
        metric = found[head][name]
        if metric["value"] is not None and metric["low"] is not None:
            shown[f"{head} {name}"] = "{value:.3f} ({low:.3f} to {high:.3f})".format(**metric)
    return shown


def paired_errors(*reports: annotate.EvaluationReport) -> pd.DataFrame:
    """|prediction - label| in years of each face that both models were scored on, (N, 2)."""
    errors = []
    for report in reports:
        rows = report.predictions
        rows = rows[rows["scored"]].set_index("path")
        errors.append((rows["age"] - rows["label_age"]).abs())
    return pd.concat(errors, axis="columns", join="inner", keys=["first", "second"]).dropna()


def mean_interval(values: pd.Series[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean."""
    rng = np.random.default_rng(seed)
    means = [rng.choice(values, len(values)).mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    """Print the figures of both models, and what the second makes different."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="faces with UTKFace names")
    parser.add_argument("--models", nargs=2, default=["base", "nano"], metavar=("FIRST", "SECOND"))
    parser.add_argument("--limit", type=int, help="the first so many images only")
    options = parser.parse_args()
    reports = [
        annotate.evaluate(options.folder, model=model, limit=options.limit)
        for model in options.models
    ]
    figures = pd.DataFrame(map(headline, reports), index=options.models).T
    print(figures.to_string(na_rep="-"), end="\n\n")
    for name, report in zip(options.models, reports, strict=True):
        if report.scores.training.train:
            print(
                f"{name} was trained on {report.scores.training.train:,} of them: it is flattered"
            )

    errors = paired_errors(*reports)
    if errors.empty:
        raise annotate.AnnotateError("no image with an age in its name was labelled by both models")
    change = errors["second"] - errors["first"]
    low, high = mean_interval(change)
    first, second = options.models
    print(
        f"{len(errors):,} faces: the age error of {second} is {change.mean():+.2f} years against"
        f" {first}, 95 % interval {low:+.2f} to {high:+.2f}"
    )
    print(f"{second} is nearer to the label in {(change < 0).mean():.0%} of them")


if __name__ == "__main__":
    run(main)
