"""Keeping: what is written after each epoch, and what a training goes on from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from training import history
from training.presets import RGB200, Preset
from training.runs import load_arrays, save_arrays

keras = import_keras()

from training.keeper import Keeper, load_best  # noqa: E402

PRESET = dataclasses.replace(RGB200, name="small", patience=None)


class _Epochs:
    """Stands where the batches of a training stand: a keeper only tells it the epoch."""

    epoch = 0


def _keeper(out: Path, preset: Preset = PRESET) -> Keeper:
    return Keeper(out, preset, _Epochs(), 7)  # type: ignore[arg-type]


def _network(units: int = 2) -> Any:
    """A line, whose weights an epoch here sets by hand."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    model.compile(keras.optimizers.Adam(0.5), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def _train(keeper: Keeper, model: Any, errors: list[float], first: int = 0) -> None:
    """Epochs whose errors are given; after epoch e, counted from 1, all weights are e."""
    keeper.set_model(model)
    for epoch, error in enumerate(errors, first):
        keeper.on_epoch_begin(epoch)
        for variable in (*model.variables, *model.optimizer.variables):
            variable.assign(np.full(variable.shape, epoch + 1, variable.dtype))
        logs = {"loss": error / 2, "age_mae": error - 1, "gender_accuracy": 0.9}
        keeper.on_epoch_end(epoch, logs | {"val_age_mae": error})


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    keeper, model = _keeper(tmp_path), _network()
    _train(keeper, model, [7.0, 8.0, 7.0])
    assert keeper.best["epoch"] == 1.0, "the first of equals"
    assert keeper.train.epoch == 3
    fresh = _network()
    load_best(fresh, tmp_path)
    assert {float(value) for weights in fresh.get_weights() for value in weights.flat} == {1.0}
    names = {"best.npz", "checkpoint.npz", "history.csv", "history.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    rows = history.read(tmp_path / "history.csv")
    assert [(row["epoch"], row["val_age_mae"]) for row in rows] == [(1, 7), (2, 8), (3, 7)]
    assert {"loss", "learning_rate", "seconds"} <= set(rows[0])
    with Image.open(tmp_path / "history.png") as picture:
        assert picture.format == "PNG"


def test_a_training_goes_on_from_its_last_whole_epoch(tmp_path: Path) -> None:
    model = _network()
    _train(_keeper(tmp_path), model, [7.0, 8.0])
    # Killed after the history of a third epoch was written, before its checkpoint was.
    rows = history.read(tmp_path / "history.csv")
    history.write(tmp_path / "history.csv", [*rows, rows[-1] | {"epoch": 3.0, "val_age_mae": 1.0}])
    keeper, fresh = _keeper(tmp_path), _network()
    assert keeper.restore(fresh) == 2
    assert [row["epoch"] for row in keeper.rows] == [1, 2]
    for one, other in zip(
        (*fresh.variables, *fresh.optimizer.variables),
        (*model.variables, *model.optimizer.variables),
        strict=True,
    ):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    # A worse epoch leaves the best weights, a better one replaces them.
    _train(keeper, fresh, [7.5], first=2)
    load_best(model, tmp_path)
    assert float(np.asarray(model.variables[0])[0, 0]) == 1.0
    _train(keeper, fresh, [6.5], first=3)
    load_best(model, tmp_path)
    assert float(np.asarray(model.variables[0])[0, 0]) == 4.0


def test_early_stopping_waits_for_the_patience_of_the_preset() -> None:
    keeper = _keeper(Path(), dataclasses.replace(RGB200, patience=2))
    for epoch, error in enumerate((9.0, 8.0, 8.5, 8.0), 1):
        assert not keeper.has_stopped
        keeper.rows.append({"epoch": float(epoch), "val_age_mae": error})
    assert keeper.has_stopped
    assert keeper.best["epoch"] == 2.0


def test_a_keeper_that_has_stopped_stops_the_training(tmp_path: Path) -> None:
    keeper, model = _keeper(tmp_path, dataclasses.replace(PRESET, patience=1)), _network()
    model.stop_training = False
    _train(keeper, model, [9.0])
    assert not model.stop_training
    _train(keeper, model, [9.5], first=1)
    assert model.stop_training


def test_weights_of_another_network_change_nothing(tmp_path: Path) -> None:
    _train(_keeper(tmp_path), _network(), [9.0])
    arrays = load_arrays(tmp_path / "best.npz")
    wider = _network(units=3)
    before = wider.get_weights()
    for changed in (
        arrays,  # of two units
        {"model_0": np.ones((3, 3), np.float32)},  # one is missing
        {f"model_{i}": w for i, w in enumerate(before)} | {"model_9": before[0]},  # one too many
        {},
    ):
        save_arrays(tmp_path / "best.npz", changed)
        with pytest.raises(AnnotateError, match="does not fit this preset's network") as caught:
            load_best(wider, tmp_path)
        assert "\n" not in str(caught.value)
        for one, other in zip(before, wider.get_weights(), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda out: (out / "checkpoint.npz").write_bytes(b"PK"),
        lambda out: (out / "checkpoint.npz").unlink(),
        lambda out: save_arrays(out / "checkpoint.npz", load_arrays(out / "best.npz")),
        lambda out: _without(out / "checkpoint.npz", "epochs_done"),
        lambda out: (out / "history.csv").unlink(),
        lambda out: (out / "history.csv").write_text("epoch,val_age_mae\n1,much\n"),
        lambda out: (out / "history.csv").write_text("no,epoch\n1,2\n"),
        lambda out: (out / "history.csv").write_bytes(b"\xff"),
    ],
    ids=["cut", "gone", "no_optimizer", "no_epochs", "no_rows", "no_number", "columns", "bytes"],
)
def test_a_damaged_run_is_a_one_line_error(spoil: Any, tmp_path: Path) -> None:
    _train(_keeper(tmp_path), _network(), [9.0])
    spoil(tmp_path)
    with pytest.raises(AnnotateError, match=r"cannot read|does not fit") as caught:
        _keeper(tmp_path).restore(_network())
    assert "\n" not in str(caught.value)


def _without(path: Path, name: str) -> None:
    arrays = load_arrays(path)
    del arrays[name]
    save_arrays(path, arrays)


def test_the_last_of_all_seeds_lasts_for_several_epochs(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, PRESET, _Epochs(), 2**32 - 1)  # type: ignore[arg-type]
    drawn = []
    for epoch in (0, 1):
        keeper.on_epoch_begin(epoch)
        drawn.append(np.random.random())
    np.random.seed(0)
    assert drawn[0] != drawn[1] == np.random.random()
