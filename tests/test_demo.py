"""The demo: real faces from installed packages, labelled, shown and written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import annotate.model
from annotate import AnnotateError, demo, read
from annotate.demo import run_demo
from annotate.model import bundled_models

HAS_COLLINS = importlib.util.find_spec("skimage") is not None


@pytest.fixture
def fake_base(fake_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake model under the name of the bundled one."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "base").symlink_to(fake_model_folder)
    monkeypatch.setattr(annotate.model, "MODELS", tmp_path / "models")


@pytest.mark.usefixtures("fake_base")
def test_the_demo_labels_and_writes(tmp_path: Path) -> None:
    text = run_demo(str(tmp_path / "out"))
    names = ["eileen_collins.png", "grace_hopper.png"] if HAS_COLLINS else ["grace_hopper.png"]
    assert sorted(p.name for p in (tmp_path / "out" / "faces").iterdir()) == names
    frames = [read(tmp_path / "out" / name) for name in ("people.parquet", "people.csv")]
    for frame in frames:
        assert frame["path"].tolist() == names
        assert frame["status"].tolist() == ["ok"] * len(names)
    crop = np.asarray(Image.open(tmp_path / "out" / "faces" / "grace_hopper.png"))
    age = frames[0].set_index("path").loc["grace_hopper.png", "age"]
    assert age == pytest.approx(crop.mean() / 2.55, abs=0.3)  # the fake model's rule
    for name in (*names, "people.parquet", "people.csv", "female_probability"):
        assert name in text
    assert run_demo(str(tmp_path / "out"))  # again, over what is there


def test_the_crops_are_square_and_hold_the_faces(tmp_path: Path) -> None:
    """Skin lies in the middle of each crop: red above green above blue."""
    for name, source, box in demo._portraits():
        assert box[2] - box[0] == box[3] - box[1]
        with Image.open(source) as picture:
            face = np.asarray(picture.convert("RGB").crop(box)).astype(float)
        middle = face[len(face) // 3 : -len(face) // 3, len(face) // 3 : -len(face) // 3]
        red, green, blue = middle.mean(axis=(0, 1))
        assert red > green > blue, name


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnnotateError, match="cannot write the demo"):
        run_demo(str(tmp_path / "file"))


def test_the_demo_with_the_bundled_model(tmp_path: Path) -> None:
    if "base" not in bundled_models():
        pytest.skip("the model `base` is not bundled yet")
    run_demo(str(tmp_path / "out"))
    frame = read(tmp_path / "out" / "people.parquet").set_index("path")
    hopper = frame.loc["grace_hopper.png"]
    assert hopper["gender"] == "female"
    assert 30 < hopper["age"] < 90  # she was 77
