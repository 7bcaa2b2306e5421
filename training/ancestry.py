"""Ancestry: a preset and the models that a run begins with and learns from in, a refusal out.

No Keras: what does not fit is found before any image is read.
"""

from __future__ import annotations

from annotate.errors import AnnotateError
from training.material import Sources
from training.presets import Preset


def check_needs(preset: Preset, sources: Sources) -> None:
    """Refuse a run without the models that its preset is about. Raises AnnotateError."""
    lacking = []
    if preset.start is not None and sources.start is None:
        lacking.append(f"a model to begin with, --start {preset.start}")
    if preset.teachers and not sources.teachers:
        options = " ".join(f"--teacher {teacher}" for teacher in preset.teachers)
        lacking.append(f"a model to learn from, {options}")
    if lacking:
        raise AnnotateError(
            f"preset {preset.name} needs {', and '.join(lacking)}: `python -m training presets`"
            " has its whole command"
        )
