"""Ancestry: the models that a run begins with and learns from in, what to record of them out.

What does not fit is refused before any image is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from annotate.errors import AnnotateError, shown
from annotate.heads import age_outputs
from annotate.model import FILES, checked_info, load_model, model_folder, read_info
from training.material import Sources, check_ages
from training.presets import Preset
from training.splits import DATA_NAME, TEST_SHARE


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


def check_models(preset: Preset, sources: Sources, seed: int) -> None:
    """Refuse models that do not fit a preset, or that know images to measure it on.

    Raises AnnotateError, too, where there is no such model.
    """
    for model in [*([] if sources.start is None else [sources.start]), *sources.teachers]:
        info, _ = read_info(model_folder(model))
        _check_split(model, info, preset, seed)
        if model in sources.teachers:
            check_ages(info["name"], age_outputs(info), preset)


def _check_split(model: str, info: dict[str, Any], preset: Preset, seed: int) -> None:
    """Refuse a model that was trained on another split of the same data.

    What it learnt by heart would be among the images that the run is measured on. The part of an
    image follows from its bytes, so that a limit on either side moves none. Models that do not
    say how their images were split are taken as they are.
    """
    own = {
        "seed": seed,
        "test_share": TEST_SHARE,
        "validation_share": preset.validation_share,
    }
    said = _split(info)
    other = {key: said[key] for key in own if said.get(key, own[key]) != own[key]}
    if other:
        found = ", ".join(f"{key} {shown(value)}" for key, value in other.items())
        expected = ", ".join(f"{key} {own[key]}" for key in other)
        raise AnnotateError(
            f"the model {shown(model)} was trained on another split of the images, {found},"
            f" than this run's, {expected}: it knows images that the run is measured on; pass"
            " the same --seed, or another model"
        )


def _split(info: dict[str, Any]) -> dict[str, Any]:
    """How a model says that the images of DATA_NAME were split; empty where it does not."""
    data = info.get("data")
    if not isinstance(data, dict) or data.get("name") != DATA_NAME:
        return {}
    split = data.get("split")
    return split if isinstance(split, dict) else {}


def begun_with(start: str | None) -> dict[str, Any]:
    """What run.json keeps of the model that a run begins with.

    Returns {"start": what its model.json says of its training, "start_sha256": of the file of its
    weights, hexadecimal}, nothing where it begins with none. Raises AnnotateError.
    """
    if start is None:
        return {}
    info = checked_info(start)
    sha256 = info["files"].get(FILES["keras"])
    if sha256 is None or not isinstance(info.get("training"), dict):
        lacking = f"has no {FILES['keras']}" if sha256 is None else "does not say how it was made"
        raise AnnotateError(
            f"the model {shown(start)} {lacking}: begin with one that `python -m training export`"
            " wrote"
        )
    return {"start": info["training"], "start_sha256": sha256}


def beginning(run: Path, run_info: dict[str, Any], start: str | None) -> str | None:
    """Name or folder of the model that a run began with, None where it began with none.

    run_info: its run.json. start: where that model lies now, where the run says if None.
    Raises AnnotateError where it is not that one: by its weights, or, of a run that does not say
    which those were, by what is said of its training.
    """
    where = start or run_info["settings"].get("start")
    if where is None:
        return None
    try:
        info = checked_info(where)
    except AnnotateError as error:
        advice = "" if start else f"; it is what {run} began with: say where that is by --start"
        raise AnnotateError(f"{error}{advice}") from error
    sha256 = run_info.get("start_sha256")
    if sha256 is not None:
        found, expected = info["files"].get(FILES["keras"]), sha256
    else:
        found, expected = info.get("training"), run_info.get("start")
    if found is None or found != expected:
        raise AnnotateError(
            f"{run} began with another model than {shown(where)}: say where that one is by --start"
        )
    return str(where)


def images_met(start: str) -> list[str]:
    """Lines of the training_hashes.txt of a model, as splits.hash_lines. Raises AnnotateError."""
    parts = load_model(start, engine="keras", device="cpu").training_parts()
    return [f"{digits} {part}" for digits, part in parts.items()]
