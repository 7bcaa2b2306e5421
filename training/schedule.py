"""Schedules: a preset in, the learning rate of each step out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from training.presets import Preset


@dataclass(frozen=True)
class Cycle:
    """Steps `first` to `last` - 1, in which the rate falls from its peak to 0 on a cosine.

    warmup: steps at its beginning in which the rate rises from 0 to the peak instead.
    """

    first: int
    last: int
    peak: float
    warmup: int

    def rate(self, step: Any) -> Any:
        """The learning rate at a step inside the cycle, a float32 tensor."""
        gone = step - self.first
        falling = self.last - self.first - self.warmup
        progress = ops.clip((gone - self.warmup) / max(1, falling), 0.0, 1.0)
        cosine = 0.5 * self.peak * (1.0 + ops.cos(3.141592653589793 * progress))
        return ops.where(gone < self.warmup, self.peak * gone / max(1, self.warmup), cosine)


class Cosines(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """One cosine after the other. Source: warm restarts, Loshchilov and Hutter 2017."""

    def __init__(self, cycles: list[Cycle]) -> None:
        self.cycles = cycles

    def __call__(self, step: Any) -> Any:
        """The learning rate at a step, counted from 0."""
        step = ops.cast(step, "float32")
        rate = ops.zeros_like(step)
        for cycle in self.cycles:
            inside = ops.logical_and(step >= cycle.first, step < cycle.last)
            rate = ops.where(inside, cycle.rate(step), rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        """Plain values; models are exported without their optimisers."""
        return {"cycles": [vars(cycle) for cycle in self.cycles]}


def learning_rate(preset: Preset, steps_per_epoch: int) -> float | Cosines:
    """What the preset says, for an optimiser."""
    if preset.schedule == "constant":
        return preset.peak_learning_rate
    starts = [(1, preset.peak_learning_rate), *preset.restarts]
    ends = [first for first, _ in starts[1:]] + [preset.epochs + 1]
    return Cosines(
        [
            Cycle(
                (first - 1) * steps_per_epoch,
                (end - 1) * steps_per_epoch,
                peak,
                round(preset.warmup_epochs * steps_per_epoch),
            )
            for (first, peak), end in zip(starts, ends, strict=True)
        ]
    )
