"""Fit, resume, export: the way from labelled faces to a model folder, made small."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from annotate.evaluation import evaluate
from annotate.images import face_crop
from annotate.model import MODELS, bundled_models, load_model
from tests.model_folders import edit
from tests.tiny_runs import (  # noqa: F401 - fixtures
    TINY,
    TINY_AVERAGED,
    TINY_LINEAR,
    drawn_faces,
    fit_tiny,
    tiny_presets,
    trained_run,
)
from training.__main__ import cli
from training.data import load_parts

import_keras()

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def exported(run: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's model folder, figures included."""
    from training.export import export

    return export(run, drawn, tmp_path_factory.mktemp("models") / "tiny")


def test_a_run_that_ended_in_its_first_epoch_is_resumed_with_what_it_made_ready(
    drawn: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import fit as module
    from training import material

    sources = material.Sources(drawn, start=str(exported), teachers=(str(exported),))

    def interrupted(keeper: Any, epoch: int, logs: Any = None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.Keeper, "on_epoch_begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            module.fit(TINY, sources, tmp_path, progress=False)
    assert not (tmp_path / "history.csv").exists()
    # The teacher is not asked again.
    monkeypatch.setattr(material, "_opinion", None)
    best = module.fit(TINY, sources, tmp_path, epochs=1, resume=True, progress=False)
    assert best["epoch"] == 1.0


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


def test_the_card_tells_groups_conditions_and_the_recipe(exported: Path) -> None:
    found = json.loads((exported / "model.json").read_text("utf-8"))
    assert set(found["figures"]) == {"test", "validation", "robustness"}
    test = found["figures"]["test"]
    assert test["slices"]["gender_x_race"]
    assert sum(part["n"] for part in test["predicted_age_bands"]) == test["n"]
    assert test["minor"]["n"] == test["n"]
    conditions = found["figures"]["robustness"]["conditions"]
    assert conditions["clean"]["age"]["mae"]["n"] == test["n"]
    # The faces are 40 px and the network's 32: nothing is decoded at a reduced scale.
    assert conditions["clean"]["age"]["mae"]["value"] == pytest.approx(
        test["age"]["mae"]["value"], abs=1e-3
    )
    assert found["training"]["recipe"]["sizes"] == [[1, 24], [2, 32]]
    assert found["training"]["pretrained"] is None
    card = (exported / "card.md").read_text("utf-8")
    assert "| image sizes | 24 px from epoch 1 and 32 px from epoch 2; kept at 36 px |" in card
    assert "Trained on" not in card
    assert "\n## Bad conditions\n" in card
    assert "APPA-REAL" not in card
    assert "None" not in card


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face of 30, a wall, a face that the table does not name, and the table beside them."""
    skimage_data = pytest.importorskip("skimage.data")
    head = Image.fromarray(skimage_data.astronaut()).crop((118, 20, 328, 230))
    folder = tmp_path_factory.mktemp("photographs") / "pictures"
    folder.mkdir()
    for name, face in (("valid_0.jpg", head), ("valid_1.jpg", None), ("train_0.jpg", head)):
        picture = Image.new("RGB", (400, 300), (128, 128, 128))
        if face is not None:
            picture.paste(face, (90, 40))
        picture.save(folder / name)
    table = "path,age\nvalid_0.jpg,30\nvalid_1.jpg,20\nvalid_9.jpg,50\n"
    (folder.parent / "valid.csv").write_text(table)
    return folder


def test_an_export_tells_of_photographs_that_were_met_and_measured(
    run: Path, drawn: Path, photographs: Path, tmp_path: Path
) -> None:
    trained = Path(shutil.copytree(run, tmp_path / "run"))
    said = json.loads((run / "run.json").read_text("utf-8"))
    said["settings"]["photographs"] = True
    (trained / "run.json").write_text(json.dumps(said))
    met = hashlib.sha256((photographs / "valid_0.jpg").read_bytes()).hexdigest()[:16]
    lines = sorted([f"{'0' * 16} train", f"{met} train"])
    (trained / "photographs.txt").write_text("".join(f"{line}\n" for line in lines))
    faults = ["no_face: a: b.jpg", "no_face: c.jpg", "unreadable_file: d.jpg"]
    (trained / "photographs.json").write_text(json.dumps(faults))
    arguments = ["export", "--run", trained, "--data", drawn, "--out", tmp_path / "model"]
    arguments += ["--appa-real", photographs, "--appa-real-labels"]
    arguments += [photographs.parent / "valid.csv"]
    done = CliRunner().invoke(cli, list(map(str, arguments)))
    assert done.exit_code == 0, done.output

    known = (tmp_path / "model/training_hashes.txt").read_text("ascii").splitlines()
    split = (run / "splits.txt").read_text("ascii").splitlines()
    assert known == sorted(lines + [line for line in split if not line.endswith(" test")])
    found = json.loads((tmp_path / "model/model.json").read_text("utf-8"))
    # The preset was made without.
    assert found["training"]["recipe"]["photographs"] is True
    data = found["data"]["photographs"]
    assert data["images"] == 2
    assert data["faults_by_kind"] == {"no_face": 2, "unreadable_file": 1}
    other = found["figures"]["appa_real"]
    assert (other["n"], other["searched"], other["not_found"]) == (1, 2, 1)
    assert (other["trained_on"], other["gender"]) == (1, None)
    assert other["faults"] == {"missing_file": 1, "no_face": 1}
    assert found["command"].endswith("--appa-real $APPA_REAL --appa-real-labels valid.csv")

    # The same by the command that is stated, over all pictures of the folder.
    report = evaluate(
        photographs,
        labels=photographs.parent / "valid.csv",
        faces="detect",
        model=tmp_path / "model",
    )
    assert report.to_dict()["age"] == other["age"]
    card = (tmp_path / "model/card.md").read_text("utf-8")
    assert "Trained on 2 photographs as well" in card
    assert "1 of 2 photographs: no face found; not scored. The model met 1 of them" in card


def test_photographs_that_cannot_be_used_are_one_line_errors(
    run: Path, drawn: Path, photographs: Path, tmp_path: Path
) -> None:
    from training.export import export, read_photographs

    with pytest.raises(AnnotateError, match="--appa-real needs --appa-real-labels"):
        export(run, drawn, tmp_path / "model", appa_real=photographs)
    table = tmp_path / "other.csv"
    table.write_text("path,age\nelsewhere.jpg,30\n")
    with pytest.raises(AnnotateError, match="labels none of the pictures in"):
        export(run, drawn, tmp_path / "model", appa_real=photographs, appa_real_labels=table)
    with pytest.raises(AnnotateError, match="does not say which"):
        read_photographs(run)
    trained = tmp_path / "run"
    trained.mkdir()
    (trained / "photographs.json").write_text("[]")
    for lines in ("", f"{'0' * 16} train\n../../x train\n", f"{'0' * 16} test\n"):
        (trained / "photographs.txt").write_text(lines)
        with pytest.raises(AnnotateError, match="does not list photographs") as caught:
            read_photographs(trained)
        assert "\n" not in str(caught.value)
    (trained / "photographs.json").write_text("[1]")
    with pytest.raises(AnnotateError, match="does not say which"):
        read_photographs(trained)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.csv", "run"]


@pytest.mark.long
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


def test_a_run_that_cannot_be_read_leaves_nothing_behind(
    run: Path, drawn: Path, tmp_path: Path
) -> None:
    from training.export import export

    bad = Path(shutil.copytree(run, tmp_path / "run"))
    (bad / "history.csv").unlink()
    with pytest.raises(AnnotateError, match=r"cannot read .*history\.csv"):
        export(bad, drawn, tmp_path / "model")
    said = json.loads((bad / "run.json").read_text("utf-8"))
    for wrong, match in (
        ({"settings": said["settings"] | {"preset": "best"}}, "the unknown preset 'best'"),
        ({"images": None}, r"run\.json lacks or misstates images"),
    ):
        (bad / "run.json").write_text(json.dumps(said | wrong))
        with pytest.raises(AnnotateError, match=match):
            export(bad, drawn, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_export_does_not_replace_a_folder_unasked(
    exported: Path, run: Path, drawn: Path
) -> None:
    from training.export import export

    with pytest.raises(AnnotateError, match="exists: pass --overwrite"):
        export(run, drawn, exported)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _began_with(run: Path) -> dict[str, Any]:
    """What a run says of the model that it began with."""
    said = json.loads((run / "run.json").read_text("utf-8"))
    return {key: said[key] for key in ("start", "start_sha256")}


def test_the_average_with_what_a_run_began_with_is_exported(
    drawn: Path, exported: Path, tmp_path: Path
) -> None:
    from training.export import export
    from training.fit import build_model, fit
    from training.keeper import load_best
    from training.material import Sources
    from training.unfolding import load_exported

    # It has met an image that is not among those here.
    first = Path(shutil.copytree(exported, tmp_path / "first"))
    with (first / "training_hashes.txt").open("a") as file:
        file.write(f"{'f' * 16} validation\n")
    edit(first)
    run = tmp_path / "run"
    sources = Sources(drawn, start=str(first))
    fit(TINY_AVERAGED, sources, run, epochs=1, progress=False)
    began = _began_with(run)
    assert began["start_sha256"] == _digest(exported / "model.keras")
    # The model that it began with may lie elsewhere by now, with other words, or be replaced.
    moved = shutil.copytree(first, tmp_path / "moved")
    edit(moved, lambda info: info["training"].update(machine="another"))
    (first / "model.keras").write_bytes(b"another model")
    edit(first, lambda info: info["training"].update(epochs=99))
    fit(TINY_AVERAGED, sources, run, resume=True, progress=False)
    assert _began_with(run) == began
    folder = export(run, drawn, tmp_path / "model", start=str(moved), score=False)
    known = (folder / "training_hashes.txt").read_text("ascii").splitlines()
    own = (exported / "training_hashes.txt").read_text("ascii").splitlines()
    assert known == [*own, f"{'f' * 16} validation"]
    info = json.loads((folder / "model.json").read_text("utf-8"))
    assert info["command"] == (
        "python -m training export --run runs/run --data $UTKFACE --out FOLDER"
        " --name tiny_averaged --start moved"
    )
    recipe = info["training"]["recipe"]
    assert (recipe["start"], recipe["teachers"]) == ("first", [])
    with pytest.raises(AnnotateError, match="began with another model") as caught:
        export(run, drawn, tmp_path / "other", start="nano", score=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "other").exists()

    parts = load_parts(drawn, TINY_AVERAGED, parts=("train", "validation")).parts
    came_to, began, mean = (build_model(TINY_AVERAGED, fixed_size=True) for _ in range(3))
    load_best(came_to, run)
    load_exported(began, str(exported), parts["train"].pixels)
    pairs = zip(came_to.get_weights(), began.get_weights(), strict=True)
    mean.set_weights([0.75 * one + 0.25 * other for one, other in pairs])
    pixels = parts["validation"].pixels
    found = load_model(folder, engine="keras", device="cpu").predict_raw(pixels)[1]
    off = [
        np.abs(network.predict(pixels, verbose=0)["gender"] - found).max()
        for network in (mean, came_to, began)
    ]
    assert off[0] < 1e-3
    assert min(off[1:]) > 5 * off[0]


def test_a_linear_model_goes_the_whole_way_too(drawn: Path, tmp_path: Path) -> None:
    from training.export import export

    fit_tiny(TINY_LINEAR, drawn, tmp_path / "run")
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
