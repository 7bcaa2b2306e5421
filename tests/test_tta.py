"""Test-time augmentation: every way into the program averages a crop and its mirror image."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import helper
from PIL import Image, ImageOps

import annotate
from annotate import AnnotateError
from annotate.model import load_model
from tests.conftest import FAKE_SIZE_PX

Command = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="module")
def one_eyed(fake_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake model, but it sees the left half of a crop alone."""
    folder = tmp_path_factory.mktemp("models") / "one-eyed"
    shutil.copytree(fake_model_folder, folder)
    network = onnx.load(str(folder / "model.onnx"))
    left = np.arange(FAKE_SIZE_PX // 2, dtype=np.int64)
    network.graph.initializer.append(onnx.numpy_helper.from_array(left, "left"))
    assert network.graph.node[1].input[0] == "float"
    network.graph.node[1].input[0] = "half"
    network.graph.node.insert(1, helper.make_node("Gather", ["float", "left"], ["half"], axis=2))
    (folder / "model.onnx").write_bytes(network.SerializeToString())
    info = json.loads((folder / "model.json").read_text())
    info["name"] = "one-eyed"
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    info["files"]["model.onnx"] = digest
    (folder / "model.json").write_text(json.dumps(info))
    return folder


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Five labelled pictures of noise, brighter on the right; beside them, a folder `mirrored`."""
    rng = np.random.default_rng(2)
    for folder in ("faces", "mirrored"):
        (tmp_path / folder).mkdir()
    for i in range(5):
        pixels = rng.integers(0, 120, (FAKE_SIZE_PX, FAKE_SIZE_PX, 3), np.uint8)
        pixels[:, FAKE_SIZE_PX // 2 :] += 100
        image, name = Image.fromarray(pixels), f"{30 + i}_0_0_{i}.png"
        image.save(tmp_path / "faces" / name)
        ImageOps.mirror(image).save(tmp_path / "mirrored" / name)
    return tmp_path / "faces"


def labelled(folder: Path, model: Path, **options: object) -> pd.DataFrame:
    return annotate.run(folder, faces="crop", model=str(model), workers=1, **options)


def test_rows_are_the_mean_of_both_ways_round(faces: Path, one_eyed: Path) -> None:
    plain, mirrored = (labelled(folder, one_eyed) for folder in (faces, faces.parent / "mirrored"))
    both = labelled(faces, one_eyed, tta=True)
    # Far apart, so that a mean is neither of the two.
    assert (mirrored.age - plain.age).min() > 30
    for name in ("age", "female_probability"):
        assert both[name].tolist() == pytest.approx(
            ((plain[name] + mirrored[name]) / 2).tolist(), rel=1e-5
        )
    # And by hand: both halves together are the whole picture.
    for path, age, female in zip(both.path, both.age, both.female_probability, strict=True):
        pixels = np.asarray(Image.open(faces / path), np.float64)
        assert age == pytest.approx(pixels.mean() / 2.55, abs=1e-3)
        assert female == pytest.approx(pixels[..., 0].mean() / 255, abs=1e-5)


def test_a_mirror_image_has_the_row_of_its_original(faces: Path, one_eyed: Path) -> None:
    one, other = (
        labelled(folder, one_eyed, tta=True, batch_size=size)
        for folder, size in ((faces, 2), (faces.parent / "mirrored", 64))
    )
    for name in ("path", "age", "gender", "female_probability"):
        assert one[name].tolist() == other[name].tolist()


def test_every_way_in_passes_it_on_and_says_so(faces: Path, one_eyed: Path) -> None:
    both = labelled(faces, one_eyed, tta=True)
    assert both.attrs["tta"] is True
    assert labelled(faces, one_eyed).attrs["tta"] is False
    rows = annotate.iter_rows(faces, faces="crop", model=str(one_eyed), tta=True, workers=1)
    assert [row["age"] for row in rows] == both.age.tolist()
    # A loaded model is as it was loaded, and so the metadata say it.
    loaded = annotate.run(faces, faces="crop", model=load_model(one_eyed, tta=True), workers=1)
    assert (loaded.age.tolist(), loaded.attrs["tta"]) == (both.age.tolist(), True)


def test_a_model_that_was_loaded_without_is_refused(faces: Path, one_eyed: Path) -> None:
    model = load_model(one_eyed)
    for call in (annotate.run, annotate.evaluate):
        with pytest.raises(AnnotateError, match=r"load_model\(\.\.\., tta=True\)"):
            call(faces, faces="crop", model=model, tta=True)


def test_an_evaluation_rests_on_it_and_says_so(faces: Path, one_eyed: Path, tmp_path: Path) -> None:
    both = labelled(faces, one_eyed, tta=True)
    expected = np.abs(both.age.to_numpy(np.float64) - [30, 31, 32, 33, 34]).mean()
    report = annotate.evaluate(faces, model=str(one_eyed), tta=True, workers=1).to_dict()
    assert report["age"]["mae"]["value"] == pytest.approx(expected, abs=1e-5)
    assert report["options"]["tta"] is True
    plain = annotate.evaluate(faces, model=str(one_eyed), workers=1).to_dict()
    assert plain["options"]["tta"] is False
    # Of given predictions, the report says how they were made.
    annotate.evaluate(faces, model=str(one_eyed), tta=True, workers=1, report_dir=tmp_path / "r")
    given = tmp_path / "r" / "predictions.parquet"
    took = annotate.evaluate(faces, predictions=given).to_dict()
    assert (took["options"]["tta"], took["age"]) == (True, report["age"])


def test_the_commands_take_the_option(
    faces: Path, one_eyed: Path, tmp_path: Path, command: Command
) -> None:
    shared = ("--faces", "crop", "--model", str(one_eyed), "--tta", "--workers", "1")
    done = command("run", str(faces), "-o", str(tmp_path / "x.parquet"), *shared)
    assert done.returncode == 0, done.stderr
    assert "crops and their mirror images" in done.stderr
    found = annotate.read(tmp_path / "x.parquet")
    assert found.attrs["tta"] is True
    assert found.age.tolist() == labelled(faces, one_eyed, tta=True).age.tolist()
    done = command("evaluate", str(faces), "--report", str(tmp_path / "r"), *shared)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["options"]["tta"] is True
