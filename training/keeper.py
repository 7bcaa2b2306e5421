"""Keeping: after each epoch, the checkpoint to go on from, the best weights and the history."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from annotate.errors import AnnotateError, one_line
from training import history as history_files
from training.batches import Batches
from training.presets import Preset
from training.runs import Arrays, load_arrays, save_arrays
from training.splits import SEEDS


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes the checkpoint, the best weights and the history after each epoch; stops early."""

    def __init__(self, out: Path, preset: Preset, train: Batches, seed: int) -> None:
        super().__init__()
        self.out = out
        self.preset = preset
        self.train = train
        self.seed = seed
        self.rows: list[dict[str, float]] = []
        self.started = 0.0

    @property
    def best(self) -> dict[str, float]:
        """The history row of the epoch whose weights are kept."""
        return history_files.best_row(self.rows, self.preset.monitor)

    @property
    def has_stopped(self) -> bool:
        """Whether `patience` epochs went by without a better value."""
        if self.preset.patience is None or not self.rows:
            return False
        return self.rows[-1]["epoch"] - self.best["epoch"] >= self.preset.patience

    def restore(self, model: keras.Model) -> int:
        """Load the last checkpoint into the model. Returns the number of epochs done."""
        path = self.out / "checkpoint.npz"
        state = load_arrays(path)
        _assign(path, state, "model", model.variables)
        _assign(path, state, "optimizer", model.optimizer.variables)
        try:
            done = int(state["epochs_done"])
            rows = history_files.read(self.out / "history.csv")
            self.rows = [row for row in rows if row["epoch"] <= done]
            if len(self.rows) != done:
                raise ValueError(f"history.csv tells of {len(self.rows)} epochs, not {done}")
        except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
            raise AnnotateError(f"cannot read the run in {self.out}: {one_line(error)}") from error
        return done

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prepare an epoch, counted from 0."""
        self.started = time.monotonic()
        # Not left to Batches.on_epoch_end, which Keras also calls before the first epoch.
        self.train.epoch = epoch + 1
        # On PyTorch, dropout draws from the global generator: seeded by epoch, a resumed
        # training drops what an uninterrupted one would have dropped.
        keras.utils.set_random_seed((self.seed + epoch) % SEEDS)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record an epoch, counted from 0, that is complete."""
        row = {"epoch": epoch + 1.0, **{key: float(value) for key, value in (logs or {}).items()}}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.monotonic() - self.started, 1)
        self.rows.append(row)
        weights = _arrays("model", self.model.variables)
        if self.best is row:
            save_arrays(self.out / "best.npz", weights)
        history_files.write(self.out / "history.csv", self.rows)
        # Last, because it is what makes the epoch count as done.
        state = weights | _arrays("optimizer", self.model.optimizer.variables)
        save_arrays(self.out / "checkpoint.npz", state | {"epochs_done": np.asarray(epoch + 1)})
        history_files.plot(self.out / "history.png", self.rows, self.preset.name)
        if self.has_stopped:
            self.model.stop_training = True


def load_best(model: keras.Model, out: Path) -> None:
    """Put the kept weights of a run into a model of the same preset.

    The run may have used another input size and another backend: variables come in the order
    of the layers on all of them. Raises AnnotateError.
    """
    path = out / "best.npz"
    _assign(path, load_arrays(path), "model", model.variables)


def _assign(path: Path, state: Arrays, prefix: str, variables: list[Any]) -> None:
    """Set variables from arrays `prefix_0`, `prefix_1`, ... of a file, all or none.

    Counters of random layers are among them; their types differ by backend, their shapes do not.
    """
    names = {name for name in state if name.startswith(f"{prefix}_")}
    arrays = [state.get(f"{prefix}_{index}") for index in range(len(variables))]
    fits = len(names) == len(variables) and all(
        array is not None and array.shape == tuple(variable.shape)
        for array, variable in zip(arrays, variables, strict=True)
    )
    if not fits:
        raise AnnotateError(f"{path} does not fit this preset's network: it is of another one")
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)


def _arrays(prefix: str, variables: list[Any]) -> Arrays:
    return {f"{prefix}_{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
