"""Export: a training run in, a model folder that `annotate` runs out, checked before it appears.

Needs Keras on the TensorFlow backend, from which ONNX files are written; the run may have been
trained on any backend.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from annotate.images import Pixels
from annotate.model import (
    FILES,
    HASHES_FILE,
    PREPROCESSING_VERSION,
    SCHEMA_VERSION,
    estimates,
    load_model,
)
from annotate.model_files import import_late
from annotate.records import Predictions
from training.calibration import fit_temperatures
from training.card import card
from training.presets import PRESETS, Preset
from training.splits import TEST_SHARE, hash_lines

MAX_YEARS_APART = 0.05
MAX_PROBABILITY_APART = 1e-3
"""How far the two engines of a model may differ on the same image."""

CHECKED_IMAGES = 512
"""Validation images that the two engines are compared on."""

WEIGHTS_LICENCE = "non-commercial research only, as the images they were learnt from"

DATA_LICENCE = (
    "non-commercial research only; the copyright of each image stays with its owner"
    " (https://susanqq.github.io/UTKFace/)"
)


def export(
    run: Path,
    data: Path,
    out: Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
    machine: str | None = None,
    score: bool = True,
) -> Path:
    """Make a model folder of a run's best weights. Returns `out`.

    run: the folder that fit wrote. data: the folder it was trained on. name: of the model, the
    preset's if None. machine: what it was trained on, where the run does not say. score:
    measure the figures of the card, which takes as long as labelling the two parts twice.
    Raises AnnotateError, and leaves nothing behind, where the run cannot be read, the data are
    others, or the exported files do not agree with each other.
    """
    _require_tensorflow()
    if out.exists() and not overwrite:
        raise AnnotateError(f"{out} exists: pass --overwrite to replace it")
    building = out.parent / f".{out.name}.tmp"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        _build(run, data, building, name, machine, score)
        if out.exists():
            shutil.rmtree(out)
        os.replace(building, out)
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


def _build(
    run: Path, data: Path, folder: Path, name: str | None, machine: str | None, score: bool
) -> None:
    """Fill a new, empty folder with a checked model."""
    from training import fit, history
    from training.data import load_parts

    run_info = fit.read_run(run)
    chosen = run_info["settings"]
    if chosen["preset"] not in PRESETS:
        raise AnnotateError(f"{run} was trained by the unknown preset {chosen['preset']!r}")
    preset = PRESETS[chosen["preset"]]
    limit, seed = chosen["limit"], chosen["seed"]
    faces = load_parts(data, preset, seed=seed, limit=limit, parts=("validation",))
    fit.check_splits(run, faces)
    validation = faces.parts["validation"]

    network = fit.build_model(preset, fixed_size=True)
    fit.load_best(network, run)
    raw = network.predict(validation.pixels, batch_size=64, verbose=0)
    calibration = fit_temperatures(raw["age"], raw["gender"], validation.ages, validation.female)

    known = {part: faces.hashes[part] for part in ("train", "validation")}
    lines = "".join(f"{line}\n" for line in hash_lines(known))
    (folder / HASHES_FILE).write_text(lines, encoding="ascii", newline="\n")
    _write_networks(network, folder)

    rows = history.read(run / "history.csv")
    info = _info(preset, run_info, rows, name or preset.name, machine)
    info["calibration"] = {**calibration, "fitted_on": "validation", "n": len(validation)}
    _write_info(folder, info)
    check_engines(folder, validation.pixels[:CHECKED_IMAGES], estimates(*_heads(raw), info))
    info["figures"] = _figures(folder, data) if score else {}
    (folder / "card.md").write_text(card(info, rows), encoding="utf-8", newline="\n")
    _write_info(folder, info)
    load_model(folder, engine="onnx")


def _heads(raw: Mapping[str, Any]) -> tuple[Any, Any]:
    return raw["age"], raw["gender"]


def _write_networks(network: Any, folder: Path) -> None:
    """model.keras and model.onnx, with a free number of images and a fixed size."""
    network.save(folder / FILES["keras"])
    size_px = network.input_shape[1]
    network(np.zeros((1, size_px, size_px, 3), np.uint8))  # Keras exports what was called once
    with warnings.catch_warnings():
        # Keras 3.15 mends NumPy for tf2onnx in a way that NumPy warns of.
        warnings.simplefilter("ignore", FutureWarning)
        network.export(str(folder / FILES["onnx"]), format="onnx", verbose=False)


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


def _figures(folder: Path, data: Path) -> dict[str, Any]:
    """Figures of the finished model by part, as `python -m training evaluate` gives them."""
    from training.scoring import part_figures

    return {part: part_figures(folder, data, part) for part in ("test", "validation")}


def _write_info(folder: Path, info: dict[str, Any]) -> None:
    """model.json, with the SHA-256 of every other file there is."""
    others = sorted(path for path in folder.iterdir() if path.name != "model.json")
    info["files"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in others}
    text = json.dumps(info, indent=1, ensure_ascii=False) + "\n"
    (folder / "model.json").write_text(text, encoding="utf-8", newline="\n")


def _info(
    preset: Preset,
    run: dict[str, Any],
    rows: list[dict[str, float]],
    name: str,
    machine: str | None,
) -> dict[str, Any]:
    """model.json but for what is measured: calibration, figures and hashes."""
    age: dict[str, Any] = {"output": "age", "kind": "regression", "unit": "years"}
    if preset.age_bins is not None:
        age |= {
            "kind": "distribution",
            "bins": preset.age_bins,
            "ages": [0, preset.age_bins - 1],
            "bin": "integer age a stands for a - 0.5 to a + 0.5 years",
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "about": preset.about,
        "preset": preset.name,
        "architecture": preset.architecture,
        "licence": WEIGHTS_LICENCE,
        "input": {
            "size_px": preset.size_px,
            "colours": "RGB",
            "dtype": "uint8",
            "value_range": [0, 255],
            "layout": "NHWC",
            "crop": "utkface aligned crop, squeezed to a square",
            "resize": "bilinear, antialiased; JPEG decoded at reduced scale where both sides keep"
            " size_px",
        },
        "preprocessing_version": PREPROCESSING_VERSION,
        "heads": {
            "age": age,
            "gender": {"output": "gender", "kind": "probability", "positive": "female"},
        },
        "labels": {"gender": ["male", "female"]},
        "data": {
            "name": "UTKFace, aligned and cropped",
            "licence": DATA_LICENCE,
            "images": run["images"],
            "hashes": HASHES_FILE,
            "split": {
                "rule": "by SHA-256 of the file's bytes and the seed, see training/splits.py",
                "seed": run["settings"]["seed"],
                "test_share": TEST_SHARE,
                "validation_share": preset.validation_share,
                "limit": run["settings"]["limit"],
            },
            "faults": run["faults"],
        },
        "training": _training(preset, run, rows, machine),
        "commit": _commit(),
        "command": f"python -m training export --run runs/{preset.name} --data $UTKFACE"
        f" --out FOLDER --name {name}",
    }


def _training(
    preset: Preset, run: dict[str, Any], rows: list[dict[str, float]], machine: str | None
) -> dict[str, Any]:
    kept = min(rows, key=lambda row: row[preset.monitor])
    return {
        "command": run["command"],
        "keras": run["keras"],
        "backend": run["backend"],
        "machine": run.get("machine") or machine,
        "epochs": len(rows),
        "epoch_kept": int(kept["epoch"]),
        "seconds": round(sum(row["seconds"] for row in rows)),
    }


def _commit() -> str | None:
    """The commit of the checkout that this code lies in; None outside one."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
