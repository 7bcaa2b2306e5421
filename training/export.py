"""Export: a training run in, a model folder that `annotate` runs out, checked before it appears.

Needs Keras on the TensorFlow backend, from which ONNX files are written; the run may have been
trained on any backend.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from annotate.engines import import_keras
from annotate.errors import AnnotateError, one_line, shown
from annotate.heads import estimates
from annotate.images import Pixels
from annotate.model import (
    FILES,
    HASHES_FILE,
    load_model,
)
from annotate.model_files import import_late
from annotate.records import Predictions
from training import replacing
from training.calibration import fit_calibration
from training.card import card
from training.description import model_info, write_info
from training.presets import PRESETS
from training.splits import hash_lines, united

MAX_YEARS_APART = 0.01
MAX_PROBABILITY_APART = 1e-4
"""How far the two engines of a model may differ on the same image."""

CHECKED_IMAGES = 512
"""Validation images that the two engines are compared on."""

PHOTOGRAPHS_NAME = "APPA-REAL, train_*: photographs with apparent ages"
PHOTOGRAPHS_LICENCE = (
    "non-commercial research only; the copyright of each image stays with its owner"
    " (APPA-REAL, Agustsson et al. 2017, of ChaLearn Looking at People)"
)

OtherSource = tuple[Path, Path]
"""A folder of photographs, and the table that labels those to measure on."""


def export(
    run: Path,
    data: Path,
    out: Path,
    *,
    name: str | None = None,
    start: str | None = None,
    overwrite: bool = False,
    machine: str | None = None,
    score: bool = True,
    appa_real: Path | None = None,
    appa_real_labels: Path | None = None,
) -> Path:
    """Make a model folder of a run's best weights. Returns `out`.

    run: the folder that fit wrote. data: the folder it was trained on. name: of the model, the
    preset's if None. start: where the model lies now that the run began with, the place that the
    run says if None. machine: what it was trained on, where the run does not say. score:
    measure the figures of the card, which takes as long as labelling the two parts twice and
    the test part once more under each bad condition. appa_real, appa_real_labels: photographs of
    another source, and the table of those to measure it on as well.
    overwrite: replace the model folder that is there; nothing else is ever replaced.
    Raises AnnotateError, and leaves nothing behind, where the run cannot be read, the data are
    others, or the exported files do not agree with each other.
    """
    _require_tensorflow()
    other = _other_source(appa_real, appa_real_labels)
    building = replacing.prepare(out, overwrite=overwrite)
    try:
        _build(run, data, building, name, start, machine, score, other)
        replacing.put(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return out


def _require_tensorflow() -> None:
    backend = os.environ.get("KERAS_BACKEND") or import_keras().backend.backend()
    if backend != "tensorflow":
        raise AnnotateError(
            f"export needs Keras on TensorFlow, found {backend}: set KERAS_BACKEND=tensorflow"
            " (weights trained on any backend are read)"
        )
    import_late("tf2onnx", "export needs it: pip install 'annotate[train]'")


def _other_source(photographs: Path | None, labels: Path | None) -> OtherSource | None:
    """The photographs and their table, found to be usable before any work is done."""
    from training.scoring import photograph_names

    if photographs is None and labels is None:
        return None
    if photographs is None or labels is None:
        raise AnnotateError("--appa-real needs --appa-real-labels, and the other way round")
    photograph_names(photographs, labels)
    return photographs, labels


def _build(
    run: Path,
    data: Path,
    folder: Path,
    name: str | None,
    start: str | None,
    machine: str | None,
    score: bool,
    other: OtherSource | None,
) -> None:
    """Fill a new, empty folder with a checked model."""
    from training import ancestry, fit, history, keeper, runs
    from training.averaging import average
    from training.data import load_parts
    from training.folding import fold
    from training.onnx_files import write_onnx
    from training.speed import measure_speed
    from training.unfolding import load_exported

    run_info = runs.read_whole_run(run)
    chosen = run_info["settings"]
    if chosen["preset"] not in PRESETS:
        raise AnnotateError(f"{run} was trained by the unknown preset {chosen['preset']!r}")
    preset = PRESETS[chosen["preset"]]
    limit, seed = chosen.get("limit"), chosen["seed"]
    rows = history.read_whole(run / "history.csv", preset.monitor)
    began = ancestry.beginning(run, run_info, start)
    if began is None and preset.start_share:
        raise AnnotateError(
            f"{run} began with no model, but {preset.name} is exported as an average with the one"
            " that it began with: fit it again with --start"
        )
    parts = ("train", "validation") if preset.start_share else ("validation",)
    faces = load_parts(data, preset, seed=seed, limit=limit, parts=parts)
    runs.check_splits(run, faces)
    validation = faces.parts["validation"]

    trained = fit.build_model(preset, fixed_size=True)
    keeper.load_best(trained, run)
    if began is not None and preset.start_share:
        beginning = fit.build_model(preset, fixed_size=True)
        load_exported(beginning, began, faces.parts["train"].pixels)
        average(trained, beginning, preset.start_share)
    network = fold(trained)
    raw = network.predict(validation.pixels, batch_size=64, verbose=0)
    calibration = fit_calibration(raw["age"], raw["gender"], validation.ages, validation.female)

    known = {part: faces.hashes[part] for part in ("train", "validation")}
    photographs = read_photographs(run) if chosen.get("photographs") else None
    # What a model began as has met images, too.
    lines = united(
        hash_lines(known),
        photographs.lines if photographs else (),
        ancestry.images_met(began) if began is not None else (),
    )
    text = "".join(f"{line}\n" for line in lines)
    (folder / HASHES_FILE).write_text(text, encoding="ascii", newline="\n")
    network.save(folder / FILES["keras"])
    write_onnx(network, folder / FILES["onnx"])

    name = name or preset.name
    info = model_info(preset, run_info, rows, name, _command(run, began, name, other), machine)
    if photographs is not None:
        info["data"]["photographs"] = photographs.to_dict()
    info["calibration"] = {**calibration, "fitted_on": "validation", "n": len(validation)}
    write_info(folder, info)
    check_engines(folder, validation.pixels[:CHECKED_IMAGES], estimates(*_heads(raw), info))
    if score:
        info["speed"] = measure_speed(folder)
    info["figures"] = _figures(folder, data, other) if score else {}
    (folder / "card.md").write_text(card(info, rows), encoding="utf-8", newline="\n")
    write_info(folder, info)
    load_model(folder, engine="onnx")


def _command(run: Path, began: str | None, name: str, other: OtherSource | None) -> str:
    """The command that makes this model of its run, with the places of data sets left open."""
    words = [f"python -m training export --run runs/{run.resolve().name} --data $UTKFACE"]
    words.append(f"--out FOLDER --name {name}")
    if began is not None:
        words.append(f"--start {Path(began).name}")
    if other is not None:
        words.append(f"--appa-real $APPA_REAL --appa-real-labels {other[1].name}")
    return " ".join(words)


def _heads(raw: Mapping[str, Any]) -> tuple[Any, Any]:
    return raw["age"], raw["gender"]


def check_engines(folder: Path, pixels: Pixels, expected: Predictions) -> None:
    """Load a model folder by both engines and compare them with what the network said.

    pixels: uint8 (N, S, S, 3), real faces. expected: of all of them or more, in order.
    Raises AnnotateError where one of them is too far off.
    """
    for engine in FILES:
        found = load_model(folder, engine=engine, device="cpu").predict(pixels)
        for key, gap in _gaps(found, expected.part(0, len(pixels))).items():
            limit = MAX_PROBABILITY_APART if key.endswith("probability") else MAX_YEARS_APART
            if not gap <= limit:
                raise AnnotateError(
                    f"the exported {engine} model differs from the trained one by {gap:.2g} in"
                    f" {key}, at most {limit} is allowed; nothing was written"
                )


def _gaps(first: Predictions, second: Predictions) -> dict[str, float]:
    """The largest difference of two predictions of the same faces, by field."""
    gaps = {}
    for field in fields(Predictions):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if one is not None and other is not None:
            gaps[field.name] = float(np.abs(one - other).max(initial=0.0))
    return gaps


def _figures(folder: Path, data: Path, other: OtherSource | None) -> dict[str, Any]:
    """Figures of the finished model, each as a command of its own gives them."""
    from training.robustness import robustness
    from training.scoring import part_figures, photograph_figures

    figures = {part: part_figures(folder, data, part) for part in ("test", "validation")}
    figures["robustness"] = robustness(folder, data)
    if other is not None:
        figures["appa_real"] = photograph_figures(folder, *other)
    return figures


@dataclass(frozen=True)
class PhotographsMet:
    """The photographs that a run learnt from. lines: "<16 hex digits> train", one a photograph.

    faults: number by kind, of those that it did not learn from.
    """

    lines: list[str]
    faults: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """What model.json says of them."""
        return {
            "name": PHOTOGRAPHS_NAME,
            "licence": PHOTOGRAPHS_LICENCE,
            "images": len(self.lines),
            "faults_by_kind": self.faults,
        }


def read_photographs(run: Path) -> PhotographsMet:
    """What fit wrote of the photographs it trained on. Raises AnnotateError."""
    try:
        lines = (run / "photographs.txt").read_text("ascii").splitlines()
        faults: list[str] = json.loads((run / "photographs.json").read_text("utf-8"))
        kinds = Counter(fault.partition(":")[0] for fault in faults)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise AnnotateError(
            f"{run} was trained on photographs and does not say which: {one_line(error)}"
        ) from error
    wrong = [line for line in lines if re.fullmatch(r"[0-9a-f]{16} train", line) is None]
    if wrong or not lines:
        raise AnnotateError(
            f"{run / 'photographs.txt'} does not list photographs: expected lines of 16"
            f" hexadecimal digits and `train`, found {shown(wrong[0]) if wrong else 'none'}"
        )
    return PhotographsMet(lines, dict(sorted(kinds.items())))
