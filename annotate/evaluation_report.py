"""Evaluation reports: what an evaluation found, as plain values and as text.

`to_dict` is what `metrics.json` holds; it depends on the inputs and options alone, not on the time
or the machine. docs/metrics-schema.md has every name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from annotate.definitions import DEFINITIONS
from annotate.frames import to_frame
from annotate.labels import Fault
from annotate.records import Status
from annotate.scoring import Scores
from annotate.slices import FEW
from annotate.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from annotate.paired import PairedComparison

METRICS_VERSION = 1
"""`schema_version` of metrics.json. Raised when a name is removed or changes its meaning."""

_EXIT_FAULTS = frozenset(
    {"malformed_name", "invalid_value", "duplicate_row", "missing_file", "no_prediction"}
)
"""Faults that mean that something which was to be scored was not."""


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found.

    folder: absolute path. model, model_sha256, engine: None where given predictions do not say.
    options: as the evaluation was called. inputs: all that were met; scored or counted in
    `not_scored` by reason. skipped: directory entries that are no inputs, by reason.
    label_source: "utkface_name" or "table". joined: for given predictions, inputs found "by_sha256"
    and "by_path". faults: all, in the order in which they were met. started_at: UTC. seconds: from
    then until the figures were there. compared: with another report, where that was asked for;
    `compared.json` has it, not `metrics.json`.
    """

    folder: str
    model: str | None
    model_sha256: str | None
    engine: str | None
    options: Mapping[str, Any]
    inputs: int
    not_scored: Mapping[str, int]
    skipped: Mapping[str, int]
    label_source: str
    joined: Mapping[str, int] | None
    faults: tuple[Fault, ...]
    started_at: datetime
    seconds: float
    scores: Scores = field(repr=False)
    compared: PairedComparison | None = field(default=None, repr=False)

    @property
    def predictions(self) -> pd.DataFrame:
        """Every input's rows and labels: what predictions.parquet holds."""
        return to_frame(self.scores.table)

    @property
    def fault_counts(self) -> dict[str, int]:
        """Number of faults by kind, sorted by kind."""
        return dict(sorted(Counter(fault.kind for fault in self.faults).items()))

    @property
    def exit_code(self) -> int:
        """0 where all went well, 3 where inputs failed or could not be scored as asked."""
        failures = any(Status(status).is_failure for status in self.scores.by_status)
        return 3 if failures or _EXIT_FAULTS & self.fault_counts.keys() else 0

    def to_dict(self) -> dict[str, Any]:
        """What metrics.json holds: plain values only."""
        scores = self.scores
        overall = scores.overall.to_dict()
        return {
            "schema_version": METRICS_VERSION,
            "annotate_version": __version__,
            "folder": self.folder,
            "model": {"name": self.model, "sha256": self.model_sha256, "engine": self.engine},
            "options": dict(self.options),
            "inputs": {
                "total": self.inputs,
                "by_status": dict(sorted(scores.by_status.items())),
                "scored": scores.scored,
                "not_scored": dict(sorted(self.not_scored.items())),
                "skipped": dict(sorted(self.skipped.items())),
                "joined": None if self.joined is None else dict(self.joined),
            },
            "labels": {"source": self.label_source, **scores.labelled},
            "faces": scores.faces and scores.faces.to_dict(),
            "faults": {
                "counts": self.fault_counts,
                "list": [asdict(fault) for fault in self.faults],
            },
            "duplicate_content": asdict(scores.duplicates),
            "training": asdict(scores.training),
            "age": overall["age"],
            "gender": overall["gender"],
            "minor": scores.minor and scores.minor.to_dict(),
            "not_trained_on": scores.not_trained_on and scores.not_trained_on.to_dict(),
            "slices": {
                name: [part.to_dict() for part in found] for name, found in scores.slices.items()
            },
            "predicted_age_bands": [part.to_dict() for part in scores.predicted_age_bands],
            "largest_gaps": [gap.to_dict() for gap in scores.largest_gaps],
            "curves": scores.curves.to_dict(),
            "thresholds": scores.thresholds and scores.thresholds.to_dict(),
            "mistakes": scores.mistakes.to_dict(),
            "few_below": FEW,
            "definitions": DEFINITIONS,
        }

    def render(self) -> str:
        """The report as text for a terminal, without a final newline."""
        from annotate.report.text import render

        return render(self)
