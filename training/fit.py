"""Fitting: a preset and a labelled folder in, the best weights and a history out.

A run's folder holds `checkpoint.npz` (everything needed to continue), `best.npz` (the weights
that export takes), `history.csv`, `history.png`, `splits.txt` and `run.json`. Files are replaced
whole: a run killed at any instant continues from its last complete epoch.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from annotate.engines import cpu_name, usable_cpus
from annotate.errors import AnnotateError
from training import history as history_files
from training.architectures import ARCHITECTURES
from training.batches import Batches
from training.data import FolderData, load_parts
from training.presets import Preset
from training.splits import SEED, hash_lines

Arrays = dict[str, npt.NDArray[Any]]


def build_model(preset: Preset, *, fixed_size: bool) -> keras.Model:
    """The preset's network. fixed_size: with its input size in the graph, as export wants it."""
    free = bool(preset.sizes) and not fixed_size
    side = None if free else preset.size_px
    return ARCHITECTURES[preset.architecture]((side, side, 3))


def age_mae(truth: Any, prediction: Any) -> Any:
    """Mean absolute error in years of the median of an age distribution, in whole years.

    truth, prediction: (B, bins), rows sum to 1. A mark for training; reports interpolate.
    """
    ops = keras.ops
    age = ops.argmax(truth, axis=-1)
    below = ops.cast(ops.cumsum(prediction, axis=-1) < 0.5, "int32")
    median = ops.sum(below, axis=-1)
    return ops.mean(ops.abs(ops.cast(median, "float32") - ops.cast(age, "float32")))


age_mae.__name__ = "mae"


def compile_model(model: keras.Model, preset: Preset, steps_per_epoch: int) -> None:
    """Attach the preset's optimiser, losses and metrics."""
    rate: Any = preset.peak_learning_rate
    if preset.schedule == "cosine":
        warmup = round(preset.warmup_epochs * steps_per_epoch)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(1, preset.epochs * steps_per_epoch - warmup),
            warmup_target=preset.peak_learning_rate,
            warmup_steps=warmup,
        )
    optimizer: keras.optimizers.Optimizer
    if preset.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=preset.weight_decay)
        # Decay is for the weights of convolutions and dense layers, not for normalisation.
        optimizer.exclude_from_weight_decay(var_names=["beta", "gamma", "bias"])
    else:
        optimizer = keras.optimizers.Adam(rate)
    model.compile(
        optimizer,
        loss={"age": preset.age_loss, "gender": "binary_crossentropy"},
        loss_weights={"age": preset.age_weight, "gender": preset.gender_weight},
        metrics={"age": ["mae"] if preset.age_bins is None else [age_mae], "gender": ["accuracy"]},
    )


def fit(
    preset: Preset,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    seed: int = SEED,
    epochs: int | None = None,
    limit: int | None = None,
    progress: bool = True,
) -> dict[str, float]:
    """Train a preset. Returns the history row of the epoch that was kept.

    epochs: train fewer than the preset says, on the preset's schedule. limit: use so many
    images only, for rehearsals.
    Raises AnnotateError where `out` holds another run, or nothing to resume.
    """
    last = preset.epochs if epochs is None else epochs
    if not 1 <= last <= preset.epochs:
        raise AnnotateError(f"epochs: expected 1 to {preset.epochs}, the preset's, got {epochs}")
    settings = {"preset": preset.name, "seed": seed, "limit": limit}
    if resume:
        _check_settings(out, settings)
    elif (out / "checkpoint.npz").exists():
        raise AnnotateError(f"{out} holds a training run: use --resume, or another --out")
    out.mkdir(parents=True, exist_ok=True)
    faces = load_parts(data, preset, seed=seed, limit=limit, parts=("train", "validation"))
    if resume:
        check_splits(out, faces)
    _write_run(out, preset, settings, faces)
    keras.utils.set_random_seed(seed)
    train = Batches(faces.parts["train"], preset, training=True, seed=seed)
    validation = Batches(faces.parts["validation"], preset, training=False)
    model = build_model(preset, fixed_size=False)
    compile_model(model, preset, len(train))
    model.optimizer.build(model.trainable_variables)
    keeper = Keeper(out, preset, train, seed)
    done = keeper.restore(model) if resume else 0
    for first, stop in _stretches(preset, done, last):
        if keeper.has_stopped:
            break
        train.epoch = first + 1
        model.fit(
            train,
            validation_data=validation,
            initial_epoch=first,
            epochs=stop,
            callbacks=[keeper],
            shuffle=False,
            verbose=1 if progress else 2,
        )
    return keeper.best


def _stretches(preset: Preset, done: int, last: int) -> Iterator[tuple[int, int]]:
    """(epochs done before, epochs done after) of stretches of equal image size.

    One call of Keras's fit a stretch: the TensorFlow backend settles on the shape of the first
    batches that it sees.
    """
    while done < last:
        stop = done + 1
        while stop < last and preset.size_at(stop + 1) == preset.size_at(done + 1):
            stop += 1
        yield done, stop
        done = stop


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
        """The history row with the best monitored value; the first of equals."""
        return min(self.rows, key=lambda row: row[self.preset.monitor])

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
        done = int(state["epochs_done"])
        self.rows = [r for r in history_files.read(self.out / "history.csv") if r["epoch"] <= done]
        return done

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prepare an epoch, counted from 0."""
        self.started = time.monotonic()
        # Not left to Batches.on_epoch_end, which Keras also calls before the first epoch.
        self.train.epoch = epoch + 1
        # On PyTorch, dropout draws from the global generator: seeded by epoch, a resumed
        # training drops what an uninterrupted one would have dropped.
        keras.utils.set_random_seed(self.seed + epoch)

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


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays as .npz, complete or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_arrays(path: Path) -> Arrays:
    """Read what save_arrays wrote; never unpickles. Raises AnnotateError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise AnnotateError(f"cannot read {path}: {error}") from error


def read_run(out: Path) -> dict[str, Any]:
    """run.json of a training run. Raises AnnotateError."""
    try:
        run: dict[str, Any] = json.loads((out / "run.json").read_text("utf-8"))
        run["settings"]["preset"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnnotateError(f"{out} holds no training run: {error}") from error
    return run


def _check_settings(out: Path, settings: dict[str, Any]) -> None:
    """Refuse to continue a run that was started otherwise, or that has no whole epoch yet."""
    before = read_run(out)["settings"]
    if before != settings:
        raise AnnotateError(f"{out} was started with {before}, not with {settings}")
    if not (out / "checkpoint.npz").exists():
        raise AnnotateError(f"{out} has no complete epoch to resume from: run without --resume")


def check_splits(out: Path, faces: FolderData) -> None:
    """Refuse to go on with other images than the run began with. Raises AnnotateError."""
    try:
        before = (out / "splits.txt").read_text("ascii").splitlines()
    except (OSError, ValueError) as error:
        raise AnnotateError(f"cannot read {out / 'splits.txt'}: {error}") from error
    if before != hash_lines(faces.hashes):
        raise AnnotateError(f"{out} was trained on other images: pass the --data it began with")


def _write_run(out: Path, preset: Preset, settings: dict[str, Any], faces: FolderData) -> None:
    """Write what the run is about: settings, images by hash and part, faults of the data."""
    run = {
        "settings": settings,
        "images": faces.counts,
        "faults": [f"{fault.kind}: {fault.path}" for fault in faces.faults],
        "command": preset.command,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "machine": f"{usable_cpus()} cores of {cpu_name()}",
    }
    splits = "".join(f"{line}\n" for line in hash_lines(faces.hashes))
    history_files.write_text(out / "splits.txt", splits)
    history_files.write_text(out / "run.json", json.dumps(run, indent=1))
