"""Fit, resume, calibrate, export: the way from labelled faces to a model folder, made small."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from annotate.images import face_crop
from annotate.model import MODELS, bundled_models, load_model
from training import history
from training.__main__ import cli
from training.calibration import fit_temperatures, golden_section
from training.presets import BASE, PRESETS, RGB200, Preset

import_keras()

ROOT = Path(__file__).resolve().parents[1]

TINY = dataclasses.replace(
    BASE,
    name="tiny",
    architecture="drawn",
    size_px=32,
    kept_px=36,
    sizes=((1, 24), (2, 32)),
    epochs=2,
    batch_size=32,
)
TINY_LINEAR = dataclasses.replace(
    RGB200,
    name="tiny_linear",
    architecture="drawn_linear",
    size_px=32,
    epochs=1,
    batch_size=32,
    patience=1,
)


def _network(input_shape: tuple[int | None, int | None, int], ages: int | None = 117) -> Any:
    """The kinds of layers that `base` has, few of them, so that tests are quick."""
    keras = import_keras()
    layers = keras.layers
    pixels = keras.Input(input_shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.5)(x)
    y = layers.Conv2D(8, 3, padding="same")(x)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    kind = "linear" if ages is None else "softmax"
    age = layers.Dense(ages or 1, activation=kind, name="age")(x)
    gender = layers.Dense(1, activation="sigmoid", name="gender")(x)
    return keras.Model(pixels, {"age": age, "gender": gender})


def _linear_network(input_shape: tuple[int | None, int | None, int]) -> Any:
    return _network(input_shape, ages=None)


@pytest.fixture(scope="module", autouse=True)
def presets() -> Iterator[None]:
    """The tiny presets and their networks are known in this module."""
    from training.architectures import ARCHITECTURES

    with pytest.MonkeyPatch.context() as patch:
        for preset in (TINY, TINY_LINEAR):
            patch.setitem(PRESETS, preset.name, preset)
        patch.setitem(ARCHITECTURES, "drawn", _network)
        patch.setitem(ARCHITECTURES, "drawn_linear", _linear_network)
        yield


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 drawn "faces" with UTKFace names: brighter is older, redder is female."""
    folder = tmp_path_factory.mktemp("drawn") / "utkface"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for index in range(100):
        age, gender = index, index % 2
        pixels = rng.integers(0, 60, (8, 8, 3)) + age
        pixels[..., 0] += 90 * gender
        image = Image.fromarray(pixels.astype(np.uint8)).resize((40, 40))
        image.save(folder / f"{age}_{gender}_{index % 5}_{index:04d}.jpg", quality=90)
    return folder


def _fit(preset: Preset, data: Path, out: Path, **options: Any) -> dict[str, float]:
    from training.fit import fit

    return fit(preset, data, out, progress=False, **options)


@pytest.fixture(scope="module")
def run(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run of two epochs at rising size."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    best = _fit(TINY, drawn, out)
    assert best["epoch"] in (1.0, 2.0)
    return out


def test_a_run_leaves_what_it_promises(run: Path) -> None:
    rows = history.read(run / "history.csv")
    assert [row["epoch"] for row in rows] == [1.0, 2.0]
    assert {"loss", "val_loss", "age_mae", "val_age_mae", "gender_accuracy", "seconds"} <= set(
        rows[0]
    )
    with Image.open(run / "history.png") as picture:
        assert picture.format == "PNG"
    said = json.loads((run / "run.json").read_text("utf-8"))
    assert sum(said["images"].values()) == 100
    assert len((run / "splits.txt").read_text("ascii").splitlines()) == 100


def test_a_resumed_run_equals_an_uninterrupted_one(drawn: Path, run: Path, tmp_path: Path) -> None:
    _fit(TINY, drawn, tmp_path / "cut", epochs=1)
    _fit(TINY, drawn, tmp_path / "cut", resume=True)
    with np.load(run / "checkpoint.npz") as whole, np.load(tmp_path / "cut/checkpoint.npz") as cut:
        assert set(whole.files) == set(cut.files)
        for name in whole.files:
            # Threads add in any order, so the last bits of the weights may differ.
            np.testing.assert_allclose(whole[name], cut[name], atol=1e-4, rtol=1e-3, err_msg=name)
    one, other = (history.read(folder / "history.csv") for folder in (run, tmp_path / "cut"))
    assert [row["val_loss"] for row in one] == pytest.approx(
        [row["val_loss"] for row in other], rel=1e-3
    )
    rows = (tmp_path / "cut/history.csv").read_bytes()
    _fit(TINY, drawn, tmp_path / "cut", resume=True)  # nothing is left to do
    assert (tmp_path / "cut/history.csv").read_bytes() == rows


def test_a_run_is_not_mixed_with_another(drawn: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnotateError, match="holds a training run: use --resume"):
        _fit(TINY, drawn, run)
    with pytest.raises(AnnotateError, match="was started with"):
        _fit(TINY_LINEAR, drawn, run, resume=True)
    with pytest.raises(AnnotateError, match="holds no training run"):
        _fit(TINY, drawn, tmp_path / "none", resume=True)
    with pytest.raises(AnnotateError, match="expected 1 to 2"):
        _fit(TINY, drawn, tmp_path / "none", epochs=3)
    fewer = Path(shutil.copytree(drawn, tmp_path / "fewer"))
    next(fewer.iterdir()).unlink()
    with pytest.raises(AnnotateError, match="trained on other images"):
        _fit(TINY, fewer, run, resume=True)


def test_damaged_and_foreign_weights_are_one_line_errors(run: Path, tmp_path: Path) -> None:
    from training.fit import build_model, load_best

    (tmp_path / "best.npz").write_bytes((run / "best.npz").read_bytes()[:1000])
    with pytest.raises(AnnotateError, match="cannot read"):
        load_best(build_model(TINY, fixed_size=True), tmp_path)
    with pytest.raises(AnnotateError, match="does not fit this preset"):
        load_best(build_model(TINY_LINEAR, fixed_size=True), run)


def test_early_stopping_waits_for_the_patience_of_the_preset() -> None:
    from training.fit import Keeper

    keeper = Keeper(Path(), dataclasses.replace(RGB200, patience=2), None, 0)  # type: ignore[arg-type]
    for epoch, error in enumerate((9.0, 8.0, 8.5, 8.0), 1):
        assert not keeper.has_stopped
        keeper.rows.append({"epoch": float(epoch), "val_age_mae": error})
    assert keeper.has_stopped
    assert keeper.best["epoch"] == 2.0


def test_golden_section_finds_the_valley() -> None:
    assert golden_section(lambda x: (x - 0.7) ** 2, -3, 5) == pytest.approx(0.7, abs=1e-4)


def test_temperatures_undo_what_made_a_model_too_sure() -> None:
    # Labels are drawn from p; the "model" says p squared, so a temperature of 2 is right.
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 4000)
    classes = np.array([rng.choice(5, p=row) for row in p])
    sure = p**2 / (p**2).sum(axis=1, keepdims=True)
    female = (rng.random(4000) < p[:, 0]).astype(np.float32)
    odds = (p[:, :1] / (1 - p[:, :1])) ** 2
    found = fit_temperatures(sure, odds / (1 + odds), classes.astype(np.float32), female)
    assert found["age_temperature"] == pytest.approx(2.0, abs=0.15)
    assert found["gender_temperature"] == pytest.approx(2.0, abs=0.15)


def test_a_linear_age_has_no_temperature() -> None:
    half = np.full((4, 1), 0.6)
    found = fit_temperatures(half * 50, half, np.arange(4.0), np.array([0, 1, 1, 0]))
    assert found["age_temperature"] == 1.0


@pytest.fixture(scope="module")
def exported(run: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's model folder, figures included."""
    from training.export import export

    return export(run, drawn, tmp_path_factory.mktemp("models") / "tiny")


def test_an_export_is_whole_and_both_engines_agree(exported: Path, drawn: Path) -> None:
    names = {"card.md", "model.json", "model.keras", "model.onnx", "training_hashes.txt"}
    assert {path.name for path in exported.iterdir()} == names
    assert [path.name for path in exported.parent.iterdir()] == ["tiny"]
    files = sorted(drawn.iterdir())[:20]
    faces = np.stack([face_crop(path.read_bytes(), 32).pixels for path in files])
    _assert_engines_agree(exported, faces)
    model = load_model(exported)
    found = model.info
    assert (model.name, model.size_px, found["data"]["split"]["seed"]) == ("tiny", 32, 2026)
    for name, digest in found["files"].items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest
    assert set(found["files"]) == names - {"model.json"}


def _assert_engines_agree(folder: Path, faces: Any) -> None:
    onnx, keras = (
        load_model(folder, engine=engine, device="cpu").predict(faces)
        for engine in ("onnx", "keras")
    )
    for years in ("age", "age_p10", "age_p90", "age_sd"):
        assert np.abs(getattr(onnx, years) - getattr(keras, years)).max() < 0.05
    for share in ("female_probability", "minor_probability"):
        assert np.abs(getattr(onnx, share) - getattr(keras, share)).max() < 1e-3


def test_the_model_knows_its_training_images(exported: Path, run: Path, drawn: Path) -> None:
    parts = load_model(exported).training_parts()
    assert set(parts.values()) == {"train", "validation"}
    lines = (run / "splits.txt").read_text("ascii").splitlines()
    assert {f"{digits} {part}" for digits, part in parts.items()} == {
        line for line in lines if not line.endswith(" test")
    }
    name = sorted(drawn.iterdir())[0]
    digest = hashlib.sha256(name.read_bytes()).hexdigest()[:16]
    assert f"{digest} {parts.get(digest, 'test')}" in lines


def test_the_card_and_model_json_hold_the_measured_figures(
    exported: Path, run: Path, drawn: Path
) -> None:
    found = json.loads((exported / "model.json").read_text("utf-8"))
    test = found["figures"]["test"]
    assert test["n"] == found["data"]["images"]["test"] == test["age"]["mae"]["n"]
    card = (exported / "card.md").read_text("utf-8")
    assert f"{test['age']['mae']['value']:.2f}" in card
    assert f"{test['gender']['accuracy']['value']:.3f}" in card
    machine = json.loads((run / "run.json").read_text("utf-8"))["machine"]
    for needed in ("non-commercial", machine, "seed 2026", found["files"]["model.onnx"]):
        assert needed in card
    # The figure is that of the model on the images of the part, worked out once more.
    hashes = load_model(exported).training_parts()
    errors = []
    for path in drawn.iterdir():
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest()[:16] not in hashes:
            age = load_model(exported).predict(face_crop(data, 32).pixels[None]).age[0]
            errors.append(abs(age - float(path.name.split("_")[0])))
    assert test["age"]["mae"]["value"] == pytest.approx(np.mean(errors), abs=0.01)


def test_evaluate_scores_one_part(exported: Path, drawn: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", "--model", str(exported), "--data", str(drawn)]
    arguments += ["--part", "validation", "--report", str(tmp_path / "report")]
    for _ in range(2):  # the second replaces the first
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "report/metrics.json").read_text("utf-8"))
    figures = json.loads((exported / "model.json").read_text("utf-8"))["figures"]["validation"]
    assert said["age"] == figures["age"]
    assert said["training"]["validation"] == said["inputs"]["scored"] == figures["n"]


def test_a_failed_check_leaves_nothing_behind(
    run: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import export as module

    monkeypatch.setattr(module, "MAX_YEARS_APART", -1.0)
    with pytest.raises(AnnotateError, match="differs from the trained one"):
        module.export(run, drawn, tmp_path / "model", score=False)
    assert list(tmp_path.iterdir()) == []


def test_an_export_does_not_replace_a_folder_unasked(
    exported: Path, run: Path, drawn: Path
) -> None:
    from training.export import export

    with pytest.raises(AnnotateError, match="exists: pass --overwrite"):
        export(run, drawn, exported)


def test_a_linear_model_goes_the_whole_way_too(drawn: Path, tmp_path: Path) -> None:
    from training.export import export

    _fit(TINY_LINEAR, drawn, tmp_path / "run")
    model = load_model(export(tmp_path / "run", drawn, tmp_path / "model", score=False))
    found = model.predict(np.zeros((1, 32, 32, 3), np.uint8))
    assert found.age_p10 is None
    assert 0 <= found.age[0] < 200


def test_export_on_another_backend_is_one_line(run: Path, drawn: Path, tmp_path: Path) -> None:
    arguments = ["export", "--run", str(run), "--data", str(drawn), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "torch"},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "set KERAS_BACKEND=tensorflow" in done.stderr


@pytest.mark.skipif("base" not in bundled_models(), reason="no bundled model yet")
def test_the_bundled_model_gives_the_same_on_both_engines(real_data: Path) -> None:
    files = sorted((real_data / "utkface").iterdir())[::300]
    size_px = load_model("base").size_px
    faces = np.stack([face_crop(path.read_bytes(), size_px).pixels for path in files])
    _assert_engines_agree(MODELS / "base", faces)
