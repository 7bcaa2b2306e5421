"""Faults: an evaluation report in, what is wrong with its data by kind, for people, out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annotate.records import Status

if TYPE_CHECKING:
    from annotate.evaluation_report import EvaluationReport
    from annotate.labels import Fault

FATES = {
    "malformed_name": "not scored",
    "invalid_value": "that label is not used",
    "duplicate_row": "not scored",
    "missing_file": "nothing to score",
    "unlabelled": "not scored",
    "no_prediction": "not scored",
    "no_face": "not scored",
    **{str(status): "not scored" for status in Status if status.is_failure},
    "odd_name": "scored",
    "label_conflict": "scored",
    "other_content": "scored",
}
"""What becomes of the inputs that a kind of fault names, in the order of the report."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one kind, in the order in which they were met. fate: what becomes of what they
    name, and where that is counted.
    """

    kind: str
    fate: str
    found: tuple[Fault, ...]


def faults(report: EvaluationReport) -> Iterator[Faults]:
    """Kinds of which there are faults, in the order of FATES."""
    for kind, fate in FATES.items():
        found = tuple(fault for fault in report.faults if fault.kind == kind)
        if found:
            others = report.scores.elsewhere.get(kind, {})
            apart = "".join(
                f"; {n:,} of them counted as {reason.replace('_', ' ')}"
                for reason, n in others.items()
            )
            yield Faults(kind, fate + apart, found)
