"""Model folders as strangers make them: with hashes that fit whatever is in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotate.errors import AnnotateError
from annotate.model import load_model

Change = Callable[[dict[str, Any]], object]


def edit(folder: Path, change: Change = lambda found: None) -> None:
    """Change model.json, with hashes that are right again."""
    found = json.loads((folder / "model.json").read_text("utf-8"))
    found["files"] = _hashes(folder)
    change(found)
    (folder / "model.json").write_text(json.dumps(found), "utf-8")


def folder_of(folder: Path, files: dict[str, bytes], size_px: int, bins: int | None) -> Path:
    """A new model folder around network files. bins: of the age head, None if it is linear."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    age: dict[str, Any] = {"kind": "regression"}
    if bins is not None:
        age = {"kind": "distribution", "bins": bins}
    info = {
        "schema_version": 1,
        "preprocessing_version": 1,
        "name": "drawn",
        "input": {"size_px": size_px, "colours": "RGB"},
        "heads": {"age": age, "gender": {"positive": "female"}},
        "calibration": {"age_temperature": 1.0, "gender_temperature": 1.0},
        "files": _hashes(folder),
    }
    (folder / "model.json").write_text(json.dumps(info), "utf-8")
    return folder


def _hashes(folder: Path) -> dict[str, str]:
    others = [path for path in folder.iterdir() if path.name != "model.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in others}


def assert_refused(folder: Path | str, said: str, **options: Any) -> None:
    """Loading is an AnnotateError of one line that matches `said`."""
    with pytest.raises(AnnotateError, match=said) as caught:
        load_model(folder, **options)
    assert str(caught.value).isprintable()
