"""Fitting: a preset and a labelled folder in, the best weights and a history out.

A run's folder holds `checkpoint.npz` (everything needed to continue), `best.npz` (the weights
that export takes), `history.csv`, `history.png`, `splits.txt` and `run.json`. Files are replaced
whole: a run killed at any instant continues from its last complete epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from annotate.engines import cpu_name, usable_cpus
from annotate.errors import AnnotateError
from training.ancestry import begun_with, check_models, check_needs
from training.architectures import ARCHITECTURES
from training.batches import Batches
from training.data import load_parts
from training.keeper import Keeper
from training.material import Lessons, Sources, training_lessons
from training.presets import Preset
from training.pretrained import freeze, load_pretrained
from training.runs import (
    check_settings,
    check_splits,
    check_unused,
    has_checkpoint,
    write_run,
)
from training.schedule import learning_rate
from training.splits import SEED
from training.unfolding import load_exported


def build_model(preset: Preset, *, fixed_size: bool) -> keras.Model:
    """The preset's network. fixed_size: with its input size in the graph, as export wants it."""
    free = bool(preset.sizes) and not fixed_size
    side = None if free else preset.size_px
    options = {"block_dropout": preset.block_dropout} if preset.block_dropout else {}
    return ARCHITECTURES[preset.architecture]((side, side, 3), **options)


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


def gender_accuracy(truth: Any, prediction: Any) -> Any:
    """Whether the likelier gender is the labelled one, (B,). truth, prediction: (B, 1), 0 to 1.

    Unlike Keras's own, it takes labels that a teacher has softened.
    """
    ops = keras.ops
    return ops.cast((truth > 0.5) == (prediction > 0.5), "float32")[:, 0]


gender_accuracy.__name__ = "accuracy"


def compile_model(model: keras.Model, preset: Preset, steps_per_epoch: int) -> None:
    """Attach the preset's optimiser, losses and metrics."""
    rate = learning_rate(preset, steps_per_epoch)
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
        metrics={"age": ["mae"] if preset.age_bins is None else [age_mae]},
        # Weighted: faces of unknown gender have no weight.
        weighted_metrics={"gender": [gender_accuracy]},
    )


def fit(
    preset: Preset,
    sources: Sources,
    out: Path,
    *,
    resume: bool = False,
    seed: int = SEED,
    epochs: int | None = None,
    limit: int | None = None,
    precision: str = "float32",
    progress: bool = True,
) -> dict[str, float]:
    """Train a preset. Returns the history row of the epoch that was kept.

    epochs: train fewer than the preset says, on the preset's schedule. limit: use so many
    images of the folder only, for rehearsals. precision: of the computations, one of
    presets.PRECISIONS; weights are float32 always.
    resume: go on after the last whole epoch in `out`; before the first, with what was made ready.
    Raises AnnotateError where the preset needs models that `sources` lacks, where one of them
    does not fit, where `out` holds another run, or nothing to resume.
    """
    check_needs(preset, sources)
    last = preset.epochs if epochs is None else epochs
    if not 1 <= last <= preset.epochs:
        raise AnnotateError(f"epochs: expected 1 to {preset.epochs}, the preset's, got {epochs}")
    settings: dict[str, Any] = {"preset": preset.name, "seed": seed, "limit": limit}
    settings["photographs"] = sources.photographs is not None
    if sources.teachers:
        settings["teachers"] = list(sources.teachers)
    if sources.start is not None:
        settings["start"] = sources.start
    if precision != "float32":
        settings["precision"] = precision
    if resume:
        before = check_settings(out, settings)
    else:
        check_unused(out)
    going_on = resume and has_checkpoint(out)
    if going_on:
        # The model that it began with may have been replaced since.
        begun = {key: value for key, value in before.items() if key in ("start", "start_sha256")}
    else:
        check_models(preset, sources, seed)
        begun = begun_with(sources.start)
    _make_folder(out)
    faces = load_parts(sources.data, preset, seed=seed, limit=limit, parts=("train", "validation"))
    if resume:
        check_splits(out, faces)
    command = _command(preset, sources, out, settings, epochs)
    run = {"settings": settings, "command": command, **_environment(), **begun}
    write_run(out, run, faces)
    lessons = training_lessons(out, preset, faces, sources, resume=resume)
    keras.utils.set_random_seed(seed)
    train = Batches(lessons, preset, training=True, seed=seed)
    validation = Batches(Lessons(faces.parts["validation"]), preset, training=False)
    model = starting_model(preset, precision)
    if sources.start is not None and not going_on:
        load_exported(model, sources.start, lessons.faces.pixels)
    compile_model(model, preset, len(train))
    model.optimizer.build(model.trainable_variables)
    keeper = Keeper(out, preset, train, seed)
    done = keeper.restore(model) if going_on else 0
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


def starting_model(preset: Preset, precision: str = "float32") -> keras.Model:
    """The preset's network as training begins: first weights loaded, first layers frozen."""
    usual = keras.config.dtype_policy()
    # Layers keep what holds while they are made.
    keras.config.set_dtype_policy(precision)
    try:
        model = build_model(preset, fixed_size=False)
    finally:
        keras.config.set_dtype_policy(usual)
    if preset.pretrained is not None:
        load_pretrained(model, preset.pretrained)
    if preset.frozen_up_to is not None:
        freeze(model, preset.frozen_up_to)
    return model


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AnnotateError(
            f"cannot make the folder {out}: {error.strerror}: choose another --out"
        ) from error


def _command(
    preset: Preset, sources: Sources, out: Path, settings: dict[str, Any], epochs: int | None
) -> str:
    """The command that does the same again; options that are as they are anyhow are left out."""
    usual = {"seed": SEED, "epochs": None, "limit": None, "precision": "float32"}
    chosen = {key: settings.get(key, usual[key]) for key in usual} | {"epochs": epochs}
    words = [f"python -m training fit --preset {preset.name} {sources.options}"]
    words += [f"--{key} {value}" for key, value in chosen.items() if value != usual[key]]
    return " ".join([*words, f"--out runs/{out.resolve().name}"])


def _environment() -> dict[str, str]:
    """What a run is trained with and on."""
    return {
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "machine": f"{usable_cpus()} cores of {cpu_name()}",
    }


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
