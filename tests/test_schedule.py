"""Schedules: the learning rate of single steps, worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from annotate.engines import import_keras
from training.presets import BASE, GRAY128

import_keras()

from training.schedule import learning_rate  # noqa: E402

ONCE = dataclasses.replace(
    BASE, epochs=4, peak_learning_rate=1e-2, warmup_epochs=0.5, schedule="cosine", restarts=()
)
AGAIN = dataclasses.replace(ONCE, epochs=7, restarts=((5, 4e-3), (6, 2e-3)))


def assert_rates(steps: dict[int, float], preset: object) -> None:
    rate = learning_rate(preset, steps_per_epoch=10)  # type: ignore[arg-type]
    for step, expected in steps.items():
        assert float(rate(step)) == pytest.approx(expected, abs=1e-8), step  # type: ignore[operator]


def test_a_constant_rate_is_a_number() -> None:
    assert learning_rate(GRAY128, 10) == GRAY128.peak_learning_rate


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    # Half an epoch of ten steps up, 35 steps of cosine down.
    down = {5 + step: 0.5e-2 * (1 + np.cos(np.pi * step / 35)) for step in (0, 7, 34)}
    assert_rates({0: 0.0, 1: 2e-3, 4: 8e-3, **down, 40: 0.0, 1000: 0.0}, ONCE)
    assert down[5] == 1e-2


def test_a_restart_warms_up_and_falls_from_its_own_peak() -> None:
    # Epoch 5 begins at step 40 and ends at 50: five steps up, five down.
    down = {45 + step: 2e-3 * (1 + np.cos(np.pi * step / 5)) for step in range(5)}
    assert_rates(
        {1: 2e-3, 39: 0.5e-2 * (1 + np.cos(np.pi * 34 / 35)), 40: 0.0, 43: 2.4e-3, **down}, AGAIN
    )
    # Epochs 6 and 7: five steps up, fifteen down.
    last = {55 + step: 1e-3 * (1 + np.cos(np.pi * step / 15)) for step in (0, 5, 14)}
    assert_rates({50: 0.0, 54: 1.6e-3, **last, 70: 0.0}, AGAIN)
