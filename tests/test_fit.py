"""Fitting: what is measured, in which stretches, and from what it begins; runs: test_export.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from training.material import Sources
from training.presets import BASE, BASE_TAUGHT, GRAY128, NANO

keras = import_keras()

from training.fit import _command, _stretches, age_mae, compile_model, fit, starting_model  # noqa: E402

TINY = dataclasses.replace(NANO, size_px=32, kept_px=36, pretrained=None, epochs=4, batch_size=8)


def test_the_age_error_is_that_of_the_median() -> None:
    truth = np.zeros((3, 10), np.float32)
    truth[[0, 1, 2], [4, 4, 9]] = 1
    said = np.zeros((3, 10), np.float32)
    said[0, [0, 6, 9]] = 0.3, 0.3, 0.4  # half lies below the end of 6: 2 years off
    said[1, [1, 2, 3, 4]] = 0.1, 0.1, 0.1, 0.7  # none
    said[2, [0, 9]] = 0.6, 0.4  # 9 years; the mean would be 5.4
    assert float(age_mae(truth, said)) == pytest.approx((2 + 0 + 9) / 3, abs=1e-6)


def test_stretches_are_of_one_size_and_continue_anywhere() -> None:
    rising = dataclasses.replace(BASE, size_px=96, epochs=6, sizes=((1, 64), (4, 80), (6, 96)))
    assert list(_stretches(rising, 0, 6)) == [(0, 3), (3, 5), (5, 6)]
    assert list(_stretches(rising, 2, 5)) == [(2, 3), (3, 5)]
    assert list(_stretches(rising, 6, 6)) == []
    assert list(_stretches(GRAY128, 7, 30)) == [(7, 30)]


def test_a_network_begins_with_its_first_layers_frozen_and_decays_kernels_alone() -> None:
    model = starting_model(TINY)
    assert model.input_shape == (None, 32, 32, 3)
    trainable = {layer.name: layer.trainable for layer in model.layers}
    assert not trainable["stem"]
    assert not trainable["stage1_block1_project_norm"]
    assert trainable["stage2_block1_expand"]
    compile_model(model, TINY, steps_per_epoch=10)
    model.optimizer.build(model.trainable_variables)
    decayed = {
        "/".join(variable.path.split("/")[-2:])
        for variable in model.trainable_variables
        if model.optimizer._use_weight_decay(variable)
    }
    assert {"stage2_block1_expand/kernel", "age/kernel"} <= decayed
    assert not any(name.endswith(("/beta", "/gamma", "/bias")) for name in decayed)


def test_an_unknown_gender_teaches_nothing() -> None:
    """Of two faces, the second is of unknown gender: whatever its target says, a step is the
    same, and moves the gender head by what is known of the first.
    """
    preset = dataclasses.replace(GRAY128, age_bins=3, age_loss="categorical_crossentropy")
    features = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    age = np.full((2, 3), 1 / 3, np.float32)
    weights = {"age": np.ones(2, np.float32), "gender": np.array([1, 0], np.float32)}
    for filled_in in (0.0, 1.0):
        inputs = keras.Input((2,))
        heads = {
            "age": keras.layers.Dense(3, "softmax", name="age")(inputs),
            "gender": keras.layers.Dense(
                1, "sigmoid", kernel_initializer="zeros", use_bias=False, name="gender"
            )(inputs),
        }
        model = keras.Model(inputs, heads)
        compile_model(model, preset, steps_per_epoch=10)
        model.run_eagerly = True
        targets = {"age": age, "gender": np.array([[1.0], [filled_in]], np.float32)}
        model.train_on_batch(features, targets, weights)
        ((known,), (unknown,)) = np.asarray(model.get_layer("gender").kernel)
        # Adam's first step is the learning rate, in the direction that helps.
        assert known == pytest.approx(preset.peak_learning_rate, rel=1e-3)
        assert unknown == 0


def test_precision_is_of_the_computations_alone() -> None:
    """Weights, and the ages and probabilities that losses are taken of, stay float32."""
    model = starting_model(TINY, "mixed_bfloat16")
    assert model.get_layer("stem").compute_dtype == "bfloat16"
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    outputs = model(np.full((2, 32, 32, 3), 77, np.uint8))
    assert {keras.backend.standardize_dtype(o.dtype) for o in outputs.values()} == {"float32"}
    # What is built next, for export, is what it always was.
    assert starting_model(TINY).get_layer("stem").compute_dtype == "float32"


def test_a_run_without_its_models_ends_before_anything_is_read_or_written(tmp_path: Path) -> None:
    for preset in (BASE_TAUGHT, NANO):
        with pytest.raises(AnnotateError, match=f"preset {preset.name} needs a model"):
            fit(preset, Sources(tmp_path / "no data"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_the_recorded_command_says_all_that_was_chosen(tmp_path: Path) -> None:
    sources = Sources(tmp_path, start="models/first", teachers=("nano",))
    chosen = {"seed": 7, "limit": 500, "precision": "mixed_bfloat16"}
    usual = {"seed": 2026, "limit": None}
    out = tmp_path / "mine"
    assert _command(BASE, sources, out, chosen, 3) == (
        "python -m training fit --preset base --data $UTKFACE --start first --teacher nano --seed 7"
        " --epochs 3 --limit 500 --precision mixed_bfloat16 --out runs/mine"
    )
    assert _command(NANO, Sources(tmp_path), out, usual, None) == (
        "python -m training fit --preset nano --data $UTKFACE --out runs/mine"
    )
