"""Description: a preset and what its training run says in, model.json out."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annotate.model import HASHES_FILE, PREPROCESSING_VERSION, SCHEMA_VERSION
from training.history import best_row
from training.presets import Preset
from training.splits import DATA_NAME, TEST_SHARE

WEIGHTS_LICENCE = "non-commercial research only, as the images they were learnt from"

DATA_LICENCE = (
    "non-commercial research only; the copyright of each image stays with its owner"
    " (https://susanqq.github.io/UTKFace/)"
)


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """model.json, with the SHA-256 of every other file there is."""
    others = sorted(path for path in folder.iterdir() if path.name != "model.json")
    info["files"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in others}
    text = json.dumps(info, indent=1, ensure_ascii=False) + "\n"
    (folder / "model.json").write_text(text, encoding="utf-8", newline="\n")


def model_info(
    preset: Preset,
    run: dict[str, Any],
    rows: list[dict[str, float]],
    name: str,
    command: str,
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
            "name": DATA_NAME,
            "licence": DATA_LICENCE,
            "images": run["images"],
            "hashes": HASHES_FILE,
            "split": {
                "rule": "by SHA-256 of the file's bytes and the seed, see training/splits.py",
                "seed": run["settings"]["seed"],
                "test_share": TEST_SHARE,
                "validation_share": preset.validation_share,
                "limit": run["settings"].get("limit"),
            },
            "faults": run["faults"],
        },
        "training": _training(preset, run, rows, machine),
        "commit": _commit(),
        "command": command,
    }


def _training(
    preset: Preset, run: dict[str, Any], rows: list[dict[str, float]], machine: str | None
) -> dict[str, Any]:
    from training.pretrained import WEIGHTS

    kept = best_row(rows, preset.monitor)
    words = ("name", "about", "source", "cost", "expected")
    teachers = run["settings"].get("teachers", ())
    began = run["settings"].get("start")
    # The names only: a folder's path says nothing to others.
    used = {
        "photographs": bool(run["settings"].get("photographs")),
        "start": Path(began).name if began else None,
        "teachers": [Path(teacher).name for teacher in teachers],
    }
    recipe = {key: value for key, value in asdict(preset).items() if key not in words}
    return {
        # What the run learnt from, which may be less than what the preset was made with.
        "recipe": recipe | used,
        "pretrained": WEIGHTS[preset.pretrained].about if preset.pretrained else None,
        "teachers": used["teachers"],
        "start": run.get("start"),
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
