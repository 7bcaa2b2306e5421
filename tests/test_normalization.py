"""Batch normalisation: Keras's own on TensorFlow, and on PyTorch what that one does."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from annotate.engines import import_keras
from tests.conftest import ROOT

keras = import_keras()

from training.architectures.normalization import EPSILON, MOMENTUM, batch_normalization  # noqa: E402


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch has a layer of its own")
def test_the_layer_that_is_exported_is_that_of_keras() -> None:
    layer = batch_normalization("norm")
    assert type(layer) is keras.layers.BatchNormalization
    assert (layer.name, layer.momentum, layer.epsilon) == ("norm", MOMENTUM, EPSILON)
    assert batch_normalization().name != batch_normalization().name


@pytest.fixture(scope="module")
def apart() -> dict[str, Any]:
    """How far our layer and that of Keras are apart under PyTorch, measured in a process."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "torch_normalization.py")],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_on_pytorch_it_trains_as_that_of_keras(apart: dict[str, Any]) -> None:
    assert apart["variables"] == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert apart["the_same_variables"]
    assert apart["outputs"] < 1e-4
    assert apart["gradients"] < 1e-4
    assert apart["in_use"] < 1e-4


def test_on_pytorch_the_statistics_move_as_those_of_keras(apart: dict[str, Any]) -> None:
    assert apart["mean"] < 1e-4
    # PyTorch takes the unbiased variance of a batch, Keras the biased one: of 120 values, n - 1
    # instead of n makes 1/119 more of it. In training, a batch has tens of thousands.
    wanted = np.ones(3)
    for variance in apart["batch_variances"]:
        wanted = MOMENTUM * wanted + (1 - MOMENTUM) * np.array(variance)
    assert apart["variance_itself"] == pytest.approx(wanted, rel=1e-4)
    moved = sum(np.array(variance) for variance in apart["batch_variances"])
    assert apart["variance"] <= (1 - MOMENTUM) * np.max(moved) / 120 + 1e-4


def test_on_pytorch_a_frozen_layer_stays_as_it_is(apart: dict[str, Any]) -> None:
    assert apart["frozen"] == {"statistics": 0.0, "output": 0.0}
